"""Rule 18: a consumer that turned fatal has lost its partitions: abort, join once with a new one; again, and it is a rival."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError

from streamapp.errors import RivalWorker
from streamapp.faults import FaultPoint
from streamapp.pipeline.cursor import Cursor
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, on, straight


class FatalEvent:
    """What poll returns for ever once the consumer is fatal."""

    def error(self) -> KafkaError:
        return KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced, says the test", True, False, False)


def fenced(call: Call) -> Any:
    call.proceed()
    return FatalEvent()


def subscriptions(rig: EngineRig) -> int:
    return len(rig.clients.names("subscribe"))


async def test_the_open_unit_is_aborted_and_the_partitions_come_back(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(20))
    held = asyncio.Event()
    worker = rig.worker(commit_interval=5.0, isolate_after=0)

    def hold(value: dict[str, Any], cursor: Cursor) -> Any:
        return held.wait() if value["i"] == 19 else None

    worker.before = hold
    await worker.start()
    # Nineteen wait in the open unit, one is in hand.
    await worker.until(lambda: sum(lane.next_offset for lane in worker.lanes.values()) == 19, "all but one are admitted")
    assert worker.counters["commits"] == 0
    rig.clients.tamper_consumer = on("poll", fenced)
    await worker.until(lambda: worker.counters["aborts"] == 1, "aborted")
    held.set()
    await rig.caught_up()
    assert subscriptions(rig) == 2
    assert len(rig.events("instance_fenced")) == len(rig.events("assignment_lost")) == 1
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_the_open_unit_is_given_up_before_the_new_consumer_joins(rig: EngineRig) -> None:
    rig.make()
    worker = await rig.start(commit_interval=5.0)
    await worker.ready()
    await worker.until(lambda: worker.engine.admission.unit.is_empty, "its beginning is committed")
    rig.feed(orders(20))
    await worker.until(lambda: sum(lane.next_offset for lane in worker.lanes.values()) == 20, "admitted, and not committed")
    given_up: list[bool] = []

    def look(call: Call) -> Any:
        if call.name == "subscribe":
            admission = worker.engine.admission
            given_up.append(admission.failure is not None or worker.counters["aborts"] > 0)
        return fatal(call)

    fatal = on("poll", fenced)
    rig.clients.tamper_consumer = look
    await worker.until(lambda: bool(given_up), "joined again")
    assert given_up == [True]
    await rig.caught_up()
    assert rig.wrong() == []


async def test_a_second_time_within_the_minute_names_the_rival(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(20))
    worker = await rig.start()
    await rig.caught_up()
    rig.clients.tamper_consumer = on("poll", fenced, times=2)
    with pytest.raises(RivalWorker, match="STREAMAPP_WORKER_ID"):
        await worker.until(lambda: subscriptions(rig) > 2, "stops")
    assert subscriptions(rig) == 2, "it joined again once, and no more"
    await worker.stop()
    rig.workers.remove(worker)
    rig.clients.tamper_consumer = straight
    await rig.start()
    await rig.caught_up()
    assert rig.wrong() == []


async def test_a_real_rival_takes_over_once_and_the_worker_takes_it_back(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(20))
    worker = await rig.start(session_timeout=3.0)
    await rig.caught_up()
    await asyncio.to_thread(rig.take_over, partitions=2)
    rig.feed(orders(20, first=20))
    await worker.until(lambda: bool(rig.events("instance_fenced")), "fenced")
    await rig.caught_up()
    assert subscriptions(rig) == 2
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_a_real_rival_that_insists_stops_the_worker(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(20))
    worker = await rig.start(session_timeout=3.0)
    await rig.caught_up()
    over = threading.Event()
    rival = asyncio.create_task(asyncio.to_thread(_insist, rig, over))
    try:
        with pytest.raises(RivalWorker, match="another live worker has this worker id"):
            await worker.until(lambda: False, "stops")
    finally:
        over.set()
        await rival
    assert rig.wrong() == []


def _insist(rig: EngineRig, over: threading.Event) -> None:
    """Take the static id over, and again when the worker took it back."""
    consumer: Consumer = rig.take_over(partitions=2)
    while not over.is_set():
        message = consumer.poll(0.05)
        if message is not None and (error := message.error()) is not None and error.code() in _FENCED:
            consumer = rig.member()


_FENCED = (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)


async def test_a_commit_that_is_past_its_offsets_is_finished(rig: EngineRig) -> None:
    rig.make()
    worker = await rig.start()
    await worker.ready()
    standing = rig.stop_at(FaultPoint.AFTER_SEND_OFFSETS)
    rig.feed(orders(20))
    await worker.until(standing.reached.is_set, "offsets are sent")
    rig.clients.tamper_consumer = on("poll", fenced)
    await worker.until(lambda: bool(rig.events("assignment_lost")), "lost")
    commits = worker.counters["commits"]
    standing.release()
    await worker.until(lambda: worker.counters["commits"] == commits + 1, "committed")
    await rig.caught_up()
    assert rig.wrong() == []
    # All was committed before the group had the member back, and its tables with it.
    await worker.until(lambda: worker.table() == rig.due_counts(), "restored")
    assert not worker.engine.failure.done()
