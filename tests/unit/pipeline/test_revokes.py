"""A revoke takes what it names and nothing else: it commits what is done first, and the kept partitions lose no record by it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from streamapp.ports import PartitionSource
from streamapp.records import Partition
from tests.support.fakes import Fault
from tests.support.pipeline import agent, copy, each, emit, running

ZERO, ONE = Partition("in", 0), Partition("in", 1)


async def test_records_of_a_kept_partition_that_were_fetched_and_not_started_are_done() -> None:
    go = asyncio.Event()

    async def body(value: bytes) -> None:
        await go.wait()
        emit(value)

    values = [b"%d" % at for at in range(20)]
    async with running(agent(each(body)), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 1, *values)
        lane = bench.engine.group.lanes[ONE]
        await bench.until(lambda: lane.waiting == 19)
        bench.source.revoke(ZERO)
        await bench.until(lambda: ZERO not in bench.engine.group.lanes)
        go.set()
        await bench.caught_up()
        assert bench.broker.values("out", 1) == values


async def test_what_is_done_on_every_partition_is_committed_before_one_of_them_goes() -> None:
    async with running(agent(each(copy)), partitions={"in": 2}, commit_interval=3.0) as bench:
        lanes = bench.engine.group.lanes
        bench.broker.feed("in", 0, b"a")
        bench.broker.feed("in", 1, b"b", b"c")
        await bench.until(lambda: lanes[ZERO].next_offset == 1 and lanes[ONE].next_offset == 2)
        assert bench.broker.committed("in", 1) is None
        await asyncio.wrap_future(bench.source.revoke(ZERO))
        assert (bench.broker.committed("in", 0), bench.broker.committed("in", 1)) == (1, 2)
        assert bench.engine.counters()["aborts"] == 0


async def test_nothing_is_started_on_a_partition_that_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bytes] = []
    go = asyncio.Event()

    async def body(value: bytes) -> None:
        started.append(value)
        await go.wait()
        emit(value)

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"c")
        await bench.until(lambda: started == [b"a"])
        revoking, asked = bench.engine.group.revoking, threading.Event()

        def told(source: PartitionSource, places: Sequence[Partition]) -> Future[None]:
            done = revoking(source, places)
            asked.set()
            return done

        monkeypatch.setattr(bench.engine.group, "revoking", told)
        given_back = asyncio.wrap_future(bench.source.revoke(ZERO))
        await bench.until(asked.is_set)
        go.set()
        await given_back
        await bench.until(lambda: not bench.engine.group.lanes)
        assert started == [b"a"]
        assert bench.broker.values("out") == [b"a"], "the call in hand was done in time and counts"
        assert bench.broker.committed("in", 0) == 1


async def test_a_partition_that_comes_back_is_read_though_its_last_revoke_is_answered_only_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, held = threading.Event(), threading.Event()
    answers: list[Future[None]] = []

    def wait() -> None:
        held.set()
        go.wait(5.0)

    async with running(agent(each(copy))) as bench:
        lanes, revoking = bench.engine.group.lanes, bench.engine.group.revoking

        def told(source: PartitionSource, places: Sequence[Partition]) -> Future[None]:
            answers.append(revoking(source, places))
            return answers[-1]

        monkeypatch.setattr(bench.engine.group, "revoking", told)
        bench.broker.fail("flush", Fault(wait=wait))
        bench.broker.feed("in", 0, b"a")
        await bench.until(held.is_set)
        before, bench.source.revoke_budget = lanes[ZERO], 0.0
        await asyncio.wrap_future(bench.source.revoke(ZERO))
        bench.source.revoke_budget = 5.0
        await asyncio.wrap_future(bench.source.assign(ZERO))
        assert lanes[ZERO] is not before
        assert not answers[0].done()
        go.set()
        await asyncio.wrap_future(answers[0])
        bench.broker.feed("in", 0, b"b")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b"]


async def test_a_lost_partition_takes_its_open_unit_down_and_nothing_of_it_is_committed() -> None:
    async with running(agent(each(copy)), partitions={"in": 2}, commit_interval=3.0) as bench:
        lanes = bench.engine.group.lanes
        bench.broker.feed("in", 0, b"a")
        bench.broker.feed("in", 1, b"b")
        await bench.until(lambda: lanes[ZERO].next_offset == lanes[ONE].next_offset == 1)
        bench.source.lose(ZERO)
        await bench.until(lambda: bench.engine.counters()["aborts"] == 1)
        await bench.caught_up()
        assert bench.broker.values("out", 0) == []
        assert bench.broker.values("out", 1) == [b"b"]
        assert bench.broker.committed("in", 0) is None
