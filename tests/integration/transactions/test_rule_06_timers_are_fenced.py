"""Rule 6: work that no record caused carries the offsets of what it touched, so the group fences it; and it is done once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from streamapp.errors import Transient
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.savepoint import current_savepoint
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.kafka_records import partition_of
from tests.support.tampering import error, on, raising

KEY = next(key for key in (b"%d" % number for number in range(9)) if partition_of(key, 2) == 1)
"""One whose table partition is 1 of 2."""


def said(worker: Worker, i: int) -> tuple[str, bytes, bytes, int, int, list[Any]]:
    """Return an output as a timer makes it."""
    return (worker.job.out, json.dumps({"i": i, "k": "timer", "n": 0}).encode(), b"timer", 0, 0, [])


def saying(worker: Worker, i: int) -> Callable[[], Awaitable[None]]:
    async def say() -> None:
        savepoint = current_savepoint.get()
        assert savepoint is not None
        savepoint.send(said(worker, i))

    return say


def writing(worker: Worker, value: bytes) -> Callable[[], Awaitable[None]]:
    async def write() -> None:
        worker.engine.table("counts").put(KEY, value)

    return write


def last_offsets(rig: EngineRig) -> dict[int, tuple[int, str]]:
    """Return what the last send_offsets carried."""
    call = [call for call in rig.clients.calls if call.name == "send_offsets_to_transaction"][-1]
    return {row.partition: (row.offset, row.metadata) for row in call.args[0]}


async def settled(rig: EngineRig, worker: Worker) -> None:
    """Wait until nothing is left to commit, so that the next unit is the test's own."""
    await worker.ready()
    await rig.caught_up()
    await worker.until(lambda: worker.engine.admission.unit.is_empty and worker.engine.admission.flight is None, "settled")


async def committed_more(worker: Worker, before: int) -> None:
    await worker.until(lambda: worker.counters["commits"] > before, "the timer's unit is committed")


async def test_a_timer_carries_the_offset_of_the_table_partition_it_writes_and_keeps_the_metadata(rig: EngineRig) -> None:
    rig.make(partitions=2)
    rig.feed(orders(20))
    _commit(rig, [TopicPartition(rig.job.source, 0, 4, "zero"), TopicPartition(rig.job.source, 1, 4, "one")])
    worker = await rig.start()
    await settled(rig, worker)
    before = worker.counters["commits"]
    await worker.engine.tick(writing(worker, b"7"), name="t")
    await committed_more(worker, before)
    assert last_offsets(rig) == {1: (10, "one")}
    assert worker.table()[KEY.decode()] == 7
    assert _metadata(rig) == {0: (10, "zero"), 1: (10, "one")}


async def test_leader_work_carries_the_offset_of_partition_0_beside_that_of_its_table(rig: EngineRig) -> None:
    rig.make(partitions=2)
    rig.feed(orders(20))
    worker = await rig.start()
    await settled(rig, worker)
    before = worker.counters["commits"]
    await worker.engine.tick(saying(worker, -1), name="t", on_leader=True)
    await committed_more(worker, before)
    assert {number: offset for number, (offset, _) in last_offsets(rig).items()} == {0: 10}
    before = worker.counters["commits"]
    await worker.engine.tick(writing(worker, b"7"), name="t", on_leader=True)
    await committed_more(worker, before)
    assert {number: offset for number, (offset, _) in last_offsets(rig).items()} == {0: 10, 1: 10}


async def test_a_zombies_timer_cannot_commit(rig: EngineRig) -> None:
    rig.make(partitions=2)
    worker = await rig.start(session_timeout=3.0)
    await settled(rig, worker)
    stop = rig.stop_before("send_offsets_to_transaction")
    await worker.engine.tick(saying(worker, -1), name="t")
    assert await asyncio.to_thread(stop.reached.wait, 30), "timer-only work went without offsets"
    await asyncio.to_thread(rig.take_over, "w1", partitions=2)
    stop.release()
    await worker.until(lambda: worker.counters["aborts"] > 0, "the broker refused the zombie's offsets")
    # It is a member again later, and its timer's run is made up for.
    await worker.until(lambda: rig.visible() == [-1], "done once")
    assert {event["cause"] for event in rig.events("transaction_aborted")} <= {"CommitRefused", "AssignmentLost", "UnitAborted"}


async def test_what_goes_down_with_its_unit_is_run_again_once(rig: EngineRig) -> None:
    rig.make(partitions=2)
    worker = await rig.start()
    await settled(rig, worker)
    lane = next(iter(worker.lanes.values()))
    number = lane.number
    refused = error(KafkaError.ILLEGAL_GENERATION, abort=True)
    rig.clients.tamper_producer = on("send_offsets_to_transaction", raising(refused))
    await worker.engine.tick(writing(worker, b"7"), name="a table's")
    await worker.engine.tick(saying(worker, -1), name="a sender's")
    worker.engine.send(said(worker, -2))
    await worker.until(lambda: lane.number != number and lane.running, "aborted and rewound")
    await worker.until(lambda: sorted(rig.visible()) == [-2, -1], "sent once")
    await worker.until(lambda: worker.table().get(KEY.decode()) == 7, "written")
    assert len([client for client in rig.clients.clients if client not in rig.clients.producers]) == 1, "a send went unfenced"


async def test_the_leader_leads_while_its_lane_waits_out_a_backoff(rig: EngineRig) -> None:
    rig.make(partitions=1)

    def fail(value: dict[str, Any], cursor: Cursor) -> None:
        if not mended.is_set():
            raise Transient("not yet", retry_after=1.5)

    mended = asyncio.Event()
    worker = rig.worker()
    worker.before = fail
    await worker.start()
    await settled(rig, worker)
    rig.feed(orders(1))
    lane = next(iter(worker.lanes.values()))
    await worker.until(lambda: any(reason.startswith("retry") for reason in lane.pauses), "backing off")
    assert worker.engine.is_leader()
    await worker.engine.tick(saying(worker, -1), name="t", on_leader=True)
    await worker.until(lambda: rig.visible() == [-1], "done")


def _commit(rig: EngineRig, rows: list[TopicPartition]) -> None:
    consumer = _of_group(rig)
    consumer.commit(offsets=rows, asynchronous=False)
    consumer.close()


def _metadata(rig: EngineRig) -> dict[int, tuple[int, str]]:
    consumer = _of_group(rig)
    rows = consumer.committed([TopicPartition(rig.job.source, number) for number in (0, 1)], timeout=20)
    consumer.close()
    return {row.partition: (row.offset, row.metadata or "") for row in rows}


def _of_group(rig: EngineRig) -> Consumer:
    return Consumer({"bootstrap.servers": rig.bootstrap, "group.id": rig.app_id, "enable.auto.commit": False, "log_level": 0})
