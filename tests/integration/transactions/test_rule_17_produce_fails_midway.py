"""Rule 17: a record's outputs leave together: a produce that fails midway aborts. And a report may be good and tell no offset."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, error, on, raising, straight
from tests.support.topics import end_offsets

FAILURES = {
    "refused": error(KafkaError._INVALID_ARG, "refused"),
    "to be aborted": error(KafkaError.UNKNOWN_PRODUCER_ID, "who?", abort=True),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_the_second_of_three_outputs_fails_and_all_three_come_once(rig: EngineRig, kind: str) -> None:
    rig.make(copies=3)
    rig.feed(orders(30))
    # The 17th output: the second one of the sixth record.
    rig.clients.tamper_producer = on("produce", raising(FAILURES[kind]), nth=17)
    worker = await rig.start()
    await rig.caught_up()
    assert worker.counters["aborts"] == 1
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


class WithoutOffset:
    """A delivery report as a broker may send it: all is well, and the offset unknown."""

    def offset(self) -> None:
        return None


def forgetful(call: Call) -> Any:
    topic, value, key, partition, *more = call.args
    told = more[0] if more else None
    if told is None:
        return call.proceed()
    return call.method(topic, value, key, partition, lambda failure, message: told(failure, WithoutOffset()), *more[1:])


async def test_a_report_without_an_offset_costs_a_longer_restore_and_no_record(rig: EngineRig) -> None:
    rig.make(partitions=1)
    first = await rig.start()
    rig.feed(orders(20))
    await rig.caught_up()
    told = end_offsets(rig.bootstrap, rig.job.changelog)[0]
    rig.clients.tamper_producer = on("produce", forgetful, times=1_000_000)
    rig.feed(orders(20, first=20, keys=20))
    await rig.caught_up()
    held = first.table()
    await first.stop()
    rig.clients.tamper_producer = straight
    second = await rig.start()
    await second.ready()
    restored = rig.events("restore_finished")[-1]
    untold = [rec for rec in rig.read(rig.job.changelog)[0] if rec.offset >= told]
    assert restored["records"] == len(untold) >= 20, "all since the last offset that was told, and nothing before"
    assert second.table() == held == rig.due_counts()
    rig.feed(orders(10, first=40))
    await rig.caught_up()
    assert rig.wrong() == []
