"""On a real broker: a worker that is outrun falls behind at the rate by which it is, and a second worker turns that into a drain which ends when
it was said to.

In time stretched a hundred times: the 15 minutes that FALLING_BEHIND asks for are 9 s.
"""

from __future__ import annotations

import time

import pytest

from streamapp.monitor.lag.verdict import Status
from streamapp.records import Partition
from tests.support.engine_rig import EngineRig
from tests.support.lag_rig import QUICK, Feed, Look, Pace

STRETCH = 100.0
PRODUCED, CONSUMED = 750.0, 1200.0
"""Records a second: of each of two partitions, and by each worker."""
GROWTH = PRODUCED - CONSUMED / 2
LEVEL = PRODUCED / 5
"""Records that are always on their way, as the producer goes on: what came in two commits and a fetch."""
SLACK = 50.0
"""Stretched seconds: half a real one, for a commit and a sample."""


@pytest.mark.timeout(150)
async def test_it_falls_behind_at_the_right_rate_and_is_drained_when_it_was_said_to_be(rig: EngineRig) -> None:
    rig.make(partitions=2, table=False)
    since = time.time()
    first = rig.worker("w1", **QUICK)
    first.before = Pace(CONSUMED).before
    await first.start()
    await first.ready(2)
    feed = Feed(rig.bootstrap, rig.job.source, 2, PRODUCED)
    look = Look(rig, first, STRETCH, since=since)
    try:
        partition = Partition(rig.job.source, 0)
        behind = await look.until_status(partition, Status.FALLING_BEHIND, deadline=60)
        assert behind.growth is not None
        assert behind.growth_window is not None
        assert behind.growth_window >= 900.0
        assert behind.growth.low > 0
        assert behind.growth.estimate * STRETCH == pytest.approx(GROWTH, rel=0.3)
        assert behind.produced_rate is not None
        assert behind.produced_rate * STRETCH == pytest.approx(PRODUCED, rel=0.15)

        second = rig.worker("w2", **QUICK)
        second.before = Pace(CONSUMED).before
        await second.start()
        await second.ready(1)
        (kept,) = first.lanes
        look.told.clear()
        await look.until_status(kept, Status.CATCHING_UP, deadline=60)
        await look.until(lambda: (look.told[kept][-1].lag or 0) < LEVEL, "drained", deadline=60)
        done = look.told[kept][-1].at
        drains = [
            (each.at, each.drain) for each in look.told[kept] if each.status is Status.CATCHING_UP and each.drain is not None
        ]
        assert drains
        held = [at for at, drain in drains if drain.low - SLACK <= done - at <= drain.high + SLACK]
        assert len(held) >= 0.7 * len(drains), f"nine bounds in ten hold, of overlapping windows some fewer: {done}: {drains}"
    finally:
        feed.stop()
        await look.stop()
