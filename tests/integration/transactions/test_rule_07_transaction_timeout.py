"""Rule 7: a unit ends before the broker ends it, whatever the handler does; and a timeout of our own costs a producer, not the worker."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from streamapp.clock import Deadline
from streamapp.faults import FaultPoint
from streamapp.pipeline.cursor import Cursor
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, on
from tests.support.topics import watermarks


async def test_a_unit_is_committed_while_a_handler_blocks_the_loop(rig: EngineRig) -> None:
    rig.make(partitions=1)
    seen: list[dict[int, int]] = []

    def block(value: dict[str, Any], cursor: Cursor) -> None:
        if value["i"] == 5 and not seen:
            patience = Deadline.after(15.0)
            while (committed := rig.committed()) != {0: 5} and not patience.passed:
                time.sleep(0.05)
            seen.append(committed)

    worker = rig.worker(transaction_timeout=5.0)
    worker.before = block
    rig.feed(orders(10))
    await worker.start()
    await rig.caught_up()
    assert seen == [{0: 5}], "committed by nobody while the loop stood"
    assert worker.counters["aborts"] == 0
    assert rig.wrong() == []


async def test_a_unit_that_cannot_be_committed_is_aborted_before_the_broker_does_it(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start(transaction_timeout=6.0)
    rig.feed(orders(10))
    await rig.caught_up()

    def silent(call: Call) -> int:
        time.sleep(float(call.args[0]))
        return 1

    rig.clients.tamper_producer = on("flush", silent, times=1000)
    rig.feed(orders(10, first=10))
    await worker.until(lambda: worker.counters["aborts"] == 1, "aborted")
    rig.clients.tamper_producer = on("none", silent)
    await rig.caught_up()
    assert [event["cause"] for event in rig.events("transaction_aborted")] == ["DeadlinePassed"]
    assert rig.rebuilds() == [], "it was fenced: the broker's timeout came first"
    assert rig.wrong() == []


async def test_a_producer_that_the_broker_timed_out_is_replaced_under_the_same_id(
    rig: EngineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamapp.pipeline.transaction.RIVAL_FENCES", 2)  # fewer rounds show it
    rig.make(partitions=1)
    worker = await rig.start(transaction_timeout=1.5)
    rig.feed(orders(10))
    await rig.caught_up()
    for round_ in (1, 2):  # a rival would be as many fences within a minute; these are explained
        stop = rig.stop_at(FaultPoint.AFTER_FLUSH)
        rig.feed(orders(10, first=10 * round_))
        assert await asyncio.to_thread(stop.reached.wait, 30)
        await worker.until(lambda: _nothing_is_open(rig), "the broker ended the transaction")
        stop.release()
        await rig.caught_up()
    assert not worker.engine.failure.done()
    assert len(rig.rebuilds()) >= 2
    assert {client.options["transactional.id"] for client in rig.clients.producers} == {f"{rig.app_id}-w1"}
    assert rig.wrong() == []


def _nothing_is_open(rig: EngineRig) -> bool:
    return all(stable == high for stable, high in watermarks(rig.bootstrap, [rig.job.out]).values())
