"""A stopped partition dead-letters the record it waits on when it is asked to, goes on, and answers in the unit of that dead letter."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from streamapp.errors import CommitRefused, Permanent
from streamapp.pipeline import takes
from streamapp.pipeline.dead_letter import read_dead_letter
from streamapp.pipeline.resolution import Take
from streamapp.pipeline.spec import AgentSpec
from streamapp.pipeline.takes import FRESH
from streamapp.records import Partition, Position
from tests.support.pipeline import Bench, Body, agent, each, emit, running, table
from tests.support.replays import replayed, rows, told, units

STOPPED_AT = Position("in", 0, 1)


async def body(value: bytes) -> None:
    if value.startswith(b"bad"):
        raise Permanent("not today")
    emit(value)


def stopping(body: Body = body, **options: object) -> AgentSpec:
    return replace(agent(each(body), **options), on_error="stop")  # type: ignore[arg-type]  # agent()'s own


def answers(bench: Bench) -> list[tuple[str, str]]:
    return [(name, str(row.state)) for name, row in rows(bench) if isinstance(row, Take)]


def stands(bench: Bench, topic: str = "in", number: int = 0) -> bool:
    lane = bench.engine.group.lanes.get(Partition(topic, number))
    return lane is not None and lane.running and any(pause.startswith("stopped") for pause in lane.pauses)


async def test_a_stopped_partition_buries_the_record_answers_in_its_unit_and_goes_on() -> None:
    async with running(stopping()) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: stands(bench) and bench.broker.committed("in", 0) == 1)
        assert bench.broker.values("dlq") == []
        bench.engine.takes.asked(STOPPED_AT, time.time())
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b"]
        [unit] = [(outputs, entries) for outputs, entries in units(bench) if entries]
        assert ("dlq", b"bad") in unit[0]
        assert answers(bench) == [("in/0/1", "taken")]
        [letter] = [
            read_dead_letter(record[5]) for each in bench.broker.transactions for record in each.records if record[0] == "dlq"
        ]
        assert letter is not None
        assert (letter.reason, letter.order, letter.attempts, letter.message) == ("taken", "stopped", 1, "not today")


async def test_an_owner_that_does_not_stand_there_says_so_and_buries_nothing() -> None:
    async with running(stopping(), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        bench.broker.feed("in", 1, b"a", b"b")
        await bench.until(lambda: stands(bench) and bench.broker.committed("in", 1) == 2)
        for position in (Position("in", 0, 0), Position("in", 0, 2), Position("in", 1, 1)):
            bench.engine.takes.asked(position, time.time())
        await bench.until(lambda: len(answers(bench)) == 3)
        assert sorted(answers(bench)) == [("in/0/0", "not-waiting"), ("in/0/2", "not-waiting"), ("in/1/1", "not-waiting")]
        assert stands(bench)
        assert bench.broker.values("dlq") == []


async def test_a_worker_is_silent_about_partitions_of_others_until_they_are_its_own() -> None:
    async with running(stopping(), partitions={"in": 2}, given={"in": [0]}) as bench:
        bench.broker.feed("in", 0, b"a")
        bench.broker.feed("in", 1, b"a", b"bad", b"b")
        await bench.caught_up()
        bench.engine.takes.asked(Position("in", 1, 1), time.time())
        bench.engine.takes.asked(Position("in", 0, 0), time.time())
        await bench.until(lambda: answers(bench))
        assert answers(bench) == [("in/0/0", "not-waiting")]
        bench.source.assign(Partition("in", 1))
        await bench.until(lambda: bench.broker.committed("in", 1) == 3)
        assert answers(bench) == [("in/0/0", "not-waiting"), ("in/1/1", "taken")]


async def test_a_place_that_the_partition_has_not_come_to_is_waited_for_and_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(stopping()) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        bench.engine.takes.asked(STOPPED_AT, time.time())
        bench.broker.feed("in", 0, b"bad")
        await bench.caught_up()
        assert answers(bench) == [("in/0/1", "taken")]
        bench.engine.takes.asked(Position("in", 0, 9), time.time())
        monkeypatch.setattr(takes, "MAY_COME", 0.0)
        await bench.until(lambda: ("in/0/9", "not-waiting") in answers(bench))


async def test_a_request_that_is_too_old_is_left_alone() -> None:
    async with running(stopping()) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: stands(bench))
        bench.engine.takes.asked(STOPPED_AT, time.time() - FRESH - 1)
        bench.engine.takes.asked(Position("in", 0, 0), time.time())
        await bench.until(lambda: answers(bench))
        assert answers(bench) == [("in/0/0", "not-waiting")]
        assert stands(bench)


async def test_one_that_was_answered_or_taken_back_while_the_partition_was_away_is_not_acted_on() -> None:
    async with running(stopping(), given={"in": []}) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        bench.engine.takes.asked(STOPPED_AT, time.time())
        bench.engine.takes.answered(STOPPED_AT)
        bench.source.assign(Partition("in", 0))
        await bench.until(lambda: stands(bench))
        bench.engine.takes.step()
        assert stands(bench)
        assert answers(bench) == []


async def test_a_dropped_unit_takes_the_answer_with_it_and_the_record_is_taken_again() -> None:
    async with running(stopping()) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: stands(bench) and bench.broker.committed("in", 0) == 1)
        bench.broker.fail("send_offsets", CommitRefused())
        bench.engine.takes.asked(STOPPED_AT, time.time())
        await bench.caught_up()
        assert bench.engine.counters()["aborts"] == 1
        assert bench.broker.values("dlq") == [b"bad"]
        assert answers(bench) == [("in/0/1", "taken")]


async def test_after_a_commit_a_rewind_does_not_take_the_answer_back() -> None:
    async with running(stopping()) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: stands(bench))
        bench.engine.takes.asked(STOPPED_AT, time.time())
        await bench.caught_up()
        bench.broker.fail("send_offsets", CommitRefused())
        bench.broker.feed("in", 0, b"c")
        await bench.caught_up()
        bench.engine.takes.step()
        bench.engine.takes.asked(Position("in", 0, 0), time.time())
        await bench.until(lambda: ("in/0/0", "not-waiting") in answers(bench))
        assert ("in/0/1", "not-waiting") not in answers(bench)


async def test_a_record_that_stood_once_and_was_done_by_its_next_owner_is_not_taken_nor_is_the_next_one() -> None:
    mended = False

    async def wobble(value: bytes) -> None:
        if value == b"bad" and not mended:
            raise Permanent
        emit(value)

    async with running(stopping(wobble), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"bad")
        await bench.until(lambda: stands(bench))
        mended = True
        bench.source.lose(Partition("in", 0))
        bench.source.assign(Partition("in", 0))
        await bench.caught_up()
        bench.engine.takes.asked(Position("in", 0, 0), time.time())
        await bench.until(lambda: answers(bench))
        bench.broker.feed("in", 0, b"b")
        await bench.caught_up()
        assert answers(bench) == [("in/0/0", "not-waiting")]
        assert bench.broker.values("dlq") == []
        assert sorted(value or b"" for value in bench.broker.values("out")) == [b"b", b"bad"]


async def test_a_replayed_record_that_stopped_its_partition_is_reopened_when_it_is_taken() -> None:
    async with running(stopping()) as bench:
        bench.broker.feed("in", 0, b"bad", headers=replayed("in/0/9@agent"))
        await bench.until(lambda: stands(bench))
        assert told(bench) == []
        bench.engine.takes.asked(Position("in", 0, 0), time.time())
        await bench.caught_up()
        assert told(bench) == [("in/0/9@agent", "reopened", None, 1)]
        assert answers(bench) == [("in/0/0", "taken")]


async def test_where_several_agents_read_the_others_work_on_the_record_is_kept() -> None:
    async def write(value: bytes) -> None:
        bench.engine.table("totals").put(b"n", value)
        emit(value, "first")

    first = agent(each(write), name="first")
    async with running(first, stopping(name="second"), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: stands(bench))
        bench.engine.takes.asked(STOPPED_AT, time.time())
        await bench.caught_up()
        assert bench.broker.values("first") == [b"a", b"bad", b"b"]
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.broker.values("dlq") == [b"bad"]
        assert bench.store() == {b"n": b"b"}


async def test_a_record_at_work_on_the_same_line_is_not_disturbed() -> None:
    """Topics that share a table share a line: admitting the dead letter would let the line go under the other record."""
    go = asyncio.Event()
    seen: list[tuple[bytes | None, bytes | None]] = []

    async def slow(value: bytes) -> None:
        totals = bench.engine.table("totals")
        before = totals.get(b"n")
        if value == b"slow":
            await go.wait()
        seen.append((before, totals.get(b"n")))
        totals.put(b"n", value)

    other = agent(each(slow), name="other", topics=("other",))
    async with running(stopping(), other, tables=[table("totals", "in", "other")]) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: stands(bench))
        bench.broker.feed("other", 0, b"slow")
        await bench.until(lambda: bench.engine.group.lanes[Partition("other", 0)].line.holder is not None)
        bench.engine.takes.asked(STOPPED_AT, time.time())
        assert stands(bench)
        assert bench.broker.values("dlq") == []
        go.set()
        await bench.caught_up()
        assert bench.broker.values("dlq") == [b"bad"]
        assert seen == [(None, None)]


async def test_a_record_that_has_nowhere_to_go_stays() -> None:
    letters = replace(agent(each(body), name="triage"), dlq=None, on_error="stop")
    async with running(letters) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: stands(bench))
        bench.engine.takes.asked(STOPPED_AT, time.time())
        await bench.until(lambda: answers(bench))
        assert answers(bench) == [("in/0/1", "not-waiting")]
        assert stands(bench)


async def test_a_dead_letter_that_the_broker_refuses_is_cut_and_taken_again() -> None:
    async with running(stopping()) as bench:
        bench.broker.feed("in", 0, b"bad" * 200, b"b")
        await bench.until(lambda: stands(bench))
        bench.broker.largest = 300
        bench.engine.takes.asked(Position("in", 0, 0), time.time())
        await bench.caught_up()
        assert bench.broker.values("dlq") == [None]
        assert answers(bench) == [("in/0/0", "taken")]
