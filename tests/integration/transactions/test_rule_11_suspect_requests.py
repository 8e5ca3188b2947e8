"""Rule 11: where a request of a transaction may still be under way, the next one is begun by a new producer of the same id."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from streamapp.clock import Deadline
from streamapp.pipeline.unit_of_work import UnitOfWork
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, Client, error, on, raising, slow

ENDS = ("send_offsets_to_transaction", "commit_transaction", "abort_transaction")
OWN = KafkaError._TRANSPORT
BROKERS = KafkaError.COORDINATOR_LOAD_IN_PROGRESS


def begun_after(rig: EngineRig, name: str) -> tuple[Client, Client]:
    """Return who made the first call `name` that was tampered with, and who began the transaction that followed."""
    calls = list(rig.clients.calls)
    at = next(at for at, call in enumerate(calls) if call.name == name and call.kwargs.pop("marked", False))
    return calls[at].client, next(call.client for call in calls[at:] if call.name == "begin_transaction")


def marked(act: Callable[[Call], Any]) -> Callable[[Call], Any]:
    def acting(call: Call) -> Any:
        answer = None
        try:
            answer = act(call)
        finally:
            call.kwargs["marked"] = True
        return answer

    return acting


async def going_on(rig: EngineRig, name: str, act: Callable[[Call], Any]) -> tuple[Client, Client]:
    """Do `act` in the next call `name`, with an abort before it where it is the abort, and let more records through."""
    refusing = on("send_offsets_to_transaction", raising(error(BROKERS, abort=True)), times=int(name == "abort_transaction"))
    acting = on(name, marked(act))

    def tamper(call: Call) -> Any:
        return acting(call) if call.name == name else refusing(call)

    rig.clients.tamper_producer = tamper
    rig.feed(orders(10))
    await rig.caught_up()
    rig.feed(orders(10, first=10))
    await rig.caught_up()
    assert rig.wrong() == []
    return begun_after(rig, name)


@pytest.mark.parametrize("name", ENDS)
async def test_after_a_slow_end_the_next_transaction_is_a_new_producers(rig: EngineRig, name: str) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    slow_one, next_one = await going_on(rig, name, slow(0.45, after=True))
    assert next_one is not slow_one
    assert next_one.options["transactional.id"] == slow_one.options["transactional.id"]


@pytest.mark.parametrize("name", ENDS)
async def test_after_an_end_that_no_broker_answered_the_next_transaction_is_a_new_producers(rig: EngineRig, name: str) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    failed, next_one = await going_on(rig, name, raising(error(OWN, retriable=True)))
    assert next_one is not failed
    # Failing so is no reason to give up the unit: the second try was good.
    assert worker.counters["aborts"] == int(name == "abort_transaction")


async def test_after_a_refusal_of_the_brokers_the_producer_stays(rig: EngineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.kafka.producer.SUSPECT_AFTER", 30.0)  # however busy the machine is
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    refused, next_one = await going_on(rig, "send_offsets_to_transaction", raising(error(BROKERS, retriable=True)))
    assert next_one is refused
    assert worker.counters["producer_rebuilds"] == 0


async def test_the_loop_begins_nothing_on_the_suspect_producer_however_busy_it_is(
    rig: EngineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    told, admission, begun = worker.engine.unit_committed, worker.engine.admission, threading.Event()

    def tell(unit: UnitOfWork, refused: dict[Any, Exception]) -> None:
        """Have the loop begin the next transaction between the slow commit and what follows."""
        if not begun.is_set():
            rig.feed(orders(20, first=20))
            patience = Deadline.after(20.0)
            while not admission.transaction_open and not patience.passed:
                time.sleep(0.002)
            begun.set()
        told(unit, refused)

    monkeypatch.setattr(worker.engine, "unit_committed", tell)
    rig.clients.tamper_producer = on("commit_transaction", marked(slow(0.45)))
    rig.feed(orders(20))
    await worker.until(begun.is_set, "the slow commit is over")
    await rig.caught_up()
    slow_one, next_one = begun_after(rig, "commit_transaction")
    assert next_one is not slow_one
    assert worker.counters["aborts"] == 0
    assert rig.wrong() == []
