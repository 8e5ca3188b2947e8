"""What the engine tells of a partition: where its offsets are, and what of it the worker holds."""

from __future__ import annotations

import asyncio
import threading
import time

from streamapp.errors import CommitRefused
from streamapp.pipeline.facts import LaneFacts
from streamapp.records import Partition
from tests.support.blocking import Poison, blocking, outputs, settle, table_of
from tests.support.fakes import FakeBroker, Fault
from tests.support.pipeline import Bench, agent, batches, copy, each, emit, running

FIRST = 1_700_000_000_000
"""Milliseconds since 1970 of the first record's timestamp."""


def lane(bench: Bench, number: int = 0) -> LaneFacts:
    return next(each for each in bench.engine.facts().lanes if each.partition == Partition("in", number))


class Held:
    """An agent that has one record until it is let go."""

    def __init__(self, *values: bytes) -> None:
        self.values = values
        self.has = asyncio.Event()
        self.go = asyncio.Event()

    async def body(self, value: bytes) -> None:
        if value in self.values:
            self.has.set()
            await self.go.wait()
        emit(value)


async def test_offsets_and_counts_follow_the_records_and_the_markers_behind_them() -> None:
    async with running(agent(each(copy))) as bench:
        assert (lane(bench).merged, lane(bench).unmerged, lane(bench).oldest_unmerged) == (0, 0, None)
        began = time.time()
        bench.broker.feed("in", 0, b"1", b"2", b"3")
        bench.broker.marker("in", 0)
        await bench.until(lambda: lane(bench).committed == 4)
        after = lane(bench)
        assert (after.state, after.position, after.merged, after.unmerged, after.oldest_unmerged) == ("running", 4, 3, 0, None)
        assert after.committed_at is not None
        assert began - 1 <= after.committed_at <= time.time() + 1
        assert (after.in_hand, after.standstills, after.stopped_at, after.suspect) == (None, (), None, False)


async def test_where_nothing_was_ever_committed_none_is_told() -> None:
    may_commit = threading.Event()
    broker = FakeBroker()
    broker.feed("in", 0, b"1")
    broker.fail("send_offsets", Fault(wait=lambda: may_commit.wait(5)))
    async with running(agent(each(copy)), broker=broker, settled=False) as bench:
        await bench.until(lambda: bench.engine.facts().lanes and lane(bench).unmerged == 1)
        assert (lane(bench).committed, lane(bench).committed_at, lane(bench).position) == (None, None, 1)
        may_commit.set()
        await bench.until(lambda: lane(bench).committed == 1)


async def test_what_another_worker_committed_is_told_without_a_time() -> None:
    held = Held(b"3")
    broker = FakeBroker()
    broker.feed("in", 0, b"1", b"2", b"3")
    broker.offsets[Partition("in", 0)] = (2, "")
    async with running(agent(each(held.body)), broker=broker, settled=False, isolate_after=0) as bench:
        await held.has.wait()
        assert (lane(bench).committed, lane(bench).committed_at) == (2, None)
        held.go.set()


async def test_the_oldest_unmerged_is_in_hand_then_in_the_unit_that_commits_and_what_is_fetched_counts() -> None:
    held = Held(b"1")
    committing, may_commit = threading.Event(), threading.Event()

    def wait() -> None:
        committing.set()
        may_commit.wait(5)

    async with running(agent(each(held.body))) as bench:
        await bench.until(lambda: lane(bench).committed == 0)
        bench.source.frozen = True
        for at in range(3):
            bench.broker.feed("in", 0, b"%d" % (at + 1), timestamp=FIRST + 1000 * at)
        bench.source.frozen = False
        await held.has.wait()
        await bench.until(lambda: lane(bench).unmerged == 3)
        assert (lane(bench).oldest_unmerged, lane(bench).merged) == (FIRST / 1000, 0)
        in_hand = lane(bench).in_hand
        assert in_hand is not None
        assert (in_hand.agent, in_hand.offset) == ("agent", 0)
        await bench.until(lambda: (found := lane(bench).in_hand) is not None and found.seconds >= in_hand.seconds + 0.01)
        bench.broker.fail("send_offsets", Fault(wait=wait))
        held.go.set()
        await bench.until(committing.is_set)
        assert (lane(bench).oldest_unmerged, lane(bench).unmerged, lane(bench).in_hand) == (FIRST / 1000, 3, None)
        may_commit.set()
        await bench.until(lambda: lane(bench).merged == 3)
        assert (lane(bench).oldest_unmerged, lane(bench).unmerged) == (None, 0)


