"""Rule 3: a unit that holds work of a partition that is no longer owned is aborted whole; no offset is ever left out of it."""

from __future__ import annotations

import asyncio

from streamapp.faults import FaultPoint
from streamapp.records import Partition
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig


async def test_a_unit_of_kept_and_lost_partitions_commits_nothing(rig: EngineRig) -> None:
    rig.make(partitions=2)
    # A revoke waits for the held commit at most a quarter of max_poll_interval, and then lets the partition go.
    quick = {"session_timeout": 2.0, "max_poll_interval": 4.0, "commit_interval": 1.0}
    first = await rig.start("w1", **quick)
    await first.ready(2)
    await first.until(
        lambda: all(lane.committed == 0 for lane in first.lanes.values()) and first.counters["commits"] > 0, "begun"
    )
    await first.until(lambda: first.engine.admission.unit.is_empty and first.engine.admission.flight is None, "settled")
    stop = rig.stop_at(FaultPoint.AFTER_FLUSH)
    rig.feed(orders(20))
    await first.until(lambda: sum(lane.next_offset for lane in first.lanes.values()) == 20, "all of it is in one unit")
    assert await asyncio.to_thread(stop.reached.wait, 30)
    second = await rig.start("w2", **quick)
    await second.until(lambda: len(second.lanes) == 1 and len(first.lanes) == 1, "w2 has one of the two")
    await second.until(lambda: all(lane.committed is not None for lane in second.lanes.values()), "it knows where to begin")
    stop.release()
    await rig.caught_up()
    assert rig.wrong() == []
    assert first.counters["aborts"] == 1
    assert [event["cause"] for event in rig.events("transaction_aborted")] == ["AssignmentLost"]


async def test_work_of_before_a_rewind_is_not_committed_with_work_of_after_it(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start(commit_interval=1.0)
    await worker.ready(1)
    lane = worker.lanes[Partition(rig.job.source, 0)]
    await worker.until(lambda: lane.committed == 0 and worker.counters["commits"] == 1, "its beginning is committed")
    seen = 0

    def count(value: object, cursor: object) -> None:
        nonlocal seen
        seen += 1

    worker.before = count
    rig.feed(orders(10))
    await worker.until(lambda: lane.next_offset == 10, "admitted, and not committed yet")
    number = lane.number
    # The log had moved on under the position: the lane begins anew at what is committed, though its unit is open.
    await asyncio.to_thread(worker.engine.group.out_of_range, lane.source, lane.partition)
    await worker.until(lambda: lane.number != number and lane.running, "rewound")
    await worker.until(
        lambda: lane.committed == 10 or (worker.counters["commits"] > 1 and not worker.counters["aborts"]), "the end"
    )
    assert seen > 10, "they were read again"
    assert rig.wrong() == []
