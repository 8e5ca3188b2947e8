"""Without transactions a dedupe mark never outlives its output: outputs are durable before the changelog, that before the offsets.

Wherever the worker dies in between, each record's output is there at least once, also when its tables come back from the changelog.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from streamapp.errors import Fatal
from streamapp.faults import FaultPoint
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Job, Worker
from tests.support.tampering import Call

RECORDS = 40
SETTINGS: dict[str, Any] = {"processing_guarantee": "at_least_once", "producer_compression": "none"}
"""Uncompressed, so that what is too large stays so."""


class Watch:
    """Looks at every call of producer and consumer, and writes down what came too early."""

    def __init__(self, job: Job) -> None:
        self.wrong: list[str] = []
        self.marks = self.commits = 0
        self._job = job
        self._lock = threading.Lock()
        self._outputs: set[int] = set()
        """Of which `i` an output is on its way."""
        self._changelog = 0
        """Changelog records on their way."""

    def producer(self, call: Call) -> Any:
        if call.name == "produce":
            self._produced(*call.args[:3])
        if call.name != "flush":
            return call.proceed()
        with self._lock:  # what is handed over while it flushes need not be covered
            outputs, changelog = set(self._outputs), self._changelog
        left = call.proceed()
        if left == 0:
            with self._lock:
                self._outputs -= outputs
                self._changelog -= changelog
        return left

    def _produced(self, topic: str, value: bytes, key: bytes) -> None:
        with self._lock:
            if topic == self._job.out:
                self._outputs.add(json.loads(value)["i"])
                return
            self._changelog += 1
            if topic.endswith("-seen-changelog"):
                self.marks += 1
                if int(key) in self._outputs:
                    self.wrong.append(f"the mark of {int(key)} before its output was durable")

    def consumer(self, call: Call) -> Any:
        if call.name == "commit":
            with self._lock:
                self.commits += 1
                if self._outputs or self._changelog:
                    self.wrong.append(f"offsets before {sorted(self._outputs)} and {self._changelog} changelog records")
        return call.proceed()


async def test_outputs_then_changelog_then_offsets_each_durable_before_the_next(rig: EngineRig) -> None:
    watch = Watch(rig.make(dedupe=True))
    rig.clients.tamper_producer, rig.clients.tamper_consumer = watch.producer, watch.consumer
    rig.feed(orders(RECORDS))
    # With this linger nothing leaves by itself before it is flushed.
    worker = await rig.start(**SETTINGS, producer_linger=5.0)
    await rig.caught_up()
    rig.feed([*orders(RECORDS, first=RECORDS), *orders(5)])
    await rig.caught_up()
    assert rig.wrong() == []
    assert watch.wrong == []
    assert watch.marks == 2 * RECORDS
    assert watch.commits >= 2
    assert worker.counters["dedupe_hits"] == 5


def die() -> NoReturn:
    raise Fatal("the test ends this worker here")


async def death(rig: EngineRig, point: FaultPoint, prepare: Callable[[Worker], None] = lambda worker: None) -> None:
    """Run a worker until it dies at `point`; its disk goes with it."""
    rig.do_at(point, die)
    worker = rig.worker(**SETTINGS)
    prepare(worker)
    await worker.start()
    failure = await asyncio.wait_for(asyncio.shield(worker.engine.failure), 30)
    assert isinstance(failure, Fatal), failure
    await worker.stop()
    rig.workers.remove(worker)
    shutil.rmtree(rig.home / worker.id)


@pytest.mark.parametrize("point", [FaultPoint.AFTER_FLUSH, FaultPoint.AFTER_CHANGELOG, FaultPoint.AFTER_COMMIT])
async def test_a_death_at_any_step_loses_nothing(rig: EngineRig, point: FaultPoint) -> None:
    rig.make(dedupe=True)
    rig.feed(orders(RECORDS))
    await death(rig, point)
    await rig.start(**SETTINGS)
    await rig.caught_up()
    assert set(rig.visible()) == set(range(RECORDS))


async def test_a_mark_is_not_written_whose_output_the_broker_did_not_take(rig: EngineRig) -> None:
    rig.make(dedupe=True, out={"max.message.bytes": "2000"})
    rig.feed(orders(RECORDS))

    def too_large_once(worker: Worker) -> None:
        worker.grown = lambda value, output: output + b" " * 5000 if value["i"] == 7 else output

    await death(rig, FaultPoint.ABORT_BEFORE_REWIND, too_large_once)
    assert 7 not in rig.visible()
    second = await rig.start(**SETTINGS)
    await rig.caught_up()
    assert set(rig.visible()) == set(range(RECORDS))
    assert second.counters["dead_letters"] == 0
