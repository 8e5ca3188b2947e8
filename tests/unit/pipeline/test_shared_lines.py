"""Rule 6 where topics share a table: work on its partition that no record caused carries the offset of every topic of the line."""

from __future__ import annotations

from streamapp.records import Partition
from tests.support.pipeline import Bench, agent, copy, each, running, table

LEFT, RIGHT = Partition("left", 0), Partition("right", 0)


async def test_a_timer_that_writes_the_shared_table_carries_both_topics_offsets() -> None:
    async def write() -> None:
        bench.engine.table("totals").put(b"k", b"7")

    left, right = agent(each(copy), name="l", topics=("left",)), agent(each(copy), name="r", topics=("right",))
    async with running(left, right, tables=[table("totals", "left", "right")]) as bench:
        bench.broker.feed("left", 0, b"1", b"2", b"3")
        bench.broker.feed("right", 0, b"1")
        await bench.caught_up()
        await bench.engine.tick(write, name="clock")
        await bench.until(lambda: bench.changelog() == {b"k": b"7"})
        assert last_offsets(bench) == {LEFT: 3, RIGHT: 1}


async def test_marks_that_expire_in_a_shared_table_carry_both_topics_offsets() -> None:
    left, right = (
        agent(each(copy), name="l", topics=("left",), dedupe="marks"),
        agent(each(copy), name="r", topics=("right",), dedupe="marks"),
    )
    async with running(left, right, tables=[table("marks", "left", "right", horizon=0.001)]) as bench:
        bench.broker.feed("left", 0, b"1", timestamp=1000)
        await bench.until(lambda: bench.broker.values("out") == [b"1"])
        await bench.until(lambda: bench.changelog("marks") == {}, seconds=10)
        assert last_offsets(bench) == {LEFT: 1, RIGHT: 0}


def last_offsets(bench: Bench) -> dict[Partition, int]:
    with bench.broker.lock:
        return next(each.offsets for each in reversed(bench.broker.transactions) if each.committed)
