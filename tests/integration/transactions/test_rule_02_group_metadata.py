"""Rule 2: offsets go out with group metadata that names a living member, read before the unit's ownership is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer

from streamapp.records import Partition
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.tampering import Call, on, straight


def _unjoined(rig: EngineRig) -> bytes:
    consumer = Consumer({"bootstrap.servers": rig.bootstrap, "group.id": rig.app_id, "log_level": 0})
    try:
        return bytes(consumer.consumer_group_metadata())
    finally:
        consumer.close()


def _written(rig: EngineRig, generation: int, member: str) -> bytes:
    # Before the instance stands a byte that tells whether there is none.
    texts = f"{rig.app_id}\0{member}\0\0{rig.app_id}-w1-{rig.job.source}\0"
    return b"CGMDv2:" + generation.to_bytes(4, "little", signed=True) + texts.encode()


UNFENCED: dict[str, Callable[[EngineRig], bytes]] = {
    "of a consumer that never joined": _unjoined,
    "without a member id": lambda rig: _written(rig, 1, ""),
    "with a negative generation": lambda rig: _written(rig, -1, "member-1"),
}


async def test_a_zombie_whose_membership_was_taken_over_cannot_commit(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start(session_timeout=3.0)
    rig.feed(orders(10))
    await rig.caught_up()
    stop = rig.stop_before("send_offsets_to_transaction")
    rig.feed(orders(10, first=10))
    assert await asyncio.to_thread(stop.reached.wait, 30)
    await asyncio.to_thread(rig.take_over, "w1", partitions=1)
    commits = worker.counters["commits"]
    stop.release()
    await worker.until(lambda: worker.counters["aborts"] > 0 or worker.counters["commits"] > commits, "the unit's end")
    assert rig.events("transaction_aborted"), "the zombie committed"
    await rig.caught_up()
    # What the broker refused first; that the partitions are lost may abort the next unit as well.
    assert rig.events("transaction_aborted")[0]["cause"] == "CommitRefused"
    assert rig.wrong() == []


@pytest.mark.parametrize("kind", list(UNFENCED))
async def test_metadata_that_fences_nobody_never_reaches_the_broker(rig: EngineRig, kind: str) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    rig.feed(orders(10))
    await rig.caught_up()
    unfenced = UNFENCED[kind](rig)
    sent = rig.clients.names("send_offsets_to_transaction")
    rig.clients.tamper_consumer = on("consumer_group_metadata", lambda call: unfenced, times=10**9)
    rig.feed(orders(10, first=10))
    offsets = "send_offsets_to_transaction"
    await worker.until(lambda: worker.counters["aborts"] > 0 or rig.clients.names(offsets) != sent, "refused")
    assert rig.clients.names(offsets) == sent, "sent to the broker"
    assert sorted(rig.visible()) == list(range(10))
    rig.clients.tamper_consumer = straight
    await rig.caught_up()
    assert {event["cause"] for event in rig.events("transaction_aborted")} == {"CommitRefused"}
    assert rig.wrong() == []


async def test_ownership_is_checked_after_the_metadata_was_read(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    rig.feed(orders(10))
    await rig.caught_up()
    before = await asyncio.to_thread(rig.committed)

    # What the metadata says is true by then, of a membership in which the partition is not this unit's any more.
    rig.clients.tamper_consumer = on("consumer_group_metadata", lambda call: _after_a_loss(call, worker), times=10**9)
    commits = worker.counters["commits"]
    rig.feed(orders(10, first=10))
    await worker.until(lambda: worker.counters["aborts"] == 1 or worker.counters["commits"] > commits, "the unit's end")
    assert await asyncio.to_thread(rig.committed) == before, "committed though it was lost"
    assert [event["cause"] for event in rig.events("transaction_aborted")] == ["AssignmentLost"]
    await worker.stop()
    rig.workers.remove(worker)
    rig.clients.tamper_consumer = straight
    await rig.start()
    await rig.caught_up()
    assert rig.wrong() == []


def _after_a_loss(call: Call, worker: Worker) -> Any:
    where = Partition(worker.job.source, 0)
    if where in worker.lanes:
        worker.engine.group.lost(worker.lanes[where].source, [where])
    return call.proceed()
