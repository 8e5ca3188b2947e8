"""A dead-letter topic that vanishes while a worker runs: the record's partition waits, the others go on, nothing is lost or doubled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamapp.errors import Permanent
from streamapp.pipeline import letters
from streamapp.pipeline.cursor import Cursor
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.topics import create_topic, delete_topics


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "FIRST_WAIT", 0.2)
    monkeypatch.setattr(letters, "WRITTEN_WITHIN", 1.0)


def failing(worker: Worker, *bad: int) -> list[int]:
    """Have the worker's agent fail on these; return the list of those that it was called for."""
    calls: list[int] = []

    def refuse(value: dict[str, Any], cursor: Cursor) -> None:
        if value["i"] in bad:
            calls.append(value["i"])
            raise Permanent("no such article")

    worker.before = refuse
    return calls


def buried(rig: EngineRig) -> list[int]:
    return sorted(json.loads(rec.value or b"")["i"] for lane in rig.read(rig.job.dlq).values() for rec in lane)


async def goes_on_while_one_waits(rig: EngineRig, worker: Worker, calls: list[int]) -> None:
    """The letter of record 20, on partition 0, cannot be written: partition 1 goes on, and the worker lives."""
    await worker.until(lambda: len(rig.events("dlq_write_failed")) >= 1, "it was tried alone", deadline=60)
    before = worker.committed(1) or 0
    rig.feed([{"i": 100 + at, "k": "1"} for at in range(10)])
    await worker.until(lambda: (worker.committed(1) or 0) >= before + 10, "the other partition goes on", deadline=60)
    assert worker.committed(0) == 10
    assert buried(rig) == []
    assert len(calls) == 1, "it is not called again"


async def test_a_topic_that_vanishes_and_comes_back(rig: EngineRig) -> None:
    rig.make()
    worker = rig.worker(transaction_timeout=2.0)
    calls = failing(worker, 20)
    await worker.start()
    await worker.ready(2)
    delete_topics(rig.bootstrap, [rig.job.dlq])
    rig.feed(orders(40))
    await goes_on_while_one_waits(rig, worker, calls)
    create_topic(rig.bootstrap, rig.job.dlq, 2)
    await rig.caught_up()
    assert buried(rig) == [20]
    assert rig.wrong(without=[20]) == []
    assert worker.table() == rig.due_counts(without=[20])
