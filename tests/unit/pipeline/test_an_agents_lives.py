"""An agent's coroutine that ends without a record in hand is started again, whatever happens to the unit meanwhile."""

from __future__ import annotations

import pytest

from streamapp.errors import CommitRefused
from streamapp.pipeline.cursor import Cursor
from tests.support.pipeline import agent, copy, each, running


async def test_a_unit_dropped_while_a_failed_life_waits_for_a_record_starts_the_next_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamapp.pipeline.process.FRESH_START", 0.01)
    lives = 0

    async def run(cursor: Cursor) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            raise ConnectionError("the database is not there yet")
        await each(copy)(cursor)

    async with running(agent(run, name="late"), agent(each(copy), name="other", topics=("other",))) as bench:
        bench.broker.fail("send_offsets", CommitRefused("once"))
        bench.broker.feed("other", 0, b"b")
        await bench.until(lambda: bench.engine.counters()["aborts"] == 1)
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        assert sorted(map(bytes, filter(None, bench.broker.values("out")))) == [b"a", b"b"]
