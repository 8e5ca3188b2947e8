"""A partition that was added to a source with tables is not read: keys that moved there would meet empty tables. Without, it is."""

from __future__ import annotations

import pytest

from streamapp.records import Partition
from tests.support.pipeline import agent, copy, each, running, table

OLD, ADDED = Partition("in", 0), Partition("in", 1)


async def test_with_a_table_the_old_ones_go_on_and_the_new_one_is_named_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with running(agent(each(copy)), tables=[table()], partitions={"in": 1}) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        bench.broker.feed("in", 1, b"moved")
        bench.source.assign(ADDED)
        await bench.until(lambda: ADDED in bench.source.assigned)
        bench.broker.feed("in", 0, b"b")
        await bench.until(lambda: bench.broker.values("out") == [b"a", b"b"] or b"moved" in bench.broker.values("out"))
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.engine.assignment() == {OLD}
        assert bench.broker.committed("in", 1) is None
    assert "in/1: added to a topic that had 1 partitions" in caplog.text


async def test_without_tables_it_is_read_like_any_other() -> None:
    async with running(agent(each(copy)), partitions={"in": 1}) as bench:
        bench.broker.feed("in", 1, b"new")
        bench.source.assign(ADDED)
        await bench.until(lambda: bench.broker.values("out") == [b"new"])