async def test_where_records_overlap_what_is_done_and_not_admitted_counts_too() -> None:
    held = Held(b"1")
    async with running(agent(each(held.body), concurrency=3)) as bench:
        bench.source.frozen = True
        for at in range(5):
            bench.broker.feed("in", 0, b"%d" % (at + 1), timestamp=FIRST + 1000 * at)
        bench.source.frozen = False
        await bench.until(lambda: len(bench.engine.group.lanes[Partition("in", 0)].window) == 5)
        assert (lane(bench).oldest_unmerged, lane(bench).unmerged) == (FIRST / 1000, 5)
        held.go.set()
        await bench.until(lambda: (lane(bench).merged, lane(bench).unmerged) == (5, 0))


async def test_a_replayed_record_is_as_old_as_its_replay() -> None:
    held = Held(b"1")
    async with running(agent(each(held.body))) as bench:
        replayed_at = [("streamapp.dlq.replayed-at", b"2026-11-27T10:00:00.000Z")]
        bench.broker.feed("in", 0, b"1", timestamp=FIRST, headers=replayed_at)  # type: ignore[arg-type]  # as Headers
        await held.has.wait()
        assert lane(bench).oldest_unmerged == 1_795_773_600.0
        held.go.set()


async def test_a_record_without_a_time_is_of_unknown_age() -> None:
    held = Held(b"1")
    async with running(agent(each(held.body))) as bench:
        bench.broker.feed("in", 0, b"1")
        await held.has.wait()
        assert (lane(bench).oldest_unmerged, lane(bench).unmerged) == (None, 1)
        held.go.set()


async def test_a_batch_counts_its_records_where_it_is_in_hand_and_where_it_is_merged() -> None:
    has, go = asyncio.Event(), asyncio.Event()

    async def body(values: list[bytes]) -> None:
        has.set()
        await go.wait()

    async with running(agent(batches(4, body))) as bench:
        bench.source.frozen = True
        for at in range(6):
            bench.broker.feed("in", 0, b"%d" % at, timestamp=FIRST + 1000 * at)
        bench.source.frozen = False
        await has.wait()
        await bench.until(lambda: lane(bench).unmerged == 6)
        assert (lane(bench).oldest_unmerged, bench.engine.facts().agents[0].in_hand) == (FIRST / 1000, 4)
        go.set()
        await bench.until(lambda: lane(bench).merged == 6)
        assert bench.engine.counters()["records"] == 6


async def test_what_an_abort_drops_is_merged_once_and_fetched_anew() -> None:
    committing, may_fail = threading.Event(), threading.Event()

    def wait() -> None:
        committing.set()
        may_fail.wait(5)

    async with running(agent(each(copy))) as bench:
        await bench.until(lambda: lane(bench).committed == 0)
        bench.broker.fail("send_offsets", Fault(CommitRefused(), wait=wait))
        bench.broker.feed("in", 0, b"1", b"2", b"3")
        await bench.until(committing.is_set)
        bench.broker.feed("in", 0, b"4", b"5")
        await bench.until(lambda: bench.engine.facts().transactions.open_records == 2)
        assert lane(bench).unmerged == 5
        may_fail.set()
        await bench.until(lambda: lane(bench).committed == 5)
        assert bench.engine.counters()["aborts"] == 1
        assert (lane(bench).merged, lane(bench).unmerged, lane(bench).position) == (5, 0, 5)


async def test_blocked_keys_and_what_waits_behind_them_are_counted() -> None:
    spec = blocking(Poison({b"a1", b"b1"}))
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        bench.broker.feed("in", 0, b"b1", b"b2", key=b"b")
        await bench.caught_up()
        await bench.until(lambda: (lane(bench).blocked_keys, lane(bench).held_records) == (2, 3))
        assert (lane(bench).merged, lane(bench).unmerged) == (5, 0)
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: (lane(bench).blocked_keys, lane(bench).held_records) == (1, 1))
        await bench.until(lambda: outputs(bench.broker) == [b"a2", b"a3"])
        await bench.until(lambda: lane(bench).unmerged == 0)
        assert lane(bench).merged == 5, "what had waited was merged when it was put there"


async def test_a_partition_that_is_gone_is_not_told() -> None:
    async with running(agent(each(copy)), partitions={"in": 2}) as bench:
        await bench.until(lambda: len(bench.engine.facts().lanes) == 2)
        bench.source.revoke(Partition("in", 0))
        await bench.until(lambda: [each.partition.number for each in bench.engine.facts().lanes] == [1])
