"""The thread that samples waits for loop and broker alike, is ended at once, and outlives whatever fails; nothing of it ever runs on the loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable
from streamapp.kafka.surroundings import Surroundings
from streamapp.monitor.lag.inputs import Change
from streamapp.monitor.sampler import Parts, Sampler
from streamapp.monitor.watch import LagWatch, Past
from streamapp.pipeline.facts import EngineFacts
from streamapp.ports import LogEnds
from streamapp.records import Partition
from tests.support.lag_world import CONFIG, ORDERS, facts, lane
from tests.support.topics import wait_until

SOON = 10.0
PAST = Past(version="1.5", worker="w-1")


class Engine:
    """What is sampled. Remembers who asked."""

    def __init__(self) -> None:
        self.asked_on: set[str] = set()
        self.owns = {ORDERS}
        self.fails = False

    def facts(self) -> EngineFacts:
        self.asked_on.add(threading.current_thread().name)
        if self.fails:
            raise RuntimeError("no facts today")
        return facts(time.time(), [lane(each) for each in self.owns])

    def assignment(self) -> set[Partition]:
        return set(self.owns)

    def restoring(self) -> list[dict[str, Any]]:
        return []


class Logs:
    """A Watermarks; silent while `silent` is set, as a broker that hangs."""

    def __init__(self) -> None:
        self.silent = threading.Event()
        self.asked_on: set[str] = set()
        self.is_closed = False
        self.calls = 0
        self.starts_asked = 0

    def ends(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, LogEnds]:
        self.asked_on.add(threading.current_thread().name)
        self.calls += 1
        if self.silent.is_set():
            threading.Event().wait(deadline.slice(0.2))
            return {}
        return {each: LogEnds(100, 101) for each in partitions}

    def starts(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, int]:
        self.starts_asked += 1
        return dict.fromkeys(partitions, 5)

    def close(self) -> None:
        self.is_closed = True


class Asks:
    """An enquiry that has its answer when the test gives it one."""

    def __init__(self) -> None:
        self.found: Surroundings | None = None
        self.hurried = 0
        self.is_stopped = False

    def answer(self) -> Surroundings | None:
        found, self.found = self.found, None
        return found

    def soon(self) -> None:
        self.hurried += 1

    def stop(self) -> None:
        self.is_stopped = True


class World:
    """A sampler with everything around it."""

    def __init__(self, past: Callable[[], Past] = lambda: PAST, directory: Path | None = None, interval: float = 0.01) -> None:
        self.engine, self.logs, self.asks = Engine(), Logs(), Asks()
        parts = Parts(watermarks=lambda: self.logs, asks=self.asks, workers_of=lambda found: 3, past=past, directory=directory)
        watch = LagWatch(CONFIG, Past(version="1.5", worker="w-1"), {"orders": 8}, tables={})
        self.sampler = Sampler(self.engine, watch, parts, interval=interval, loop=asyncio.get_running_loop())

    async def until(self, what: Callable[[], object]) -> None:
        deadline = Deadline.after(SOON)
        while not what():
            assert not deadline.passed
            await asyncio.sleep(0.005)

    async def sampled(self) -> None:
        """Wait for a sample that is begun from now on."""
        now = time.time()
        await self.until(lambda: self.sampler.view is not None and self.sampler.view.at > now)


@asynccontextmanager
async def sampling(**what: Any) -> AsyncIterator[World]:
    world = World(**what)
    world.sampler.start()
    try:
        yield world
    finally:
        await asyncio.get_running_loop().run_in_executor(None, world.sampler.stop)


async def test_facts_come_from_the_loop_and_everything_that_waits_from_the_sampler_s_own_thread() -> None:
    async with sampling() as world:
        await world.sampled()
    assert world.engine.asked_on == {threading.current_thread().name}
    assert world.logs.asked_on == {"lag"}
    view = world.sampler.view
    assert view is not None
    sample = view.samples[ORDERS]
    assert (sample.end, sample.high_watermark, sample.log_start) == (100, 101, 5)
    assert world.logs.starts_asked == 1, "where logs begin is asked once a minute"
    assert world.sampler.loop_lag is not None


async def test_a_silent_broker_gives_unknown_ends_and_the_status_says_so_and_then_it_is_back() -> None:
    async with sampling() as world:
        await world.sampled()
        world.logs.silent.set()
        await world.sampled()
        await world.until(lambda: world.sampler.view is not None and world.sampler.view.samples[ORDERS].end is None)
        view = world.sampler.view
        assert view is not None
        assert view.samples[ORDERS].high_watermark is None
        world.logs.silent.clear()
        await world.until(lambda: world.sampler.view is not None and world.sampler.view.samples[ORDERS].end == 100)


async def test_a_loop_that_is_busy_is_waited_for_and_a_stop_ends_that_wait() -> None:
    async with sampling() as world:
        await world.sampled()
        asked = world.logs.calls
        # On the loop, which answers nobody meanwhile: behind the ends come the facts.
        wait_until(lambda: world.logs.calls > asked, why=lambda: "the broker was not asked", every=0.001)
        world.sampler.stop()
        thread = world.sampler._thread
        assert thread is not None
        assert not thread.is_alive(), "it waits for the loop"
    assert world.logs.is_closed
    assert world.asks.is_stopped


async def test_what_fails_costs_one_sample_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with sampling() as world:
        world.engine.fails = True
        await world.until(lambda: "no facts today" in caplog.text)
        world.engine.fails = False
        await world.sampled()


async def test_a_stop_may_come_before_the_start_and_twice() -> None:
    world = World()
    world.sampler.stop()
    world.sampler.start()
    world.sampler.stop()
    assert world.sampler.view is None


async def test_the_past_is_asked_for_until_it_is_told() -> None:
    tries = []

    def past() -> Past:
        tries.append(1)
        if len(tries) < 3:
            raise BrokerUnreachable
        return Past(version="1.5", worker="w-1", previous_version="1.4", starts=(1.0, 2.0))

    async with sampling(past=past) as world:
        await world.until(
            lambda: (
                world.sampler.view is not None and Change.DEPLOYED in {each.change for each in world.sampler.view.marks[ORDERS]}
            )
        )
    assert len(tries) == 3


async def test_what_a_child_found_out_bounds_the_next_sample() -> None:
    async with sampling() as world:
        await world.sampled()
        world.asks.found = Surroundings(topics={"orders": {"retention.ms": "60000"}}, offsets_retention=3600.0, members=())
        await world.until(lambda: world.sampler.view is not None and world.sampler.view.limits[ORDERS].topic.retention == 60.0)
        assert world.sampler.around.workers == 3


async def test_a_worker_without_partitions_has_its_group_looked_at_at_once_and_others_do_not() -> None:
    world = World()
    world.sampler.on_assigned(set())
    assert world.asks.hurried == 0, "nothing came, but it has some"
    world.engine.owns = set()
    world.sampler.on_assigned(set())
    assert world.asks.hurried == 1


async def test_partitions_that_went_are_told_no_more_and_what_was_seen_of_them_outlives_the_process(tmp_path: Path) -> None:
    async with sampling(directory=tmp_path) as world:
        world.sampler.on_assigned({ORDERS})
        await world.sampled()
        first = world.sampler.history(ORDERS)[0].at
        world.engine.owns = set()
        world.sampler.on_revoked({ORDERS})
        await world.until(lambda: world.sampler.view is not None and not world.sampler.view.verdicts)
    async with sampling(directory=tmp_path) as later:
        await later.sampled()
        assert later.sampler.history(ORDERS)[0].at == first
        view = later.sampler.view
        assert view is not None
        assert Change.REVOKED in {each.change for each in view.marks[ORDERS]}
