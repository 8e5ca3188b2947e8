"""One measured run: start the process, warm it, give it everything at once, and count until all is committed."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from tests.benchmarks.checking import Due, require_right
from tests.benchmarks.contenders import Contender
from tests.benchmarks.jobs import Job
from tests.benchmarks.processes import running
from tests.benchmarks.progress import watching
from tests.benchmarks.workload import Load, forget_topics, fresh_topics, some_orders
from tests.support.orders import Fed, feed_all
from tests.support.topics import end_offsets

WARM_UP_IDS: Final = 10_000_000
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds in which the kernel counts a process's time: a run that takes less cannot be told from one that takes this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    bootstrap: str
    home: Path
    records: int
    resent: float
    warm_up: int
    """Records before the measured ones, in the same process: caches, JIT of the broker, first rebalance."""
    commit_interval: float = 0.2
    deadline: float = 120.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run, between the moment when the load became visible to an idle, warm worker and its last commit."""

    records: int
    seconds: float
    cpu_seconds: float
    """Of the worker's process and its children, all threads, in that time."""
    records_per_second: float
    records_per_cpu_second: float
    peak_rss_bytes: int
    """Of the processes' whole lives."""
    stage_records_per_cpu_second: float
    """Records of all stages: an order that is priced makes one more, for the second stage."""
    seconds_to_first_commit: float
    """From the start of the process to the first offset of its group that is seen; the warm-up's records were waiting."""

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def run(contender: Contender, plan: Plan, number: int, *, thorough: bool = False) -> Figures:
    """Measure `contender` once on fresh topics and check its output. Raises OutputWrong, TookTooLong."""
    app_id = new_app_id(contender, number)
    job, count = contender.job, contender.share(plan.records)
    warm_up = min(plan.warm_up, contender.share(plan.warm_up))
    given = _input(number, warm_up, count, plan.resent, job.value_bytes)
    fresh_topics(plan.bootstrap, changelog_topics(app_id, job))
    feed_all(plan.bootstrap, given.warm)
    group = contender.group(app_id)
    ends = end_offsets(plan.bootstrap, "orders")
    started = time.monotonic()
    with (
        running(
            contender, bootstrap=plan.bootstrap, app_id=app_id, home=plan.home, commit_interval=plan.commit_interval
        ) as process,
        watching(plan.bootstrap, group) as watch,
    ):
        first_commit = watch.until_first_commit("orders", process, plan.deadline) - started
        watch.until_done(job.sources, ends, process, plan.deadline)
        load = Load(plan.bootstrap)
        load.put(given.main)
        ends = watch.ends("orders")
        cpu, began = process.cpu_seconds(), time.monotonic()
        load.release()
        watch.until_done(job.sources, ends, process, plan.deadline)
        seconds, cpu, rss = time.monotonic() - began, process.cpu_seconds() - cpu, process.peak_rss_bytes()
    cpu = max(cpu, TICK)
    require_right(plan.bootstrap, contender, given.due)
    if thorough and contender.thorough is not None:
        contender.thorough(plan.bootstrap, app_id)
    forget_topics(plan.bootstrap, app_id)
    staged = (count + (len(job.sources) - 1) * given.different) / cpu
    return Figures(count, seconds, cpu, count / seconds, count / cpu, rss, staged, first_commit)


@dataclass(frozen=True, slots=True)
class _Input:
    warm: Sequence[Fed]
    main: Sequence[Fed]
    due: Due
    different: int
    """Orders among the measured ones, resent ones not counted again."""


@lru_cache(maxsize=1)
def _input(number: int, warm_up: int, count: int, resent: float, value_bytes: int) -> _Input:
    """Kept for the next contender: one round gives all of them the same records."""
    warm = list(some_orders(warm_up, seed=-number, resent=resent, first_id=WARM_UP_IDS, value_bytes=value_bytes))
    main = list(some_orders(count, seed=number, resent=resent, value_bytes=value_bytes))
    return _Input(warm, main, Due.of([*warm, *main]), len({fed.value for fed in main}))


def new_app_id(contender: Contender, number: int) -> str:
    return f"bench-{contender.job.name}-{contender.slug}-{number}-{time.time_ns() % 10**9}"


def changelog_topics(app_id: str, job: Job) -> dict[str, int]:
    return {f"{app_id}-{table}-changelog": count for table, count in job.tables}
