"""Rule 13: a worker ends its predecessor's transaction before it joins the group, patiently, and not for ever."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import KafkaError

from streamapp.errors import NotAllowed
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, error, on, raising
from tests.support.topics import Countdown

START = ("init_transactions", "subscribe")
NOT_YET = error(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, retriable=True)


async def test_the_producer_takes_over_before_the_consumer_joins(rig: EngineRig) -> None:
    rig.make()
    dead = rig.predecessor()
    dead.begin_transaction()
    dead.produce(rig.job.out, b'{"i": -1, "k": "0", "n": 0}', b"0")
    assert dead.flush(20) == 0
    rig.feed(orders(10))
    early: list[str] = []

    def answers_late(call: Call) -> Any:
        answer = call.proceed()
        countdown = Countdown(1.0)
        while not (early or countdown.over):
            time.sleep(0.01)
            early.extend(rig.clients.names("subscribe"))
        return answer

    rig.clients.tamper_producer = on("init_transactions", answers_late)
    await rig.start()
    assert early == [], "it joined before its producer had taken over"
    await rig.caught_up()
    assert rig.wrong() == [], "the dead one's transaction is over and its record invisible"


async def test_it_asks_again_while_the_coordinator_is_not_ready(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(10))
    rig.clients.tamper_producer = on("init_transactions", raising(NOT_YET), times=3)
    await rig.start()
    await rig.caught_up()
    assert rig.clients.names(*START)[:5] == [*["init_transactions"] * 4, "subscribe"]
    assert len(rig.clients.producers) == 1
    assert rig.wrong() == []


async def test_each_call_is_bounded(rig: EngineRig) -> None:
    rig.make()
    await rig.start()
    (call,) = [call for call in rig.clients.calls if call.name == "init_transactions"]
    (timeout,) = call.args
    assert 0 < timeout <= 5


async def test_a_refusal_ends_the_start_and_nothing_joins(rig: EngineRig) -> None:
    rig.make()
    refused = error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "not allowed", fatal=True)
    rig.clients.tamper_producer = on("init_transactions", raising(refused))
    worker = rig.worker()
    with pytest.raises(NotAllowed, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
        await worker.start()
    assert rig.clients.names(*START) == ["init_transactions"]
