"""One record after the other: order, savepoints, retries, and what becomes of code that misbehaves."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamapp.errors import InvariantBroken, Permanent, SavepointEnded, UsageError
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.records import Partition
from tests.support.pipeline import QUICK, Bench, agent, copy, each, emit, here, running, table

NEVER = Retry(attempts=1, unknown_attempts=1, base=0.002, cap=0.01, jitter="none", budget=2.0, attempt_timeout=2.0)


@pytest.fixture(autouse=True)
def _watch_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.pipeline.engine.WATCH_INTERVAL", 0.01)


async def test_a_partition_keeps_its_order() -> None:
    async with running(agent(each(copy)), partitions={"in": 3}) as bench:
        for number in range(3):
            bench.broker.feed("in", number, *[b"%d" % at for at in range(300)])
        await bench.caught_up()
        for number in range(3):
            assert bench.broker.values("out", number) == [b"%d" % at for at in range(300)]


async def test_each_record_is_a_savepoint_of_its_own() -> None:
    seen: list[Savepoint] = []

    async def body(value: bytes) -> None:
        seen.append(here())
        emit(value)
        emit(value + b"'")

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"c")
        await bench.caught_up()
        assert len(set(map(id, seen))) == 3
        assert not any(savepoint.is_open for savepoint in seen)
        assert bench.broker.values("out") == [b"a", b"a'", b"b", b"b'", b"c", b"c'"]


async def test_a_failing_record_is_retried_then_buried_and_its_neighbours_go_on() -> None:
    calls: list[bytes] = []

    async def body(value: bytes) -> None:
        calls.append(value)
        emit(value)
        if value == b"bad":
            raise RuntimeError("no")

    async with running(agent(each(body)), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        bench.broker.feed("in", 1, *[b"x"] * 50)
        await bench.caught_up()
        assert calls.count(b"bad") == 2  # of unknown kind: one more try
        assert bench.broker.values("out", 0) == [b"a", b"b"]
        assert bench.broker.values("out", 1) == [b"x"] * 50
        assert bench.broker.values("dlq") == [b"bad"]
        assert bench.engine.counters()["aborts"] == 0


async def test_a_transient_failure_is_forgotten_once_it_passes() -> None:
    failures = iter([ConnectionError(), ConnectionError()])

    async def body(value: bytes) -> None:
        emit(value)
        for failure in failures:
            raise failure

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"a", b"b")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.broker.values("dlq") == []


async def test_other_partitions_go_on_while_one_backs_off() -> None:
    slow = Retry(attempts=2, unknown_attempts=2, base=0.3, cap=0.3, jitter="none", budget=2.0, attempt_timeout=2.0)
    tried = False

    async def body(value: bytes) -> None:
        nonlocal tried
        if value == b"bad" and not tried:
            tried = True
            raise RuntimeError("once")
        emit(value)

    async with running(agent(each(body), retry=slow), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"bad", b"after")
        await bench.until(lambda: tried)
        bench.broker.feed("in", 1, b"x")
        await bench.until(lambda: bench.broker.values("out", 1) == [b"x"])
        assert bench.broker.values("out", 0) == []
        await bench.caught_up()
        assert bench.broker.values("out", 0) == [b"bad", b"after"]


async def test_what_cannot_be_decoded_is_buried_without_a_call() -> None:
    calls: list[bytes] = []

    async def body(value: bytes) -> None:
        calls.append(value)

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"!", None, b"a")
        await bench.caught_up()
        assert calls == [b"a"]
        assert bench.broker.values("dlq") == [b"!", None]


async def test_an_agent_that_takes_none_gets_it() -> None:
    calls: list[object] = []

    async def run(cursor: Cursor) -> None:
        while True:
            calls.append(await anext(cursor))

    async with running(agent(run, takes_none=True)) as bench:
        bench.broker.feed("in", 0, None)
        await bench.caught_up()
        assert calls == [None]


@pytest.mark.parametrize("value", [b"!", b"bad"])
async def test_without_a_dead_letter_topic_the_partition_stands_and_the_others_go_on(value: bytes) -> None:
    async def body(value: bytes) -> None:
        if value == b"bad":
            raise Permanent
        emit(value)

    async with running(agent(each(body), dlq=None), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"a", value, b"b")
        bench.broker.feed("in", 1, b"x")
        await bench.until(lambda: bench.broker.committed("in", 1) == 1 and bench.broker.committed("in", 0) == 1)
        bench.broker.feed("in", 1, b"y")
        await bench.until(lambda: bench.broker.values("out", 1) == [b"x", b"y"])
        assert bench.broker.values("out", 0) == [b"a"]
        assert bench.broker.committed("in", 0) == 1


async def test_a_function_that_breaks_out_after_a_record_has_done_it() -> None:
    lives = 0

    async def run(cursor: Cursor) -> None:
        nonlocal lives
        lives += 1
        value = await anext(cursor)
        assert isinstance(value, bytes)
        emit(value)

    async with running(agent(run)) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"c")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b", b"c"]
        assert lives >= 3


async def test_a_function_that_takes_nothing_does_not_hold_up_the_loop() -> None:
    lives = 0

    async def run(cursor: Cursor) -> None:
        nonlocal lives
        lives += 1

    async with running(agent(run, name="idle"), agent(each(copy), name="other", topics=("other",))) as bench:
        bench.broker.feed("in", 0, b"a")
        bench.broker.feed("other", 0, b"b")
        await bench.until(lambda: bench.broker.values("out") == [b"b"])
        assert bench.broker.values("dlq") == []


async def test_a_function_that_fails_before_its_first_record_does_not_hold_up_the_loop() -> None:
    lives = 0

    async def run(cursor: Cursor) -> None:
        nonlocal lives
        lives += 1
        if lives < 4:
            raise ConnectionError("the database is not there yet")
        await each(copy)(cursor)

    async with running(agent(run, name="late"), agent(each(copy), name="other", topics=("other",))) as bench:
        bench.broker.feed("in", 0, b"a")
        bench.broker.feed("other", 0, b"b")
        await bench.until(lambda: bench.broker.values("out").count(b"b") == 1)
        await bench.caught_up(seconds=10)
        assert sorted(map(bytes, filter(None, bench.broker.values("out")))) == [b"a", b"b"]
        assert bench.broker.values("dlq") == []


async def test_an_attempt_that_takes_too_long_is_cancelled_and_retried() -> None:
    hasty = Retry(attempts=2, unknown_attempts=2, base=0.002, cap=0.01, jitter="none", budget=2.0, attempt_timeout=0.05)
    cancelled: list[bytes] = []

    async def body(value: bytes) -> None:
        emit(value)
        if value == b"stuck":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(value)
                raise

    async with running(agent(each(body), retry=hasty), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"a", b"stuck", b"b")
        await bench.caught_up()
        assert cancelled == [b"stuck", b"stuck"]
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.broker.values("dlq") == [b"stuck"]


async def test_a_handler_that_swallows_its_cancellation_is_timed_again() -> None:
    hasty = Retry(attempts=1, unknown_attempts=1, base=0.002, cap=0.01, jitter="none", budget=2.0, attempt_timeout=0.05)

    async def body(value: bytes) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if value == b"stuck":
                raise
        emit(value)

    async with running(agent(each(body), retry=hasty)) as bench:
        bench.broker.feed("in", 0, b"a", b"stuck", b"b")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.broker.values("dlq") == [b"stuck"]


async def test_a_slow_record_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    go = asyncio.Event()

    async def body(value: bytes) -> None:
        await go.wait()

    def named() -> list[str]:
        return [record.message for record in caplog.records if "has been with agent" in record.message]

    with caplog.at_level(logging.WARNING):
        async with running(agent(each(body)), warn_after=0.02) as bench:
            bench.broker.feed("in", 0, b"a")
            await bench.until(named)
            await asyncio.sleep(0.05)
            go.set()
            await bench.caught_up()
    (message,) = named()
    assert "in/0@0" in message


async def test_cancelled_error_of_the_users_own_is_a_failure_of_its_record() -> None:
    async def body(value: bytes) -> None:
        if value == b"bad":
            task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
            task.cancel()
            await task
        emit(value)

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.broker.values("dlq") == [b"bad"]


async def test_deep_recursion_is_its_records_failure() -> None:
    async def body(value: bytes) -> None:
        if value == b"bad":
            raise RecursionError
        emit(value)

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"bad", b"b")
        await bench.caught_up()
        assert bench.broker.values("dlq") == [b"bad"]
        assert bench.broker.values("out") == [b"b"]


@pytest.mark.parametrize("failure", [MemoryError(), InvariantBroken("x"), OSError(28, "disk full")])
async def test_a_fatal_failure_stops_the_engine_and_its_record_stays(failure: Exception) -> None:
    calls = 0

    async def body(value: bytes) -> None:
        nonlocal calls
        calls += 1
        raise failure

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"a", b"b")
        assert await asyncio.wait_for(bench.engine.failure, 5) is failure
        assert calls == 1
    assert bench.broker.committed("in", 0) in (None, 0)
    assert bench.broker.values("dlq") == []


async def test_a_task_that_outlives_its_record_cannot_join_it() -> None:
    outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def later() -> None:
        await done.wait()
        try:
            emit(b"late")
        except SavepointEnded as refused:
            outcome.set_result(refused)
        else:
            outcome.set_result(None)

    tasks = []

    async def body(value: bytes) -> None:
        tasks.append(asyncio.get_running_loop().create_task(later()))
        emit(value)

    async with running(agent(each(body)), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        done.set()
        told = await asyncio.wait_for(outcome, 5)
        assert isinstance(told, SavepointEnded)
        assert "in/0@0" in str(told)
        assert bench.broker.values("out") == [b"a"]


async def test_a_table_used_after_its_record_raises() -> None:
    kept: list[Savepoint] = []

    async def body(value: bytes) -> None:
        kept.append(here())

    async with running(agent(each(body)), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        token = current_savepoint.set(kept[0])
        try:
            with pytest.raises(SavepointEnded):
                bench.engine.table("totals").put(b"k", b"v")
        finally:
            current_savepoint.reset(token)


async def test_what_the_coroutine_knew_is_lost_when_its_record_fails() -> None:
    async def run(cursor: Cursor) -> None:
        count = 0
        while True:
            value = await anext(cursor)
            count += 1
            emit(b"%d" % count)
            if value == b"bad":
                raise Permanent

    async with running(agent(run)) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"bad", b"c")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"1", b"2", b"1"]


async def test_a_timer_gets_in_under_full_load() -> None:
    turns = 0
    done = False

    async def turning() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    async with running(agent(each(copy)), lane_bound=10_000, source_batch=2000, commit_interval=0.05) as bench:
        bench.broker.feed("in", 0, *[b"x"] * 6000)
        watcher = asyncio.get_running_loop().create_task(turning())
        await bench.caught_up()
        done = True
        await watcher
        assert turns >= 6000 / 200


# --- records that overlap


def held_up(*values: bytes) -> tuple[dict[bytes, asyncio.Event], list[bytes], Bench | None]:
    return {value: asyncio.Event() for value in values}, [], None


async def test_what_is_done_behind_an_unfinished_record_produces_nothing() -> None:
    gates, started, _ = held_up(b"0", b"1", b"2", b"3")

    async def body(value: bytes) -> None:
        started.append(value)
        emit(value)
        await gates[value].wait()

    async with running(agent(each(body), concurrency=3)) as bench:
        bench.broker.feed("in", 0, b"0", b"1", b"2", b"3")
        await bench.until(lambda: len(started) == 3)
        gates[b"2"].set()
        await bench.until(lambda: len(started) == 4)
        gates[b"1"].set()
        gates[b"3"].set()
        await asyncio.sleep(0.05)
        assert bench.broker.values("out") == []
        assert bench.broker.committed("in", 0) in (None, 0)
        gates[b"0"].set()
        await bench.caught_up()
        assert bench.broker.values("out") == [b"0", b"1", b"2", b"3"]


async def test_records_that_overlap_may_not_touch_a_table() -> None:
    refused: list[str] = []

    async def body(value: bytes) -> None:
        try:
            bench.engine.table("totals").put(value, b"1")
        except UsageError as failure:
            refused.append(str(failure))

    async with running(agent(each(body), concurrency=2), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        assert "concurrency" in refused[0]


async def test_overlapping_records_wake_everybody_once_the_window_has_room() -> None:
    """Two agents with concurrency, a window of four: the first agent's actors sleep at the bound and are woken again."""
    gate = asyncio.Event()
    first: list[bytes] = []

    async def one(value: bytes) -> None:
        first.append(value)

    async def two(value: bytes) -> None:
        if value == b"0":
            await gate.wait()
        emit(value)

    values = [b"%d" % at for at in range(40)]
    agents = agent(each(one), name="one", concurrency=2), agent(each(two), name="two", concurrency=2)
    async with running(*agents, lane_bound=4) as bench:
        bench.broker.feed("in", 0, *values)
        await bench.until(lambda: len(first) >= 4)
        await asyncio.sleep(0.05)
        gate.set()
        await bench.caught_up()
        assert bench.broker.values("out") == values


