"""A unit that is aborted takes all of its work down, and nothing else; what went down is done again, once."""

from __future__ import annotations

import asyncio
import threading

from streamapp.errors import CommitRefused
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.retry import Retry
from streamapp.records import Partition
from tests.support.fakes import Fault
from tests.support.pipeline import agent, copy, each, emit, here, running, table


async def count_here(value: bytes) -> None:
    """Count in the table `totals`, and send the count."""
    partition = here().partition_of("totals", b"")
    number = int(here().read(partition, b"n") or b"0") + 1
    here().write(partition, b"n", b"%d" % number)
    emit(b"%d" % number)


async def test_tables_are_as_before_and_the_second_life_counts_what_the_first_did() -> None:
    async with running(agent(each(count_here)), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        bench.broker.fail("send_offsets", CommitRefused("made by the test"))
        bench.broker.feed("in", 0, b"b", b"c")
        await bench.caught_up()
        assert bench.engine.counters()["aborts"] == 1
        assert bench.broker.values("out") == [b"1", b"2", b"3"]
        assert bench.store() == {b"n": b"3"} == bench.changelog()


async def test_the_disk_holds_nothing_of_a_unit_before_it_is_committed() -> None:
    standing, go = threading.Event(), threading.Event()

    def stand() -> None:
        standing.set()
        assert go.wait(20)

    async with running(agent(each(count_here)), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        await bench.until(lambda: bench.store() == {b"n": b"1"})
        bench.broker.fail("commit", Fault(wait=stand))
        bench.broker.feed("in", 0, b"b")
        try:
            await bench.until(standing.is_set)
            assert bench.store() == {b"n": b"1"}
        finally:
            go.set()
        await bench.until(lambda: bench.store() == {b"n": b"2"})


async def test_what_was_done_during_a_commit_goes_down_with_its_own_unit() -> None:
    standing, go = threading.Event(), threading.Event()

    def stand() -> None:
        standing.set()
        assert go.wait(20)

    async with running(agent(each(count_here)), tables=[table()]) as bench:
        lane = bench.engine.group.lanes[Partition("in", 0)]
        bench.broker.feed("in", 0, b"first")
        await bench.caught_up()
        bench.broker.fail("commit", Fault(wait=stand))
        bench.broker.feed("in", 0, b"a")
        try:
            await bench.until(standing.is_set)
            bench.broker.feed("in", 0, b"b")
            await bench.until(lambda: lane.next_offset == 3)
            bench.broker.fail("send_offsets", CommitRefused("made by the test"))
        finally:
            go.set()
        await bench.caught_up()
        assert bench.engine.counters()["aborts"] == 1
        assert bench.broker.values("out") == [b"1", b"2", b"3"]
        await bench.until(lambda: bench.store() == {b"n": b"3"})
        assert bench.changelog() == {b"n": b"3"}


async def test_what_the_coroutine_knew_of_an_aborted_unit_is_lost_with_it() -> None:
    async def run(cursor: Cursor) -> None:
        count = 0
        while True:
            await anext(cursor)
            count += 1
            emit(b"%d" % count)

    async with running(agent(run)) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        bench.broker.fail("send_offsets", CommitRefused("made by the test"))
        bench.broker.feed("in", 0, b"b", b"c")
        await bench.caught_up()
        assert bench.engine.counters()["aborts"] == 1
        assert bench.broker.values("out") == [b"1", b"1", b"2"], "its second life knows of neither"


async def test_a_record_in_hand_on_a_partition_that_the_unit_does_not_hold_is_run_again() -> None:
    tried: list[bytes] = []
    go = asyncio.Event()

    async def body(value: bytes) -> None:
        tried.append(value)
        if value == b"slow" and tried.count(value) == 1:
            await go.wait()
        emit(value)

    async with running(agent(each(body), concurrency=2), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"a")
        bench.broker.feed("in", 1, b"b")
        await bench.caught_up()
        bench.broker.feed("in", 0, b"slow", b"after")
        await bench.until(lambda: b"slow" in tried)
        bench.broker.fail("send_offsets", CommitRefused("made by the test"))
        bench.broker.feed("in", 1, b"x")
        await bench.until(lambda: bench.engine.counters()["aborts"] == 1)
        await bench.until(lambda: tried.count(b"slow") == 2 or b"after" in bench.broker.values("out", 0))
        go.set()
        await bench.caught_up()
        assert bench.broker.values("out", 0) == [b"a", b"slow", b"after"]
        assert bench.broker.values("out", 1) == [b"b", b"x"]


async def test_a_timers_run_that_went_down_is_made_up_for_once() -> None:
    ran: list[int] = []

    async def tick() -> None:
        ran.append(1)
        here().send(("out", b"tick", None, 0, 0, []))

    async with running(agent(each(copy))) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        bench.broker.fail("send_offsets", CommitRefused("made by the test"))
        await bench.engine.tick(tick, name="clock")
        await bench.until(lambda: bench.broker.values("out") == [b"a", b"tick"])
        assert len(ran) == 2


async def test_a_record_in_backoff_is_tried_again_though_its_lane_was_rewound_meanwhile() -> None:
    slow = Retry(attempts=2, unknown_attempts=2, base=0.3, cap=0.3, jitter="none", budget=2.0, attempt_timeout=2.0)
    tried: list[bytes] = []

    async def body(value: bytes) -> None:
        tried.append(value)
        if value == b"bad" and tried.count(value) == 1:
            bench.broker.fail("send_offsets", CommitRefused("made by the test"))
            raise RuntimeError("once")
        emit(value)

    async with running(agent(each(body), retry=slow), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"a")
        bench.broker.feed("in", 1, b"b")
        await bench.caught_up()
        bench.broker.feed("in", 0, b"bad")
        await bench.until(lambda: b"bad" in tried)
        bench.broker.feed("in", 1, b"x")
        await bench.caught_up()
        assert bench.engine.counters()["aborts"] == 1
        assert bench.broker.values("out", 0) == [b"a", b"bad"]
        assert bench.broker.values("out", 1) == [b"b", b"x"]
