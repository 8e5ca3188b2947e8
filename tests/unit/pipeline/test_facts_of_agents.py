"""What the engine tells of an agent: how much it did, how long it took, and what failed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import replace

import pytest

from streamapp.errors import CommitRefused, Permanent
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.facts import AgentFacts, Distribution
from tests.support.pipeline import Bench, agent, batches, copy, each, emit, running, table
from tests.support.replays import replayed

ID = "in/0/7@agent"


def facts(bench: Bench) -> AgentFacts:
    [told] = bench.engine.facts().agents
    return told


def count(distribution: Distribution) -> int:
    return sum(distribution.counts)


def over(distribution: Distribution, seconds: float) -> int:
    """Return how many attempts took longer than that bound."""
    at = distribution.bounds.index(seconds)
    return sum(distribution.counts[at + 1 :])


def block(seconds: float) -> None:
    """Hold the loop, as a handler does that computes."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_every_record_counts_once_and_is_timed() -> None:
    async with running(agent(each(copy), dlq=None)) as bench:
        bench.broker.feed("in", 0, *(b"%d" % at for at in range(500)))
        await bench.caught_up()
        told = facts(bench)
        assert (told.name, told.topics, told.dlq, told.on_error, told.concurrency) == ("agent", ("in",), None, "skip", 1)
        assert (told.processed, count(told.duration), told.in_hand) == (500, 500, 0)
        assert (told.dedupe_hits, told.batch_max, told.retries, told.dead_letters) == (None, None, {}, {})
        assert 0 < told.duration.total <= told.busy_seconds + 1e-6


@pytest.mark.parametrize("waits", [True, False])
async def test_a_slow_record_among_quick_ones_is_the_one_that_took_long(waits: bool) -> None:
    async def body(value: bytes) -> None:
        if value == b"7":
            await asyncio.sleep(0.06) if waits else block(0.06)
        emit(value)

    async with running(agent(each(body))) as bench:
        bench.source.frozen = True
        bench.broker.feed("in", 0, *(b"%d" % at for at in range(20)))
        bench.source.frozen = False
        await bench.caught_up()
        told = facts(bench)
        assert count(told.duration) == 20
        assert over(told.duration, 0.05) >= 1
        assert told.busy_seconds >= 0.06
        assert told.duration.total >= 0.06


async def test_time_without_a_record_is_neither_busy_nor_part_of_a_record() -> None:
    async with running(agent(each(copy))) as bench:
        for value in (b"1", b"2", b"3"):
            bench.broker.feed("in", 0, value)
            await bench.caught_up()
            before = facts(bench).busy_seconds
            end = time.perf_counter() + 0.05
            await bench.until(lambda end=end: time.perf_counter() >= end)  # type: ignore[misc]  # bound now
            assert facts(bench).busy_seconds == before
        told = facts(bench)
        assert count(told.duration) == 3
        assert told.duration.total == pytest.approx(told.busy_seconds, abs=0.001)


async def test_what_a_function_does_before_its_first_record_is_no_part_of_it() -> None:
    lives = 0

    async def run(cursor: Cursor) -> None:
        nonlocal lives
        lives += 1
        await asyncio.sleep(0.05)
        while True:
            if await anext(cursor) == b"bad":
                raise Permanent

    async with running(agent(run)) as bench:
        began = time.perf_counter()
        bench.source.frozen = True
        bench.broker.feed("in", 0, b"bad", b"bad", b"ok", b"ok")
        bench.source.frozen = False
        await bench.caught_up()
        elapsed = time.perf_counter() - began
        told = facts(bench)
        assert (lives, count(told.duration)) == (3, 4)
        assert elapsed - told.duration.total >= 0.09
        assert elapsed - told.busy_seconds >= 0.09
        lowest = zip((0.0, *told.duration.bounds), told.duration.counts, strict=True)
        assert sum(bound * times for bound, times in lowest) <= told.duration.total, "it is in no record's bucket either"


async def test_records_that_overlap_are_busy_once_and_each_takes_its_time() -> None:
    gate = asyncio.Event()
    waiting: list[bytes] = []

    async def body(value: bytes) -> None:
        waiting.append(value)
        await gate.wait()

    async with running(agent(each(body), concurrency=4)) as bench:
        bench.broker.feed("in", 0, b"1", b"2", b"3", b"4")
        await bench.until(lambda: len(waiting) == 4)
        assert facts(bench).in_hand == 4
        began = facts(bench).busy_seconds
        await bench.until(lambda: facts(bench).busy_seconds >= began + 0.05)
        gate.set()
        await bench.caught_up()
        told = facts(bench)
        assert (count(told.duration), told.processed, told.in_hand) == (4, 4, 0)
        assert told.duration.total >= 4 * 0.05
        assert told.busy_seconds < told.duration.total


