"""What the engine tells of a partition: where it is, what it holds, and why it stands."""

from __future__ import annotations

import time

from streamapp.pipeline.facts import LaneFacts
from streamapp.records import Partition
from tests.support.pipeline import Bench, agent, copy, each, running


def lane(bench: Bench, number: int = 0) -> LaneFacts:
    return next(each for each in bench.engine.facts().lanes if each.partition == Partition("in", number))


async def test_offsets_and_counts_follow_the_records() -> None:
    async with running(agent(each(copy))) as bench:
        assert (lane(bench).merged, lane(bench).unmerged, lane(bench).oldest_unmerged) == (0, 0, None)
        began = time.time()
        bench.broker.feed("in", 0, b"1", b"2", b"3")
        await bench.caught_up()
        await bench.until(lambda: lane(bench).committed == 3)
        after = lane(bench)
        assert (after.position, after.merged, after.unmerged, after.oldest_unmerged) == (3, 3, 0, None)
        assert after.committed_at is not None
        assert began - 1 <= after.committed_at <= time.time() + 1
