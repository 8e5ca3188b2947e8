"""A record that fails leaves nothing of its attempt: no table write, no dedupe mark, no output."""

from __future__ import annotations

from streamapp.errors import Permanent
from tests.support.pipeline import agent, each, emit, running, table


async def test_the_next_attempt_and_the_next_record_read_what_was_there_before() -> None:
    tried: list[bytes] = []

    async def count(value: bytes) -> None:
        totals = bench.engine.table("totals")
        totals.put(b"n", b"%d" % (int(totals.get(b"n") or b"0") + 1))
        tried.append(value)
        if value == b"poison" or (value == b"wobbly" and tried.count(value) == 1):
            raise ConnectionError

    async with running(agent(each(count)), tables=[table()]) as bench:
        bench.broker.feed("in", 0, b"a", b"wobbly", b"poison", b"b")
        await bench.caught_up()
        assert tried.count(b"poison") > 1
        assert bench.broker.values("dlq") == [b"poison"]
        assert bench.store() == {b"n": b"3"} == bench.changelog()


async def test_a_record_that_was_buried_leaves_no_mark_and_its_replay_works() -> None:
    mended = False

    async def body(value: bytes) -> None:
        if value == b"x" and not mended:
            raise Permanent
        emit(value)

    async with running(agent(each(body), dedupe="marks"), tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"a", b"x", b"a")
        await bench.caught_up()
        assert bench.broker.values("dlq") == [b"x"]
        mended = True
        bench.broker.feed("in", 0, b"x", b"x")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"x"]
        assert bench.engine.counters()["dedupe_hits"] == 2
