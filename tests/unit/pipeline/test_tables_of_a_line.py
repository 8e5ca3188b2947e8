"""The tables of one line are restored side by side, and its records wait for all of them."""

from __future__ import annotations

from tests.support.fakes import FakeBroker
from tests.support.pipeline import agent, copy, each, running, table


async def test_no_table_of_a_line_waits_for_the_restore_of_another() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"one")
    tables = [table("totals"), table("marks")]
    async with running(agent(each(copy)), tables=tables, broker=broker, settled=False, restores_held=True) as bench:
        await bench.until(lambda: sorted(bench.restore.begun) == [("marks", 0), ("totals", 0)])
        assert not bench.engine.ready
        bench.restore.hold.set()
        await bench.caught_up()