async def test_dedupe_lets_actors_overlap_over_partitions_only() -> None:
    at_work: dict[int, int] = {}
    most: dict[int, int] = {}

    async def body(value: bytes) -> None:
        number = here().record.partition() or 0
        at_work[number] = at_work.get(number, 0) + 1
        most[number] = max(most.get(number, 0), at_work[number])
        await asyncio.sleep(0)
        at_work[number] -= 1
        emit(value)

    marks = table("marks", horizon=3600.0)
    async with running(agent(each(body), concurrency=4, dedupe="marks"), tables=[marks], partitions={"in": 2}) as bench:
        for number in range(2):
            bench.broker.feed("in", number, b"a", b"b", b"a", b"c", b"b")
        await bench.caught_up()
        assert most == {0: 1, 1: 1}
        for number in range(2):
            assert bench.broker.values("out", number) == [b"a", b"b", b"c"]
        assert bench.engine.counters()["dedupe_hits"] == 4


async def test_a_duplicate_key_function_that_fails_is_its_records_failure() -> None:
    async def body(value: bytes) -> None:
        emit(value)

    def decode_to_text(raw: bytes) -> object:
        return 5 if raw == b"bad" else raw

    spec = agent(each(body), dedupe="marks", retry=NEVER)
    source = spec.sources[0]
    from dataclasses import replace

    spec = replace(spec, sources=(replace(source, decode=decode_to_text),))
    async with running(spec, tables=[table("marks", horizon=60.0)]) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.broker.values("dlq") == [b"bad"]


