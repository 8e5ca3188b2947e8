"""Outputs that are refused for good: the search for their record, also in batches, beside timers and where lanes go away."""

from __future__ import annotations

import pytest

from streamapp.pipeline.dead_letter import read_dead_letter
from streamapp.pipeline.savepoint import current_savepoint
from streamapp.records import Partition
from tests.support.fakes import FakeBroker
from tests.support.pipeline import Bench, agent, batches, copy, each, emit, here, running, table

LARGE = b"x" * 500


@pytest.fixture(autouse=True)
def _watch_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.pipeline.engine.WATCH_INTERVAL", 0.01)


def picky() -> FakeBroker:
    """Return a broker that takes no value above 400 bytes."""
    broker = FakeBroker()
    broker.largest = 400
    return broker


async def grow(value: bytes) -> None:
    """Send the value on; `big` becomes too large."""
    emit(LARGE if value.startswith(b"big") else value)


def buried(bench: Bench) -> list[tuple[str, int]]:
    """Return (reason, offset) of each dead letter, in order."""
    found = []
    for transaction in bench.broker.transactions:
        for record in transaction.records if transaction.committed else ():
            if record[0] == "dlq":
                letter = read_dead_letter(record[5])
                assert letter is not None
                found.append((letter.reason, letter.source.offset))
    return found


async def test_all_of_them_are_found_among_their_neighbours() -> None:
    async with running(agent(each(grow)), broker=picky()) as bench:
        bench.broker.feed("in", 0, *[b"big" if at in (0, 7, 8, 149) else b"%d" % at for at in range(150)])
        await bench.caught_up()
        assert buried(bench) == [("oversize-output", at) for at in (0, 7, 8, 149)]
        assert bench.broker.values("out") == [b"%d" % at for at in range(150) if at not in (0, 7, 8, 149)]


async def test_a_batch_is_taken_apart_and_only_the_guilty_record_is_buried() -> None:
    async def body(values: list[bytes]) -> None:
        for value in values:
            await grow(value)

    async with running(agent(batches(10, body)), broker=picky()) as bench:
        bench.broker.feed("in", 0, *[b"big" if at == 13 else b"%d" % at for at in range(30)])
        await bench.caught_up()
        assert buried(bench) == [("oversize-output", 13)]
        assert bench.broker.values("out") == [b"%d" % at for at in range(30) if at != 13]


async def test_overlapping_records_are_told_apart() -> None:
    async with running(agent(each(grow), concurrency=5), broker=picky()) as bench:
        bench.broker.feed("in", 0, *[b"big" if at == 13 else b"%d" % at for at in range(30)])
        await bench.caught_up()
        assert buried(bench) == [("oversize-output", 13)]
        assert bench.broker.values("out") == [b"%d" % at for at in range(30) if at != 13]


async def test_a_table_value_that_is_refused_is_its_writers_fault() -> None:
    async def body(value: bytes) -> None:
        partition = here().partition_of("totals", b"")
        here().write(partition, value[:3], LARGE if value == b"big" else value)
        emit(value)

    async with running(agent(each(body)), tables=[table()], broker=picky()) as bench:
        bench.broker.feed("in", 0, b"one", b"big", b"two")
        await bench.caught_up()
        assert buried(bench) == [("oversize-output", 1)]
        assert bench.store() == bench.changelog() == {b"one": b"one", b"two": b"two"}


async def test_a_dead_letter_that_is_refused_is_cut_and_the_record_not_called_more_often() -> None:
    async with running(agent(each(copy)), broker=picky()) as bench:
        bench.broker.feed("in", 0, b"a", b"!" + LARGE, b"b")
        await bench.caught_up()
        assert buried(bench) == [("permanent", 1)]
        assert bench.broker.values("dlq") == [None], "a reference: the value stays in the source"
        assert bench.broker.values("out") == [b"a", b"b"]


async def test_a_timers_refused_output_is_left_out_and_costs_no_record() -> None:
    ran: list[int] = []

    async def tick() -> None:
        ran.append(1)
        savepoint = current_savepoint.get()
        assert savepoint is not None
        savepoint.send(("out", LARGE, None, 0, 0, []))

    async with running(agent(each(grow)), broker=picky(), commit_interval=0.1) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.until(lambda: bench.engine.group.lanes[Partition("in", 0)].next_offset == 1)
        await bench.engine.tick(tick, name="too much")
        await bench.until(lambda: bench.engine.counters()["aborts"] >= 2)
        bench.broker.feed("in", 0, b"b")
        await bench.caught_up()
        assert buried(bench) == []
        assert bench.broker.values("out") == [b"a", b"b"]


async def test_a_lane_that_goes_away_ends_its_part_of_the_search() -> None:
    async with running(agent(each(grow)), broker=picky(), partitions={"in": 2}) as bench:
        admission = bench.engine.admission
        lane = bench.engine.group.lanes[Partition("in", 1)]
        with admission.lock:
            admission.isolating.add(lane)
        bench.source.revoke(Partition("in", 1)).result(5)
        await bench.until(lambda: not admission.isolating)
