"""Rule 14: a fatal error surfaces in poll or flush, as a SystemError at times; and a rebalance callback never raises."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from streamapp.faults import FaultPoint
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, error, on, raising

FATAL = error(KafkaError._FATAL, "it is over", fatal=True)


def around(failure: Exception) -> SystemError:
    """Return what the interpreter makes of an exception that a C function left behind."""
    wrapped = SystemError("<method> returned a result with an exception set")
    wrapped.__cause__ = failure
    return wrapped


@pytest.mark.parametrize("failure", [FATAL, around(FATAL)], ids=["plain", "SystemError"])
async def test_a_fatal_error_in_flush_costs_the_producer_and_no_record(rig: EngineRig, failure: Exception) -> None:
    rig.make()
    worker = await rig.start()
    await worker.ready()
    rig.clients.tamper_producer = on("flush", raising(failure))
    rig.feed(orders(30))
    await rig.caught_up()
    assert worker.counters["aborts"] == worker.counters["producer_rebuilds"] == 1
    assert rig.clients.names("purge") == ["purge"], "it was destroyed"
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_a_fatal_error_in_poll_does_not_disturb_the_record_in_hand(rig: EngineRig) -> None:
    rig.make()
    worker = await rig.start()
    await worker.ready()
    polls: list[str] = []

    def fail(call: Call) -> Any:
        polls.append(call.name)
        raise around(FATAL)

    rig.clients.tamper_producer = on("poll", fail, times=5)
    rig.feed(orders(30))
    await worker.until(lambda: len(polls) >= 5, "polled")
    await rig.caught_up()
    # The client raises it again from the next flush; these polls were all that failed.
    assert worker.counters["aborts"] == 0
    assert rig.wrong() == []


@pytest.mark.parametrize("point", [FaultPoint.IN_ASSIGN, FaultPoint.IN_REVOKE_BEFORE_COMMIT, FaultPoint.IN_REVOKE_AFTER_COMMIT])
async def test_an_error_in_a_callback_loses_all_partitions_and_no_record(rig: EngineRig, point: FaultPoint) -> None:
    rig.make(partitions=4)
    rig.feed(orders(40))
    first = await rig.start()
    await rig.caught_up()
    failed = _fail_at(rig, point)
    second = await rig.start("w2")  # takes two of them: the first is asked to give back, the second is given
    await second.until(lambda: len(first.lanes) == len(second.lanes) == 2 and bool(failed), "spread again")
    await first.ready(2)
    await second.ready(2)
    rig.feed(orders(40, first=40))
    await rig.caught_up()
    assert len(rig.events("callback_failed")) == 1
    assert len(rig.events("assignment_lost")) <= 1
    assert rig.wrong() == []
    assert first.table() | second.table() == rig.due_counts()


async def test_a_callback_that_fails_again_within_the_minute_ends_the_worker_with_its_error(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(10))
    failed = _fail_at(rig, FaultPoint.IN_ASSIGN, times=2)
    worker = await rig.start()
    with pytest.raises(ZeroDivisionError):
        await worker.until(lambda: False, "fails")
    assert len(failed) == 2
    await worker.stop()
    rig.workers.remove(worker)
    await rig.start()
    await rig.caught_up()
    assert rig.wrong() == []


def _fail_at(rig: EngineRig, point: FaultPoint, *, times: int = 1) -> list[int]:
    failed: list[int] = []

    def fail() -> None:
        failed.append(1)
        raise ZeroDivisionError("a bug in a callback")

    rig.do_at(point, fail, times=times)
    return failed
