"""Rule 16: every call into the client library has an end, and a full local queue is a reason to wait, not a failure."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import pytest
from confluent_kafka import Consumer, KafkaError

from streamapp.errors import Fatal
from streamapp.faults import FaultPoint
from streamapp.kafka import changelog as changelog_module
from streamapp.kafka import offsets as offsets_module
from streamapp.kafka import producer as producer_module
from streamapp.pipeline import admission as admission_module
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, Client, Log, error, on, raising, straight

SLICED = ("flush", "commit_transaction", "abort_transaction")
LONGEST = {"init_transactions": 5.0, "poll": 0.5, "committed": 5.0, "get_watermark_offsets": 5.0}
"""Seconds; `poll` of the consumer, of the producer, of the restore."""


@pytest.fixture
def beside() -> Iterator[Log]:
    """The calls of the consumers that join no group: for committed offsets and for changelogs."""
    log = Log()

    def watch(call: Call) -> Any:
        log.calls.append(call)
        return call.proceed()

    def consumer(options: Mapping[str, Any], **more: Any) -> Client:
        return Client(Consumer(dict(options), **more), options, Log(), lambda: watch)

    with patch.object(offsets_module, "Consumer", consumer), patch.object(changelog_module, "Consumer", consumer):
        yield log


def timeout_of(call: Call) -> float:
    given = call.kwargs.get("timeout")
    if given is None:
        given = call.args[-1]
    assert isinstance(given, (int, float)), f"{call.name} has no timeout"
    return float(given)


async def test_no_call_may_wait_for_ever(rig: EngineRig, beside: Log) -> None:
    rig.make()
    quiet: list[Call] = []

    def watch(call: Call) -> Any:
        if call.name in ("poll", "consume"):
            quiet.append(call)
        return call.proceed()

    rig.clients.tamper_consumer = watch
    rig.clients.tamper_producer = on("flush", raising(error(KafkaError.UNKNOWN_PRODUCER_ID, abort=True)), nth=2)
    rig.feed(orders(40))
    await rig.start()
    await rig.caught_up()
    rig.feed(orders(40, first=40))
    await rig.caught_up()
    seen = {call.name for call in (*rig.clients.calls, *beside.calls)}
    assert {*SLICED, "init_transactions", "send_offsets_to_transaction", "committed", "get_watermark_offsets"} <= seen
    for call in (*rig.clients.calls, *beside.calls, *quiet):
        if call.name in SLICED:
            assert 0 < timeout_of(call) <= 0.5, call.name
        elif call.name == "consume":
            assert timeout_of(call) == 0, "what is there, and no more"
        elif call.name in LONGEST:
            assert 0 <= timeout_of(call) <= LONGEST[call.name], call.name
        elif call.name == "send_offsets_to_transaction":
            assert 0 < timeout_of(call) < math.inf
    assert rig.wrong() == []


async def test_what_has_no_timeout_of_its_own_is_bounded_by_the_options(rig: EngineRig) -> None:
    rig.make()
    await rig.start(transaction_timeout=12.0)
    (producer,) = rig.clients.producers
    # The socket's timeout is the only thing that ends send_offsets.
    assert producer.options["socket.timeout.ms"] <= 12_000 / 4
    assert producer.options["message.timeout.ms"] < 12_000
    assert producer.options["metadata.recovery.strategy"] == "none"


@pytest.fixture
def forsaken(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    monkeypatch.setattr(producer_module, "NEVER_ANSWERED", 0.2)
    monkeypatch.setattr(producer_module, "_forsaken", [])
    return producer_module._forsaken


async def test_send_offsets_that_never_returns_costs_a_new_producer_and_no_record(
    rig: EngineRig, forsaken: list[threading.Thread]
) -> None:
    rig.make()
    back = threading.Event()

    def never(call: Call) -> Any:
        back.wait(60)
        return call.proceed()

    rig.clients.tamper_producer = on("send_offsets_to_transaction", never, nth=2)
    rig.feed(orders(40))
    worker = await rig.start(transaction_timeout=3.0)
    try:
        await rig.caught_up()
        rig.feed(orders(40, first=40))
        await rig.caught_up()
        await worker.until(lambda: "unusable" in rig.rebuilds(), "the producer was replaced")
        (thread,) = producer_module._forsaken
        assert thread.is_alive()
    finally:
        back.set()
    # What it still sends is of an epoch that the new producer fenced.
    await worker.until(lambda: not thread.is_alive(), "it came back")
    assert rig.wrong() == []


async def test_a_worker_whose_calls_return_no_more_again_and_again_ends_itself(
    rig: EngineRig, forsaken: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "FORSAKEN", 2)
    rig.make()
    back = threading.Event()

    def never(call: Call) -> Any:
        if call.name == "send_offsets_to_transaction":
            back.wait(60)
        return call.proceed()

    rig.clients.tamper_producer = never
    rig.feed(orders(10))
    worker = await rig.start(transaction_timeout=1.5)
    try:
        failure = await worker.failed()
    finally:
        back.set()
    assert isinstance(failure, Fatal)
    assert "2 calls" in str(failure)


async def test_a_full_queue_now_and_then_costs_nothing(rig: EngineRig) -> None:
    rig.make(copies=3)
    turn = 0
    lock = threading.Lock()

    def full(call: Call) -> Any:
        nonlocal turn
        if call.name == "produce":
            with lock:
                turn += 1
                if turn % 3 == 0:
                    raise BufferError("Local: Queue full")
        return call.proceed()

    rig.clients.tamper_producer = full
    rig.feed(orders(100))
    worker = await rig.start()
    await rig.caught_up()
    rig.clients.tamper_producer = straight
    assert turn > 100
    assert worker.counters["aborts"] == 0
    assert rig.wrong() == []


async def test_a_queue_of_ten_is_waited_for(rig: EngineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "OUTBOX_BOUND", 30)
    rig.make(copies=3)
    rig.feed(orders(300))
    worker = await rig.start(producer_options={"queue.buffering.max.messages": 10})
    await rig.caught_up()
    assert worker.counters["aborts"] == 0
    assert rig.wrong() == []


async def test_outputs_that_pile_up_behind_a_slow_commit_do_not_stop_the_worker(
    rig: EngineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "OUTBOX_BOUND", 20)
    rig.make()
    worker = await rig.start(commit_interval=0.05)
    await worker.ready()
    slow_one = rig.stop_at(FaultPoint.AFTER_FLUSH)
    rig.feed(orders(10))
    await worker.until(slow_one.reached.is_set, "a commit is under way")
    rig.feed(orders(100, first=10))
    await worker.until(lambda: not worker.engine.admission.gate_open, "the outputs behind it are at their bound")
    slow_one.release()
    await rig.caught_up()
    assert worker.counters["aborts"] == 0
    assert rig.wrong() == []
