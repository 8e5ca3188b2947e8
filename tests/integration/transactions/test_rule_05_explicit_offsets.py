"""Rule 5: the committed offset is that of the work that is done, never the consumer's position; and lag ends at 0."""

from __future__ import annotations

import asyncio
from typing import Any

from streamapp.pipeline.cursor import Cursor
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.topics import end_offsets


async def test_a_record_in_hand_is_not_committed_though_the_consumer_is_far_ahead(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed(orders(40))
    let_go = asyncio.Event()

    def hold(value: dict[str, Any], cursor: Cursor) -> Any:
        return let_go.wait() if value["i"] == 7 else None

    worker = rig.worker()
    worker.before = hold
    await worker.start()
    await worker.until(lambda: worker.committed(0) == 7, "committed up to the record in hand")
    # The end of the partition was seen as well: it waits behind the records.
    lane = next(iter(worker.lanes.values()))
    await worker.until(lambda: lane.end_seen == 40, "the consumer's position is at the end")
    assert await asyncio.to_thread(rig.committed) == {0: 7}
    let_go.set()
    await rig.caught_up()
    assert rig.wrong() == []


async def test_a_tail_of_commit_markers_is_committed_away(rig: EngineRig) -> None:
    rig.make()
    worker = await rig.start()
    for first in (0, 10, 20):
        rig.feed(orders(10, first=first), transactional=True)
    ends = await asyncio.to_thread(end_offsets, rig.bootstrap, rig.job.source)
    assert sum(ends.values()) > 30, "the markers count as offsets"
    await rig.caught_up()
    assert await asyncio.to_thread(rig.committed) == ends
    assert rig.wrong() == []
    assert worker.counters["aborts"] == 0


async def test_a_partition_of_nothing_but_markers_is_committed_away(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed([], transactional=True)
    aborted = rig.predecessor("feeder")
    aborted.begin_transaction()
    aborted.produce(rig.job.source, b'{"i": 1, "k": "0"}', b"0")
    aborted.flush(20)
    aborted.abort_transaction(20)
    await rig.start()
    await rig.caught_up()
    assert await asyncio.to_thread(rig.committed) == await asyncio.to_thread(end_offsets, rig.bootstrap, rig.job.source)
    assert rig.visible() == []
