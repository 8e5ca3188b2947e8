"""A dependency that fails all calls for a minute, with the settings as they are: what opened the breaker is dead-lettered, and nothing is lost."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.retry import Retry
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig

OUTAGE = 60.0
PARTITIONS = 2

pytestmark = pytest.mark.timeout(600)


async def test_a_minute_without_a_dependency_costs_what_opened_the_breaker_and_nothing_more(rig: EngineRig) -> None:
    rig.make(partitions=PARTITIONS)
    ends = time.monotonic() + OUTAGE
    calls = 0

    def call(value: dict[str, Any], cursor: object) -> None:
        nonlocal calls
        calls += 1
        if time.monotonic() < ends:
            raise ConnectionError("the dependency is down")

    worker = rig.worker()
    worker.before = call
    worker.agents = [replace(rig.job.agent(worker), retry=Retry(), breaker=Breaker())]
    rig.feed(orders(400))
    await worker.start()
    await rig.caught_up(deadline=OUTAGE + 180)
    letters = [record for lane in rig.read(rig.job.dlq).values() for record in lane]
    buried = [json.loads(letter.value or b"")["i"] for letter in letters]
    print(f"{calls} calls, {len(buried)} dead letters in {OUTAGE:g} s without the dependency")
    assert 0 < len(buried) <= PARTITIONS * Breaker().transient
    assert 1 <= len(rig.events("breaker_opened")) <= PARTITIONS
    assert len(rig.events("breaker_closed")) == len(rig.events("breaker_opened"))
    assert rig.wrong(without=buried) == []
