"""One dead letter for each id, the latest, with its row; read no further than the ends that were taken first."""

from __future__ import annotations

import tracemalloc

from streamapp.dlq.letters import bounds_of, read_letters, read_whole
from streamapp.dlq.statuses import read_on, read_statuses
from streamapp.pipeline.resolution import Job, JobState, Status
from tests.support.dead_letter_world import APP, DLQ, NOW, DeadLetterWorld, ago

FIRST, SECOND = "orders/5/901@order_processor", "orders/3/1842@order_processor"


def test_the_latest_letter_of_an_id_stands_for_it_and_is_counted() -> None:
    world = DeadLetterWorld()
    world.bury(FIRST, failed=ago(hours=3), value=b"1", attempts="4")
    world.bury(SECOND, failed=ago(hours=2))
    world.bury(FIRST, failed=ago(hours=1), first_failed=ago(hours=3), value=b"22", attempts="2", replay_count="1")
    letters = {letter.id: letter for letter in world.read().letters}
    assert (letters[FIRST].count, letters[FIRST].letter.attempts, letters[FIRST].dlq.offset) == (2, 2, 1)
    assert (letters[SECOND].count, letters[SECOND].status) == (1, Status.OPEN)
    assert list(letters) == [FIRST, SECOND], "by their first failure"


def test_a_row_of_the_status_topic_says_what_became_of_it() -> None:
    world = DeadLetterWorld()
    for number, status in enumerate(Status):
        world.bury(f"orders/{number}/1@a", failed=ago(hours=1))
        if status is not Status.OPEN:
            world.resolve(f"orders/{number}/1@a", status)
    read = world.read()
    assert sorted(letter.status for letter in read.letters) == sorted(Status)
    totals = read.totals[DLQ]
    assert (totals.letters, totals.unresolved) == (6, 4)


def test_the_totals_name_the_oldest_unresolved_one_and_the_one_that_retention_takes_first() -> None:
    world = DeadLetterWorld()
    world.bury("orders/1/1@a", failed=ago(hours=9))
    world.resolve("orders/1/1@a", Status.RESOLVED)
    world.bury("orders/2/1@a", failed=ago(hours=1), first_failed=ago(hours=8))
    world.bury("orders/3/1@a", failed=ago(hours=5))
    totals = world.read().totals[DLQ]
    assert (totals.oldest and totals.oldest.id, totals.dying and totals.dying.id) == ("orders/2/1@a", "orders/3/1@a")


def test_nothing_beyond_the_ends_that_were_taken_is_read() -> None:
    world = DeadLetterWorld()
    world.bury(FIRST, failed=ago(hours=1))
    bounds = bounds_of(world.reader, [DLQ])
    world.bury(FIRST, failed=NOW)
    world.bury("orders/5/902@order_processor", failed=NOW)
    read = read_letters(world.reader, bounds, app_id=APP, resolutions={})
    assert [(letter.id, letter.count) for letter in read.letters] == [(FIRST, 1)]
    later = bounds_of(world.reader, [DLQ], at_most=bounds.ends)
    assert later.ends == bounds.ends


def test_foreign_records_and_other_apps_letters_are_counted_and_left_alone() -> None:
    world = DeadLetterWorld()
    world.kafka.feed(DLQ, 2, b"hello", key=b"k")
    world.bury("orders/1/1@a", failed=ago(hours=1), app="billing")
    world.bury(FIRST, failed=ago(hours=1))
    read = world.read()
    assert ([letter.id for letter in read.letters], read.foreign, dict(read.others)) == ([FIRST], 1, {"billing": 1})


def test_a_topic_that_is_not_there_is_named() -> None:
    world = DeadLetterWorld()
    bounds = bounds_of(world.reader, [DLQ, "sales-dlq"])
    assert (bounds.missing, bounds.topics) == (("sales-dlq",), [DLQ])


def test_whole_letters_have_value_headers_and_stack_in_the_order_asked_for() -> None:
    world = DeadLetterWorld()
    user = [("trace", b"\xff"), ("trace", None)]
    world.bury(FIRST, failed=ago(hours=3), value=b"\x00\x01", headers=user)
    world.bury(SECOND, failed=ago(hours=2), value=None)
    slim = [world.letter(SECOND), world.letter(FIRST)]
    assert [(letter.whole, letter.value, letter.user_headers, letter.letter.stacktrace) for letter in slim] == [
        (False, None, [], "")
    ] * 2
    second, first = read_whole(world.reader, slim)
    assert (first.value, first.user_headers, second.value) == (b"\x00\x01", user, None)
    assert first.letter.stacktrace.endswith("agents/orders.py:41 price")


def test_a_letter_that_retention_took_meanwhile_is_left_out() -> None:
    world = DeadLetterWorld()
    world.bury(FIRST, failed=ago(hours=3))
    world.bury("orders/5/902@order_processor", failed=ago(hours=3))
    letters = world.read().letters
    world.kafka.delete_records(DLQ, 5, 1)
    assert [letter.id for letter in read_whole(world.reader, letters)] == ["orders/5/902@order_processor"]


def test_large_values_are_not_kept() -> None:
    world = DeadLetterWorld()
    for number in range(20):
        world.bury(f"orders/1/{number}@a", failed=ago(hours=1), value=b"x" * 1_000_000)
    tracemalloc.start()
    try:
        read = world.read()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(read.letters) == 20
    assert kept < 1_000_000, "less than one of the twenty values"
    assert {letter.letter.value_size for letter in read.letters} == {1_000_000}


def test_statuses_are_read_on_from_where_they_were() -> None:
    world = DeadLetterWorld()
    world.resolve(FIRST, Status.REPLAYING)
    statuses = read_statuses(world.reader, APP)
    world.resolve(FIRST, Status.RESOLVED)
    job = Job(dlq=DLQ, state=JobState.RUNNING, operator="ops", scope="--all", target="source", started=NOW, at=NOW)
    world.say("7f3a", job)
    world.kafka.feed(f"{APP}-dlq-status", 0, b"?", key=b"nonsense")
    news = read_on(world.reader, APP, statuses)
    assert [entry.name for entry in news] == [FIRST, "7f3a"]
    assert (statuses.resolutions[FIRST].status, statuses.jobs) == (Status.RESOLVED, {"7f3a": job})
    world.kafka.feed(f"{APP}-dlq-status", 0, None, key=b"job:7f3a")
    read_on(world.reader, APP, statuses)
    assert (statuses.jobs, list(statuses.resolutions)) == ({}, [FIRST])


def test_without_a_status_topic_everything_is_open() -> None:
    world = DeadLetterWorld()
    assert read_statuses(world.reader, "another-app").resolutions == {}
