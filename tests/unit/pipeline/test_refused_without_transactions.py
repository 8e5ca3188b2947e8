"""Rule 15 without transactions: a refused output's record is found and buried, and no other record is lost by the search."""

from __future__ import annotations

from tests.support.fakes import FakeBroker
from tests.support.pipeline import agent, each, emit, running, table

LARGE = b"x" * 500


async def grow(value: bytes) -> None:
    emit(LARGE if value.startswith(b"big") else value)


async def test_all_of_them_are_buried_and_their_neighbours_come_at_least_once() -> None:
    broker = FakeBroker(largest=400)
    async with running(
        agent(each(grow), dedupe="marks"), tables=[table("marks", horizon=3600.0)], broker=broker, exactly_once=False
    ) as bench:
        values = [b"big%d" % at if at in (0, 7, 8, 49) else b"%d" % at for at in range(50)]
        bench.broker.feed("in", 0, *values)
        await bench.caught_up()
        assert set(bench.broker.values("dlq")) == {b"big0", b"big7", b"big8", b"big49"}
        assert set(bench.broker.values("out")) == {value for value in values if not value.startswith(b"big")}
        assert bench.engine.counters()["dedupe_hits"] == 0, "a mark outlived its output"
