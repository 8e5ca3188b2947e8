"""Faults of every kind that a worker lives through, for minutes or for half an hour: nothing is lost, and who lives stays flat.

STREAMAPP_TEST_FAULT_MINUTES=30 makes it as long as the claim is.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from dataclasses import dataclass
from typing import Final

import psutil
import pytest

from tests.support.fault_run import FaultRun
from tests.support.order_jobs import OrderJob
from tests.support.topics import Countdown
from tests.support.workers import Worker

MINUTES: Final = float(os.environ.get("STREAMAPP_TEST_FAULT_MINUTES", "3"))
RATE = 800.0
SHORTEST, LONGEST = 2.0, 5.0
"""Seconds between two faults."""
COMES_AND_GOES, SLEEPS, WATCHED = "w1", "w2", "w3"
"""The first is killed and restarted, the second is stopped and continued, the third meets their rebalances only."""
ENV = {"STREAMAPP_SESSION_TIMEOUT": "6"}
MORE_RSS_BYTES, MORE_RSS_SHARE = 48 * 2**20, 0.25
"""How much may be added in the second half of the run: what fills a block cache or a heap for good, not what leaks."""
MORE_DESCRIPTORS, MORE_THREADS = 40, 14
"""What fills up once: the 8 threads that wait for rebalances, the files of growing tables; and what is just being replaced. A leak of one at
each fault would come to some 200 in half an hour."""


@dataclass(frozen=True, slots=True)
class Sample:
    rss: int
    descriptors: int
    threads: int


@pytest.mark.timeout(MINUTES * 60 + 900)
def test_workers_that_live_through_it_stay_flat(faulty: OrderJob) -> None:
    faulty.start_ready(COMES_AND_GOES, SLEEPS, WATCHED, **ENV)
    lived = {each: faulty.workers[each] for each in (SLEEPS, WATCHED)}
    samples: dict[str, list[Sample]] = {each: [] for each in lived}
    name = f"long mixed run, {MINUTES:g} minutes"
    with FaultRun(faulty, name, rate=RATE, at_most=round(MINUTES * 60 * RATE * 1.5)) as run:
        run.scenario.command = f"STREAMAPP_TEST_FAULT_MINUTES={MINUTES:g} {run.scenario.command}"
        countdown = Countdown(MINUTES * 60)
        while not countdown.over:
            run.pause_between_faults(SHORTEST, LONGEST)
            _fault(run, faulty.workers[COMES_AND_GOES], lived[SLEEPS])
            for each, worker in lived.items():
                samples[each].append(_sample(worker))
        for each, taken in samples.items():
            early, late = _halves(taken)
            run.scenario.figures[f"{each}, RSS (MiB), descriptors, threads, first half"] = _told(early)
            run.scenario.figures[f"{each}, the same, second half"] = _told(late)
        run.settle()
    for each, taken in samples.items():
        assert faulty.workers[each].lives == 1
        _assert_flat(each, *_halves(taken))


def _fault(run: FaultRun, comes_and_goes: Worker, sleeps: Worker) -> None:
    """One of four."""
    dice = run.rng.random()
    if dice < 0.4:
        run.kill_and_restart(comes_and_goes, **ENV)
    elif dice < 0.6:
        run.scenario.faults += 1
        code = comes_and_goes.stop(60)
        assert code == 0 or run.was_not_up(comes_and_goes.id, code), comes_and_goes.tail()
        run.start(comes_and_goes, **ENV)
    else:
        run.strike(sleeps, signal.SIGSTOP)
        time.sleep(run.rng.choice((0.5, 1.0, 9.0)))  # the fault itself: inside the session, or past it
        sleeps.resume()


def _sample(worker: Worker) -> Sample:
    process = psutil.Process(worker.pid)
    with process.oneshot():
        return Sample(process.memory_info().rss, process.num_fds(), process.num_threads())


def _halves(taken: list[Sample]) -> tuple[Sample, Sample]:
    """Return the medians of the second and of the last quarter: the first is the warming up."""
    quarter = max(1, len(taken) // 4)
    return _median(taken[quarter : 2 * quarter] or taken), _median(taken[-quarter:])


def _median(taken: list[Sample]) -> Sample:
    return Sample(
        round(statistics.median(each.rss for each in taken)),
        round(statistics.median(each.descriptors for each in taken)),
        round(statistics.median(each.threads for each in taken)),
    )


def _told(sample: Sample) -> str:
    return f"{sample.rss / 2**20:.0f}, {sample.descriptors}, {sample.threads}"


def _assert_flat(name: str, early: Sample, late: Sample) -> None:
    assert late.rss <= early.rss + max(MORE_RSS_BYTES, MORE_RSS_SHARE * early.rss), f"{name}: {early} became {late}"
    assert late.descriptors <= early.descriptors + MORE_DESCRIPTORS, f"{name}: {early} became {late}"
    assert late.threads <= early.threads + MORE_THREADS, f"{name}: {early} became {late}"
