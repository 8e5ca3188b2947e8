"""While a record waits for its next attempt, what came before it is safe, its attempts count on, and nobody waits for it to go away."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

from streamapp.errors import CommitRefused
from streamapp.pipeline.retry import Retry
from streamapp.records import Partition
from tests.support.fakes import Fault
from tests.support.pipeline import QUICK, agent, batches, each, emit, running, table

ZERO = Partition("in", 0)
LONG = Retry(attempts=2, unknown_attempts=2, base=300.0, cap=300.0, jitter="none", budget=400.0, attempt_timeout=400.0)


async def test_the_work_before_it_is_committed_before_the_regular_commit_would_be_due() -> None:
    short = Retry(attempts=2, base=0.05, cap=0.05, jitter="none", budget=2.0, attempt_timeout=2.0)
    failed: list[int | None] = []

    async def body(value: bytes) -> None:
        if value == b"bad":
            failed.append(bench.broker.committed("in", 0))
            raise RuntimeError
        emit(value)

    async with running(agent(each(body), retry=short), commit_interval=3.0) as bench:
        bench.broker.feed("in", 0, b"a", b"bad")
        await bench.until(lambda: len(failed) == 2, seconds=2.5)
        assert failed == [None, 1]
        assert bench.broker.values("out") == [b"a"]


async def test_a_success_joins_a_unit_that_was_begun_after_the_failure() -> None:
    """Also while a commit that is under way keeps the unit of the failure from being closed."""
    at_once = Retry(attempts=2, base=1e-9, cap=1e-9, jitter="none", budget=2.0, attempt_timeout=2.0)
    tried: list[bytes] = []
    standing, go = threading.Event(), threading.Event()

    def stand() -> None:
        standing.set()
        assert go.wait(20)

    async def body(value: bytes) -> None:
        tried.append(value)
        emit(value)
        if value == b"once" and tried.count(value) == 1:
            raise RuntimeError

    async with running(agent(each(body), retry=at_once)) as bench:
        bench.broker.fail("commit", Fault(wait=stand))
        bench.broker.feed("in", 0, b"before")
        try:
            await bench.until(standing.is_set)
            bench.broker.feed("in", 0, b"a", b"once", b"b")
            await bench.until(lambda: b"once" in tried)
            for _ in range(20):  # turns in which it could be called again
                await asyncio.sleep(0)
        finally:
            go.set()
        await bench.caught_up()
        units = [[record[1] for record in transaction.records] for transaction in bench.broker.transactions]
        assert units[:2] == [[b"before"], [b"a"]]
        assert bench.broker.values("out") == [b"before", b"a", b"once", b"b"]


async def test_a_revoke_does_not_wait_for_the_next_attempt() -> None:
    tried: list[bytes] = []

    async def body(value: bytes) -> None:
        tried.append(value)
        raise RuntimeError

    async with running(agent(each(body), retry=LONG), transaction_timeout=1000.0, max_poll_interval=1000.0) as bench:
        bench.broker.feed("in", 0, b"bad")
        await bench.until(lambda: bench.engine.group.lanes[ZERO].paused)
        await asyncio.wait_for(asyncio.wrap_future(bench.source.revoke(ZERO)), 5)
        assert tried == [b"bad"]
        assert bench.broker.values("dlq") == [], "a wait that is cut short is no verdict"
        bench.source.assign(ZERO)
        await bench.until(lambda: tried == [b"bad", b"bad"])
        assert bench.broker.values("dlq") == [], "the next owner starts at the first attempt"


async def test_a_stop_does_not_wait_for_the_next_attempt() -> None:
    async def body(value: bytes) -> None:
        raise RuntimeError

    async with running(agent(each(body), retry=LONG), transaction_timeout=1000.0, max_poll_interval=1000.0) as bench:
        bench.broker.feed("in", 0, b"bad")
        await bench.until(lambda: bench.engine.group.lanes[ZERO].paused)
        await asyncio.wait_for(bench.engine.stop(), 5)
        assert bench.broker.values("dlq") == []


async def test_attempts_count_on_when_the_engine_aborts_a_unit_between_them() -> None:
    calls: list[bytes] = []

    async def body(value: bytes) -> None:
        calls.append(value)
        if value == b"bad":
            if calls.count(b"bad") == 1:
                bench.engine.admission.fail(CommitRefused("made by the test"))
            raise ConnectionError

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"bad", b"b")
        await bench.caught_up()
        assert bench.engine.counters()["aborts"] == 1
        assert calls.count(b"bad") == QUICK.attempts
        assert bench.broker.values("dlq") == [b"bad"]


async def test_a_failing_batch_comes_again_record_by_record_each_with_its_own_buffer() -> None:
    calls: list[list[bytes]] = []

    async def body(values: list[bytes]) -> None:
        calls.append(values)
        for value in values:
            emit(value)
        if b"bad" in values:
            raise RuntimeError

    async with running(agent(batches(4, body))) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"bad", b"c", b"d", b"e")
        await bench.caught_up()
        assert [values for values in calls if b"bad" in values] == [[b"a", b"b", b"bad", b"c"], [b"bad"], [b"bad"]]
        assert bench.broker.values("out") == [b"a", b"b", b"c", b"d", b"e"]
        assert bench.broker.values("dlq") == [b"bad"]


async def test_a_duplicate_key_that_cannot_be_told_fails_its_record_and_not_its_batch() -> None:
    asked: list[object] = []

    def key(value: object) -> object:
        asked.append(value)
        if value == b"bad":
            raise ConnectionError("once")
        return value

    async def body(values: list[bytes]) -> None:
        for value in values:
            emit(value)

    spec = agent(batches(4, body), dedupe="marks")
    assert spec.dedupe is not None
    spec = replace(spec, dedupe=replace(spec.dedupe, key=key))
    async with running(spec, tables=[table("marks", horizon=60.0)]) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.caught_up()
        assert asked.count(b"bad") > 2, "it is retried as what it is"
        assert bench.broker.values("dlq") == [b"bad"]
        assert bench.broker.values("out") == [b"a", b"b"]
