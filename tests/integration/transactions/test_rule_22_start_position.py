"""Rule 22: where a partition begins is decided once and committed; a place that the log does not have is named, never guessed."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from streamapp.pipeline.lane import LaneState
from streamapp.records import Partition
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.tampering import error, on, raising


@pytest.mark.parametrize(("reset", "begins"), [("earliest", 0), ("latest", 10)])
async def test_without_a_committed_offset_the_reset_is_resolved_once_and_its_number_committed(
    rig: EngineRig, reset: str, begins: int
) -> None:
    rig.make(partitions=1)
    rig.feed(orders(10))
    gone_on = asyncio.Event()
    worker = rig.worker(auto_offset_reset=reset)
    worker.before = lambda value, cursor: gone_on.wait()
    await worker.start()
    await worker.until(lambda: worker.counters["commits"] == 1, "a number is committed before any record is done")
    assert await asyncio.to_thread(rig.committed) == {0: begins}
    await worker.stop()
    rig.workers.remove(worker)
    # A second resolution would skip these with `latest`.
    rig.feed(orders(5, first=10))
    await rig.start(auto_offset_reset=reset)
    await rig.caught_up()
    assert sorted(rig.visible()) == list(range(begins, 15))
    assert len(rig.events("start_resolved")) == 1


async def test_an_unknown_outcome_before_the_first_commit_does_not_resolve_latest_again(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed(orders(10))
    rig.clients.tamper_producer = on("commit_transaction", raising(error(KafkaError._FAIL)), times=2)
    worker = await rig.start(auto_offset_reset="latest", commit_interval=0.5)
    await worker.until(lambda: bool(worker.committed(0)), "begun")
    rig.feed(orders(5, first=10))
    await worker.until(lambda: worker.counters["aborts"] == 2, "nobody knows")
    await rig.caught_up()
    assert sorted(rig.visible()) == list(range(10, 15))


async def test_latest_is_the_end_of_what_readers_see_and_skips_no_open_transaction(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed(orders(10))
    feeder = await asyncio.to_thread(rig.predecessor, "feeder")
    feeder.begin_transaction()
    feeder.produce(rig.job.source, b'{"i": 10, "k": "0"}', b"0")
    feeder.flush(20)
    worker = await rig.start(auto_offset_reset="latest")
    await worker.until(lambda: worker.counters["commits"] == 1, "begun")
    feeder.commit_transaction(20)
    await rig.caught_up()
    assert rig.visible() == [10]


async def test_records_deleted_unread_are_counted_and_the_partition_goes_on_behind_them(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    rig.feed(orders(10))
    await rig.caught_up()
    await worker.stop()
    rig.workers.remove(worker)
    rig.feed(orders(10, first=10))
    _delete_up_to(rig, 17)
    worker = await rig.start()
    await worker.until(lambda: worker.committed(0) == 20, "goes on at the log's start")
    assert sorted(rig.visible()) == [*range(10), 17, 18, 19]
    assert [event["records"] for event in rig.events("records_lost")] == [7]


async def test_where_the_log_starts_is_committed_so_that_a_loss_is_told_once(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed(orders(10))
    _commit(rig, 3)
    _delete_up_to(rig, 10)
    worker = await rig.start()
    await worker.until(lambda: worker.counters["commits"] == 1, "nothing to do, and a number to commit")
    assert await asyncio.to_thread(rig.committed) == {0: 10}
    await worker.stop()
    rig.workers.remove(worker)
    worker = await rig.start()
    await worker.ready(1)
    assert [event["records"] for event in rig.events("records_lost")] == [7]


async def test_a_partition_committed_beyond_the_logs_end_stands_and_is_named_while_others_go_on(
    rig: EngineRig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.make(partitions=2)
    rig.feed(orders(20))
    _commit(rig, 11)
    worker = await rig.start()
    await worker.until(lambda: worker.committed(1) == 10, "the other partition goes on")
    assert rig.events("offset_beyond_end") == [{"topic": rig.job.source, "partition": 0}]
    assert f"{rig.job.source}/0: committed offset 11 is beyond the log's end 10" in caplog.text
    assert _stands(worker, 0)
    assert {i % 2 for i in rig.visible()} == {1}, "it was read from somewhere"
    assert await asyncio.to_thread(rig.committed) == {0: 11, 1: 10}


async def test_with_auto_offset_reset_error_a_partition_without_an_offset_stands_and_is_named(rig: EngineRig) -> None:
    rig.make(partitions=2)
    rig.feed(orders(20))
    _commit(rig, 4)
    worker = await rig.start(auto_offset_reset="error")
    await worker.until(lambda: worker.committed(0) == 10, "one with an offset goes on")
    assert rig.events("lane_stalled") == [{"topic": rig.job.source, "partition": 1}]
    assert _stands(worker, 1)
    assert await asyncio.to_thread(rig.committed) == {0: 10}


def _stands(worker: Worker, number: int) -> bool:
    lane = worker.lanes[Partition(worker.job.source, number)]
    return lane.state is LaneState.RESTORING and lane.committed is None


def _commit(rig: EngineRig, offset: int) -> None:
    """Have the group's offset of partition 0 stand at `offset`."""
    consumer = Consumer({"bootstrap.servers": rig.bootstrap, "group.id": rig.app_id, "enable.auto.commit": False, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(rig.job.source, 0, offset)], asynchronous=False)
    consumer.close()


def _delete_up_to(rig: EngineRig, offset: int) -> None:
    """Have the log of partition 0 start at `offset`, as retention would."""
    admin = AdminClient({"bootstrap.servers": rig.bootstrap, "log_level": 0})
    for deleted in admin.delete_records([TopicPartition(rig.job.source, 0, offset)]).values():
        deleted.result(20)