async def test_attempts_that_fail_are_timed_and_retried_ones_told_by_their_type() -> None:
    failures = deque[Exception]([ConnectionError(), ValueError(), ConnectionError()])

    async def body(value: bytes) -> None:
        if value == b"2" and failures:
            await asyncio.sleep(0.02)
            raise failures.popleft()

    spec = agent(each(body))
    async with running(replace(spec, retry=replace(spec.retry, attempts=5, unknown_attempts=5))) as bench:
        bench.broker.feed("in", 0, b"1", b"2", b"3")
        await bench.caught_up()
        told = facts(bench)
        assert told.retries == {"ConnectionError": 2, "ValueError": 1}
        assert (told.processed, count(told.duration)) == (3, 6)
        assert over(told.duration, 0.01) >= 3


async def test_dead_letters_count_by_type_and_reason_once_they_are_durable() -> None:
    async def body(value: bytes) -> None:
        if value == b"p":
            raise Permanent
        if value == b"v":
            raise ValueError
        emit(value)

    async with running(agent(each(body))) as bench:
        bench.broker.fail("send_offsets", CommitRefused())
        bench.broker.feed("in", 0, b"p", b"p", b"v", b"!", b"ok")
        await bench.caught_up()
        wanted = {("Permanent", "permanent"): 2, ("ValueError", "retries-exhausted"): 1, ("DecodeFailed", "permanent"): 1}
        await bench.until(lambda: facts(bench).dead_letters == wanted)
        assert bench.engine.counters()["aborts"] == 1
        assert facts(bench).fingerprints == 3
        told = {kind.error_type: kind for kind in bench.engine.facts().fingerprints}
        assert (told["Permanent"].count, told["Permanent"].agent, told["Permanent"].dlq) == (2, "agent", "dlq")
        assert told["Permanent"].letters == ("in/0/1@agent", "in/0/0@agent")
        assert {kind: (each.stage, each.reason) for kind, each in told.items()} == {
            "Permanent": ("handler", "permanent"),
            "ValueError": ("handler", "retries-exhausted"),
            "DecodeFailed": ("decode", "permanent"),
        }
        assert told["Permanent"].first <= told["Permanent"].last <= time.time()


async def test_duplicates_are_done_and_told_apart() -> None:
    async with running(agent(each(copy), dedupe="marks"), tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"x", b"x", b"y")
        await bench.caught_up()
        assert (facts(bench).processed, facts(bench).dedupe_hits) == (3, 1)


async def test_a_batch_is_one_attempt_of_all_its_records_and_its_filling_is_no_work() -> None:
    sizes: list[int] = []

    async def body(values: list[bytes]) -> None:
        sizes.append(len(values))

    async with running(agent(batches(5, body, within=0.1))) as bench:
        began = time.perf_counter()
        bench.broker.feed("in", 0, b"1", b"2", b"3")
        await bench.caught_up()
        told = facts(bench)
        assert (told.processed, count(told.duration), told.batch_max) == (3, len(sizes), 5)
        elsewhere = time.perf_counter() - began - told.busy_seconds
        assert elsewhere >= 0.1 * 0.9
        assert told.duration.total <= told.busy_seconds + 1e-6


async def test_a_failed_batch_counts_each_record_once() -> None:
    async def body(values: list[bytes]) -> None:
        if b"bad" in values:
            raise Permanent

    for concurrency in (1, 2):
        async with running(agent(batches(3, body), concurrency=concurrency)) as bench:
            bench.source.frozen = True
            bench.broker.feed("in", 0, b"1", b"bad", b"!", b"4", b"5")
            bench.source.frozen = False
            await bench.caught_up()
            await bench.until(lambda: sum(facts(bench).dead_letters.values()) == 2)
            assert facts(bench).processed == 5


@pytest.mark.parametrize(("fails", "outcome"), [(False, "processed"), (True, "reopened")])
async def test_replays_are_told_by_what_became_of_them(fails: bool, outcome: str) -> None:
    async def body(value: bytes) -> None:
        if fails:
            raise Permanent

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"x", headers=replayed(ID))
        await bench.caught_up()
        assert facts(bench).replayed == {outcome: 1}


async def test_a_replay_that_dedupe_knows_was_already_processed() -> None:
    async with running(agent(each(copy), dedupe="marks"), tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"x")
        bench.broker.feed("in", 0, b"x", headers=replayed(ID))
        await bench.caught_up()
        assert facts(bench).replayed == {"already-processed": 1}
