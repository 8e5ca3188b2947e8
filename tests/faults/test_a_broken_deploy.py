"""On a real broker: a version that is slower than the one before it shows as a CLIFF, first as the outage that the deploy was, then by what the
new version does less. What was before the deploy is known from the worker's directory.

In time stretched 25 times: the five minutes that are compared are 12 s. Not more, and not among the tests that share a busy machine: what a stall
of half a second looks like grows with it.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from streamapp.monitor.lag.explain import explain
from streamapp.monitor.lag.verdict import Cause, Status
from streamapp.monitor.watch import Past
from streamapp.records import Partition
from tests.support.engine_rig import EngineRig
from tests.support.lag_rig import QUICK, Feed, Look, Pace
from tests.support.topics import end_offsets, wait_until

STRETCH = 25.0
PRODUCED = 300.0
"""Records a second."""


@pytest.mark.timeout(300)
async def test_a_slower_version_is_named_with_what_it_does_less(rig: EngineRig) -> None:
    rig.make(partitions=1, table=False)
    since, partition = time.time(), Partition(rig.job.source, 0)
    worker = rig.worker("w1", **QUICK)
    await worker.start()
    await worker.ready(1)
    feed = Feed(rig.bootstrap, rig.job.source, 1, PRODUCED)
    look = Look(rig, worker, STRETCH, since=since)
    try:
        await look.until(lambda: len(look.sampler.history(partition)) > 160, "six minutes of the old version", deadline=60)
        usual = max(each.end - each.committed for each in look.sampler.history(partition) if each.end and each.committed)
        await look.stop()
        await worker.stop()
        stood = (await asyncio.to_thread(rig.committed))[0]

        def is_missed() -> bool:
            return end_offsets(rig.bootstrap, rig.job.source)[0] - stood > max(PRODUCED, 12 * usual)

        await asyncio.to_thread(wait_until, is_missed, why=lambda: "an outage that shows", every=0.1)
        again = rig.worker("w1", **QUICK)
        again.before = Pace(PRODUCED / 2).before
        start = since + (time.time() - since) * STRETCH  # before it reads anything, as a worker writes it down
        await again.start()
        await again.ready(1)
        past = Past(version="1.5", worker="w1", previous_version="1.4", starts=(since - 7200, start))
        look = Look(rig, again, STRETCH, since=since, past=past)
        cliff = await look.until_status(partition, Status.CLIFF)
        assert cliff.cause is Cause.OUTAGE
        assert "1.5" in explain(cliff)
        slower = None

        def is_named() -> bool:
            nonlocal slower
            slower = look.verdict(partition)
            return slower is not None and slower.cause is Cause.SLOWER

        await look.until(is_named, "the new version is slower", deadline=60)
        assert slower is not None
        assert slower.status is Status.CLIFF
        assert "version 1.5" in explain(slower)
        assert "slower" in explain(slower)
    finally:
        feed.stop()
        await look.stop()
