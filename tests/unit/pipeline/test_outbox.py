"""Outputs that wait for the next transaction are bounded, and records go on once what waited has left."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from streamapp.pipeline import admission
from tests.support.fakes import FakeBroker, Fault
from tests.support.pipeline import agent, copy, each, running

BOUND = 20


@pytest.fixture(autouse=True)
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "OUTBOX_BOUND", BOUND)


async def test_records_go_on_after_a_slow_commit_let_the_outbox_fill() -> None:
    let_go = threading.Event()
    broker = FakeBroker(faults={"commit": deque([Fault(wait=lambda: let_go.wait(10))])})
    values = [b"%d" % at for at in range(200)]
    async with running(agent(each(copy)), broker=broker, source_batch=5) as bench:
        broker.feed("in", 0, *values[:5])
        await bench.until(lambda: bench.engine.admission.flight is not None)
        broker.feed("in", 0, *values[5:])
        await bench.until(lambda: not bench.engine.admission.gate_open)
        assert len(bench.engine.admission.unit.outbox) == BOUND
        let_go.set()
        await bench.caught_up()
        assert broker.values("out") == values


async def test_a_full_local_queue_of_the_producer_lets_the_outbox_fill_and_empty_again() -> None:
    broker = FakeBroker(room=3)
    values = [b"%d" % at for at in range(100)]
    async with running(agent(each(copy)), broker=broker) as bench:
        broker.feed("in", 0, *values)
        await bench.caught_up()
        assert broker.values("out") == values
        assert bench.engine.counters()["aborts"] == 0
