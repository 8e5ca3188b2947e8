"""Rule 1: whoever is fenced again and again within a minute has a rival and stops; a fence that its own timeout explains is none."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.clock import Deadline
from streamapp.errors import ProducerFenced, RivalWorker
from streamapp.pipeline import transaction
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.transaction import RIVAL_FENCES
from streamapp.records import Partition
from tests.support.pipeline import Bench, agent, copy, each, running


async def fence(bench: Bench, *values: bytes) -> None:
    """Have the producer fenced at the flush of a unit with `values`; return when that is over, one way or the other."""
    bench.broker.fail("flush", ProducerFenced("made by the test"))
    bench.broker.feed("in", 0, *values)
    deadline = Deadline.after(10.0)
    while not bench.engine.failure.done() and bench.broker.committed("in", 0) != bench.broker.end(Partition("in", 0)):
        assert not deadline.passed, "neither stopped nor gone on"
        await asyncio.sleep(0.001)


VALUES = [b"%d" % number for number in range(RIVAL_FENCES)]


async def test_the_last_that_a_minute_bears_stops_the_worker_and_names_its_id() -> None:
    async with running(agent(each(copy))) as bench:
        for value in VALUES[:-1]:
            await fence(bench, value)
        assert bench.broker.values("out") == VALUES[:-1], "late requests of its own fence as well"
        await fence(bench, VALUES[-1])
        assert bench.engine.failure.done(), "it goes on, and so does its rival"
        failure = bench.engine.failure.result()
        assert isinstance(failure, RivalWorker)
        assert "app-w1" in str(failure)


async def test_fences_a_minute_apart_are_no_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "RIVAL_WINDOW", 0.0)  # any two lie further apart
    async with running(agent(each(copy))) as bench:
        for value in VALUES:
            await fence(bench, value)
        assert bench.broker.values("out") == VALUES


async def test_fences_after_the_transaction_timeout_are_our_own_doing() -> None:
    # Every unit is older than this timeout by the time its flush fails.
    async with running(agent(each(copy), retry=Retry()), transaction_timeout=0.001) as bench:
        for value in VALUES:
            await fence(bench, value)
        assert bench.broker.values("out") == VALUES
