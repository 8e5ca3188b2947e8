"""Rule 12: what is committed stays committed when the disk refuses it: restored from the changelog's tail, never processed again."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer

from streamapp.faults import FaultPoint
from streamapp.pipeline.lane import LaneState
from streamapp.records import Partition
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.tampering import on, slow


def refuse_next(worker: Worker, partition: int, first: Callable[[], object] = lambda: None) -> list[int]:
    """Have the store of a table partition refuse its next batch as a full disk does; `first` is called before."""
    store: Any = worker.lanes[Partition(worker.job.source, partition)].tables["counts"].store
    refused: list[int] = []

    def apply(writes: object, offset: object, **more: object) -> None:
        first()
        refused.append(1)
        store._failed = True
        raise OSError(errno.ENOSPC, "no space left on device")

    store.apply = apply
    return refused


async def test_its_records_are_not_run_again_and_the_tail_is_restored(rig: EngineRig) -> None:
    rig.make(partitions=2)
    rig.feed(orders(200, keys=200))
    worker = await rig.start()
    await rig.caught_up()
    counted: list[int] = []
    worker.before = lambda value, cursor: counted.append(value["i"])
    before = len(rig.clients.calls)
    refused = refuse_next(worker, 0)
    rig.feed(orders(10, first=200))
    await worker.until(lambda: bool(rig.events("apply_failed")), "refused")
    await worker.ready(2)
    await rig.caught_up()
    assert refused == [1]
    assert sorted(counted) == list(range(200, 210)), "each was counted once"
    sought = [call.args[0] for call in rig.clients.calls[before:] if call.name == "seek"]
    assert {row.partition for row in sought} == {0, 1}
    # All five of the partition were in the unit; its offset is where it goes on.
    assert [row.offset for row in sought if row.partition == 0] == [105]
    restored = [event for event in rig.events("restore_finished")[2:] if event["partition"] == 0]
    assert restored and 0 < restored[0]["records"] <= 5
    rig.feed(orders(10, first=210))
    await rig.caught_up()
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_the_record_in_hand_reads_what_was_committed_all_the_time_and_runs_again(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed(orders(10, keys=1))
    worker = await rig.start()
    await rig.caught_up()
    standing, go = threading.Event(), threading.Event()

    def stand() -> None:
        standing.set()
        assert go.wait(20)

    refuse_next(worker, 0, stand)
    lives: list[set[int]] = []

    async def read_on() -> None:
        lives.append(set())
        while len(lives) == 1:  # until the engine ends its first life
            lives[0].add(int(worker.engine.table("counts").get(b"0") or 0))
            await asyncio.sleep(0)
        lives[-1].add(int(worker.engine.table("counts").get(b"0") or 0))

    worker.before = lambda value, cursor: read_on() if value["i"] == 16 else None
    # The abort takes its time: it is then that the overlay is looked through to the disk, if it is gone.
    rig.clients.tamper_producer = on("abort_transaction", slow(0.2))
    rig.feed(orders(5, keys=1, first=10))
    try:
        await worker.until(standing.is_set, "committed, and not on the disk")
        rig.feed(orders(2, keys=1, first=15))
        await worker.until(lambda: bool(lives), "the next record but one reads")
    finally:
        go.set()
    await worker.until(lambda: len(lives) == 2, "it runs again")
    await rig.caught_up()
    # Fifteen are committed, the sixteenth was in the unit that went down with the disk.
    assert lives[0] <= {15, 16} and 16 in lives[0]
    assert lives[1] == {16}
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_a_line_whose_disk_stays_full_does_not_hold_up_the_others(rig: EngineRig) -> None:
    rig.make(partitions=2)
    rig.feed(orders(20))
    worker = await rig.start()
    await rig.caught_up()
    full = True
    opened = worker.stores.open

    def no_space(table: str, partition: int, changelog_id: str) -> Any:
        if full and partition == 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        return opened(table, partition, changelog_id)

    worker.stores.open = no_space  # type: ignore[method-assign]  # the disk's part
    refuse_next(worker, 0)
    rig.feed(orders(20, first=20))
    await worker.until(lambda: bool(rig.events("lane_stalled")), "one stands")
    await worker.until(lambda: worker.committed(1) == 20, "the other goes on")
    stalled = worker.lanes[Partition(rig.job.source, 0)]
    assert stalled.state is LaneState.RESTORING
    full = False
    await rig.caught_up()
    await worker.ready(2)
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_a_batch_of_an_earlier_assignment_is_not_written_over_a_later_owners_work(rig: EngineRig) -> None:
    rig.make(partitions=2)
    rig.feed([{"i": i, "k": "0"} for i in range(4)])
    worker = await rig.start(
        session_timeout=3.0, isolate_after=0
    )  # no start is counted, which a commit that stands would hold up
    await rig.caught_up()
    counted: list[int] = []
    worker.before = lambda value, cursor: counted.append(value["i"])
    standing = rig.stop_at(FaultPoint.AFTER_COMMIT)
    rig.feed([{"i": i, "k": "0"} for i in range(4, 8)])
    await worker.until(standing.reached.is_set, "committed, and not applied")
    await asyncio.to_thread(rig.take_over, partitions=2)
    await worker.until(lambda: bool(rig.events("assignment_lost")), "lost")
    other = Producer({"bootstrap.servers": rig.bootstrap})
    other.produce(rig.job.changelog, b"1000", b"0", 0)
    assert other.flush(20) == 0
    restores = _restores(rig, 0)
    rig.feed([{"i": 8, "k": "1"}])
    await worker.until(lambda: 8 in counted, "they are ours again, and the other line works")
    # A second restore of the other line, through the same reader: one of this line would be over by then.
    other_lane = worker.lanes[Partition(rig.job.source, 1)]
    number = other_lane.number
    await asyncio.to_thread(worker.engine.group.out_of_range, other_lane.source, other_lane.partition)
    await worker.until(lambda: other_lane.number != number and other_lane.running, "restored once more")
    state, restored_meanwhile = worker.lanes[Partition(rig.job.source, 0)].state, _restores(rig, 0) - restores
    standing.release()
    await worker.ready(2)
    rig.feed([{"i": 9, "k": "0"}])
    await rig.caught_up()
    assert worker.table() == {"0": 1001, "1": 1}
    assert (state, restored_meanwhile) == (LaneState.RESTORING, 0), "a restore wrote beside the batch that may come"


def _restores(rig: EngineRig, partition: int) -> int:
    return sum(event["partition"] == partition for event in rig.events("restore_finished"))