# --- two agents on one topic


async def test_two_agents_share_a_record_and_the_second_sees_the_firsts_writes() -> None:
    async def one(value: bytes) -> None:
        totals = bench.engine.table("totals")
        totals.put(b"n", b"%d" % (int(totals.get(b"n") or b"0") + 1))
        emit(b"1" + value)

    async def two(value: bytes) -> None:
        emit(b"2" + value + b":" + (bench.engine.table("totals").get(b"n") or b"-"))

    async with running(agent(each(one), name="one"), agent(each(two), name="two"), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"c")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"1a", b"2a:1", b"1b", b"2b:2", b"1c", b"2c:3"]
        assert bench.store() == {b"n": b"3"} == bench.changelog()


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("guilty", ["one", "two"])
@pytest.mark.parametrize("bad", [b"bad", b"!bad"])
async def test_a_retry_or_dead_letter_of_one_agent_never_reruns_the_other(guilty: str, concurrency: int, bad: bytes) -> None:
    calls: dict[str, list[bytes]] = {"one": [], "two": []}

    def body(name: str):  # type: ignore[no-untyped-def]
        async def run(value: bytes) -> None:
            calls[name].append(value)
            emit(name.encode() + value)
            await asyncio.sleep(0)
            if name == guilty and value == b"bad":
                raise RuntimeError("no")

        return run

    agents = [agent(each(body(name)), name=name, dlq=f"dlq-{name}", concurrency=concurrency) for name in ("one", "two")]
    async with running(*agents, tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a", bad, b"b", b"c")
        await bench.caught_up()
        innocent = "two" if guilty == "one" else "one"
        if bad == b"bad":
            assert calls[guilty].count(b"bad") == 2
            assert calls[innocent].count(b"bad") == 1
            assert bench.broker.values(f"dlq-{guilty}") == [b"bad"]
            assert bench.broker.values(f"dlq-{innocent}") == []
        else:
            assert bench.broker.values("dlq-one") == bench.broker.values("dlq-two") == [b"!bad"]
        for name in ("one", "two"):
            mine = [value for value in bench.broker.values("out") if value and value.startswith(name.encode())]
            wanted = [b"a", *([b"bad"] if name == innocent and bad == b"bad" else []), b"b", b"c"]
            assert mine == [name.encode() + value for value in wanted]


# --- two topics, one table


async def test_two_topics_that_share_a_table_take_turns_and_nobody_starves() -> None:
    """The same partition number of both topics is one line: a record of one waits for a record of the other, and is woken."""
    at_work = 0
    most = 0

    def body(name: bytes):  # type: ignore[no-untyped-def]
        async def run(value: bytes) -> None:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            totals = bench.engine.table("totals")
            before = int(totals.get(b"n") or b"0")
            await asyncio.sleep(0.0005)
            totals.put(b"n", b"%d" % (before + 1))
            at_work -= 1
            emit(name + value)

        return run

    left, right = agent(each(body(b"l")), name="l", topics=("left",)), agent(each(body(b"r")), name="r", topics=("right",))
    async with running(left, right, tables=[table("totals", "left", "right")]) as bench:
        bench.broker.feed("left", 0, *[b"%d" % at for at in range(150)])
        bench.broker.feed("right", 0, *[b"%d" % at for at in range(150)])
        await bench.caught_up()
        assert most == 1
        assert bench.store() == {b"n": b"300"} == bench.changelog()
        values = bench.broker.values("out")
        assert [value for value in values if value and value.startswith(b"l")] == [b"l%d" % at for at in range(150)]
        first_right = next(at for at, value in enumerate(values) if value and value.startswith(b"r"))
        assert first_right < 149  # it did not have to wait for all of the other's


async def test_a_topic_that_is_sought_anew_takes_its_whole_line_along() -> None:
    """Retention overtakes one topic of a line: its lane begins anew, and the other topic's with it, as the table is restored."""
    stands, goes_on = asyncio.Event(), asyncio.Event()

    async def left(value: bytes) -> None:
        totals = bench.engine.table("totals")
        totals.put(b"n", b"%d" % (int(totals.get(b"n") or b"0") + 1))

    async def right(value: bytes) -> None:
        totals = bench.engine.table("totals")
        before = int(totals.get(b"n") or b"0")
        stands.set()
        await goes_on.wait()
        totals.put(b"n", b"%d" % (before + 1))

    agents = agent(each(left), name="l", topics=("left",)), agent(each(right), name="r", topics=("right",))
    async with running(*agents, tables=[table("totals", "left", "right")]) as bench:
        bench.broker.feed("left", 0, b"1", b"2", b"3")
        await bench.caught_up()
        bench.broker.feed("right", 0, b"1")
        await stands.wait()
        lanes = [bench.engine.group.lanes[Partition(topic, 0)] for topic in ("left", "right")]
        numbers = [lane.number for lane in lanes]
        bench.source.out_of_range(lanes[0].partition)
        await bench.until(
            lambda: all(lane.number != number and lane.running for lane, number in zip(lanes, numbers, strict=True))
        )
        assert lanes[0].tables["totals"] is lanes[1].tables["totals"]
        goes_on.set()
        bench.broker.feed("left", 0, b"4")
        await bench.caught_up()
        assert bench.store() == {b"n": b"5"} == bench.changelog()


async def test_stop_is_prompt_with_nothing_in_hand_and_may_come_twice() -> None:
    async with running(agent(each(copy))) as bench:
        began = asyncio.get_running_loop().time()
        await bench.engine.stop()
        await bench.engine.stop()
        assert asyncio.get_running_loop().time() - began < 1.0


async def test_stop_finishes_and_commits_what_is_in_hand() -> None:
    started = asyncio.Event()

    async def body(value: bytes) -> None:
        started.set()
        await asyncio.sleep(0.05)
        emit(value)

    async with running(agent(each(body)), commit_interval=3.0) as bench:
        bench.broker.feed("in", 0, b"a", b"b")
        await started.wait()
        await bench.engine.stop()
        assert bench.broker.values("out") == [b"a"]
        assert bench.broker.committed("in", 0) == 1


async def test_the_listener_hears_of_partitions_given_restored_and_gone() -> None:
    async with running(agent(each(copy)), partitions={"in": 2}, given={"in": [0]}) as bench:
        zero, one = Partition("in", 0), Partition("in", 1)
        assert bench.engine.assignment() == bench.engine.restored() == {zero}
        bench.source.assign(one)
        await bench.until(lambda: bench.engine.restored() == {zero, one})
        bench.source.revoke(zero)
        await bench.until(lambda: bench.engine.assignment() == {one})
        assert [("assigned", {zero}), ("restored", {zero}), ("assigned", {one}), ("restored", {one}), ("revoked", {zero})] == (
            bench.heard.told
        )


def test_quick_retries_fit_the_settings() -> None:
    assert QUICK.fitted(transaction_timeout=10.0, max_poll_interval=20.0) == QUICK
