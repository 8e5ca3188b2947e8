"""What the engine tells of its transactions, its rebalances and its tables."""

from __future__ import annotations

import asyncio
import threading
import time

from streamapp.errors import CommitRefused, OutcomeUnknown, ProducerFenced
from streamapp.pipeline.facts import TableFacts, TransactionFacts
from streamapp.records import Partition
from tests.support.fakes import Fault
from tests.support.pipeline import Bench, agent, copy, each, emit, here, running, table


def facts(bench: Bench) -> TransactionFacts:
    return bench.engine.facts().transactions


async def write(value: bytes) -> None:
    here().write(here().partition_of("totals", value), value, b"12345")
    emit(value)


async def test_committed_units_are_counted_and_timed() -> None:
    async with running(agent(each(copy))) as bench:
        began = time.time()
        bench.broker.feed("in", 0, *(b"%d" % at for at in range(30)))
        await bench.caught_up()
        await bench.until(lambda: facts(bench).open_since is None and bench.engine.admission.flight is None)
        told = facts(bench)
        units = told.outcomes["committed"]
        assert told.outcomes == {"committed": units, "aborted": 0, "resumed": 0, "unknown": 0}
        assert [sum(each.counts) for each in (told.duration, told.commit_duration, told.records)] == [units] * 3
        assert (told.records.total, told.open_records, told.rebuilds) == (30, 0, {})
        assert told.commit_duration.total <= told.duration.total
        assert told.last_commit is not None
        assert began - 1 <= told.last_commit <= time.time() + 1


async def test_how_units_and_producers_end_is_told_apart() -> None:
    async with running(agent(each(copy))) as bench:
        for call, failure in (
            ("send_offsets", CommitRefused()),
            ("commit", Fault(OutcomeUnknown(), done=True)),
            ("flush", ProducerFenced()),
        ):
            bench.broker.fail(call, failure)
            bench.broker.feed("in", 0, b"x")
            aborts = bench.engine.counters()["aborts"]
            await bench.until(lambda aborts=aborts: bench.engine.counters()["aborts"] == aborts + 1)  # type: ignore[misc]  # bound now
            await bench.caught_up()
        told = facts(bench)
        assert (told.outcomes["aborted"], told.outcomes["unknown"]) == (2, 1)
        assert told.rebuilds == {"unknown_outcome": 1, "fenced": 1}


async def test_a_commit_that_had_to_be_called_again_is_told() -> None:
    async with running(agent(each(copy))) as bench:
        await bench.until(lambda: facts(bench).open_since is None and bench.engine.admission.flight is None)
        before = facts(bench).outcomes["committed"]
        producer = bench.engine.admission.producer
        assert producer is not None
        producer.resumed = True  # type: ignore[misc]  # as the client says it of its last commit
        bench.broker.feed("in", 0, b"x")
        await bench.until(lambda: facts(bench).outcomes["committed"] > before)
        assert facts(bench).outcomes["resumed"] == facts(bench).outcomes["committed"] - before


async def test_the_open_unit_and_what_is_not_on_disk_yet_are_told() -> None:
    committing, may_commit = threading.Event(), threading.Event()

    def wait() -> None:
        committing.set()
        may_commit.wait(5)

    async with running(agent(each(write)), tables=[table()], commit_interval=0.05) as bench:
        await bench.until(lambda: bench.broker.committed("in", 0) == 0)
        bench.broker.fail("send_offsets", Fault(wait=wait))
        began = time.time()
        bench.broker.feed("in", 0, b"a")
        await bench.until(lambda: facts(bench).open_records == 1 or committing.is_set())
        await bench.until(committing.is_set)
        first = facts(bench).overlay_bytes
        assert first > 5, "of the unit that is being committed"
        bench.broker.feed("in", 0, b"b")
        await bench.until(lambda: facts(bench).open_records == 1)
        told = facts(bench)
        assert told.overlay_bytes == 2 * first
        assert told.open_since is not None
        assert began - 1 <= told.open_since <= time.time() + 1
        may_commit.set()
        await bench.until(lambda: facts(bench).overlay_bytes == 0)
        assert (facts(bench).open_since, facts(bench).open_records) == (None, 0)


async def test_a_rebalance_lasts_from_its_first_revoke_to_the_last_new_partitions_run() -> None:
    async with running(agent(each(copy)), tables=[table()], partitions={"in": 3}, given={"in": [0, 1]}) as bench:
        assert facts(bench).rebalances == 1
        assert sum(facts(bench).rebalance_duration.counts) == 1
        before = facts(bench).rebalance_duration.total
        bench.restore.hold.clear()
        bench.source.revoke(Partition("in", 0))
        await bench.until(lambda: len(bench.engine.group.lanes) == 1)
        assert facts(bench).rebalances == 1, "a revoke without an assignment may be the end of the worker"
        bench.source.assign(Partition("in", 2))
        await bench.until(lambda: facts(bench).rebalances == 2)
        assert sum(facts(bench).rebalance_duration.counts) == 1, "its table is being restored"
        restored = asyncio.get_running_loop().time() + 0.05
        await bench.until(lambda: asyncio.get_running_loop().time() >= restored)
        bench.restore.hold.set()
        await bench.until(lambda: sum(facts(bench).rebalance_duration.counts) == 2)
        assert facts(bench).rebalance_duration.total - before >= 0.05
        bench.source.assign()
        await bench.until(lambda: facts(bench).rebalances == 3 and sum(facts(bench).rebalance_duration.counts) == 3)


async def test_tables_are_told_with_what_they_hold() -> None:
    async with running(agent(each(write)), tables=[table()], partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"a")
        await bench.caught_up()
        wanted = (TableFacts("totals", 0, 2, 12), TableFacts("totals", 1, 0, 0))
        await bench.until(lambda: bench.engine.facts().tables == wanted)
