"""A benchmark from its first check to its last latency: what is done in which order, and what it found."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from confluent_kafka import KafkaException
from rich.console import Console

from tests.benchmarks.contenders import STREAMAPP, Contender
from tests.benchmarks.jobs import DEDUPE
from tests.benchmarks.latency import LOADS, Latency, latencies
from tests.benchmarks.measure import Figures, Plan, run

UNKNOWN_STEP: Final = 20.0
"""Seconds that a step is taken to last before one like it was done."""
QUICK: Final = 0.1
"""Seconds of the commit interval at which the latency target is set."""


class Kind(Enum):
    CHECK = "check"
    RUN = "run"
    LATENCY = "latency"
    QUICK = "quick"
    """Latency at a tenth of the load, with the target's commit interval."""


@dataclass(frozen=True, slots=True)
class Step:
    kind: Kind
    contender: Contender
    round: int = 0


@dataclass(slots=True)
class Results:
    figures: dict[Contender, list[tuple[int, Figures]]] = field(default_factory=dict)
    """With the number of the round, since ratios are taken within one."""
    latencies: dict[Contender, list[Latency]] = field(default_factory=dict)
    quick: list[Latency] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def of(self, job: str, name: str) -> list[tuple[int, Figures]]:
        """Return the runs of a contender, none where it was not measured."""
        return next((runs for one, runs in self.figures.items() if (one.job.name, one.name) == (job, name)), [])


def steps_of(contenders: Sequence[Contender], rounds: int, *, with_latency: bool) -> list[Step]:
    """Return what to do: a check each; then round by round, so that a slow minute of the machine hits all; then latencies.

    What is left out when the time is over comes last: the latencies of guests.
    """
    steps = [Step(Kind.CHECK, one) for one in contenders]
    steps += [Step(Kind.RUN, one, number) for number in range(1, rounds + 1) for one in contenders]
    if with_latency:
        ours = [one for one in contenders if one.name.startswith(STREAMAPP)]
        steps += [Step(Kind.QUICK, one) for one in ours if one.name == STREAMAPP and one.job is DEDUPE]
        steps += [Step(Kind.LATENCY, one) for one in [*ours, *(one for one in contenders if one not in ours)]]
    return steps


def expected_seconds(step: Step, done: Sequence[tuple[Step, float]]) -> float:
    """Return what a step will take: as the same one of this contender did, else as others of its kind."""
    alike = [took for each, took in done if each.kind is step.kind]
    same = [took for each, took in done if each.kind is step.kind and each.contender is step.contender]
    return statistics.mean(same or alike or [UNKNOWN_STEP])


class Session:
    def __init__(
        self, console: Console, plan: Plan, contenders: Sequence[Contender], *, rounds: int, seconds: float, budget: float | None
    ) -> None:
        """`seconds`: how long each load lasts where latency is measured, 0 for none. `budget`: seconds in all, None: no limit."""
        self._console, self._plan, self._rounds, self._seconds, self._budget = console, plan, rounds, seconds, budget
        self._steps = steps_of(contenders, rounds, with_latency=seconds > 0)
        self._unfit: set[Contender] = set()
        self.results = Results()

    def play(self) -> Results:
        """Do every step for which there is time; a contender whose output is wrong is not measured. Ctrl-C ends it in order."""
        started = time.monotonic()
        done: list[tuple[Step, float]] = []
        for number, step in enumerate(self._steps, 1):
            what = self._named(step)
            began = time.monotonic()
            if step.contender in self._unfit:
                continue
            if self._budget is not None and began - started + expected_seconds(step, done) > self._budget:
                self.results.left_out.append(f"{what} (the time is over)")
                continue
            try:
                with self._console.status(f"{number}/{len(self._steps)}  {what} …"):
                    told = self._take(step)
            except KeyboardInterrupt:
                self.results.left_out += [f"{self._named(each)} (stopped)" for each in self._steps[number - 1 :]]
                break
            done.append((step, time.monotonic() - began))
            left = self._left(number, done, time.monotonic() - started)
            self._console.print(f"{number:>4}/{len(self._steps)}  {what}: {told}  [dim]({left / 60:.1f} min left)[/dim]")
        return self.results

    def _left(self, taken: int, done: Sequence[tuple[Step, float]], elapsed: float) -> float:
        left = sum(expected_seconds(each, done) for each in self._steps[taken:] if each.contender not in self._unfit)
        return left if self._budget is None else min(left, max(0.0, self._budget - elapsed))

    def _named(self, step: Step) -> str:
        kinds = {
            Kind.CHECK: "check",
            Kind.RUN: f"run {step.round}/{self._rounds}",
            Kind.LATENCY: "latency",
            Kind.QUICK: f"latency, commits every {QUICK:g} s",
        }
        return f"{kinds[step.kind]}, {step.contender.job.name}, {step.contender.name}"

    def _take(self, step: Step) -> str:
        try:
            return self._TAKE[step.kind](self, step)
        except (AssertionError, KafkaException) as error:  # OutputWrong, TookTooLong, a worker that ended
            self.results.failures.append(f"{self._named(step)}: {_told(error)}")
            if step.kind is Kind.CHECK:
                self._unfit.add(step.contender)
                return "[red]does not hold, so it is not measured[/red]"
            return "[red]failed[/red]"

    def _check(self, step: Step) -> str:
        small = replace(self._plan, records=min(20_000, self._plan.records), warm_up=min(5_000, self._plan.warm_up))
        run(step.contender, small, 0, thorough=True)
        return "output holds"

    def _run(self, step: Step) -> str:
        figures = run(step.contender, self._plan, step.round)
        self.results.figures.setdefault(step.contender, []).append((step.round, figures))
        return (
            f"{figures.records_per_second:,.0f} records/s, {figures.records_per_cpu_second:,.0f} per CPU s, "
            f"{figures.peak_rss_bytes / 2**20:,.0f} MiB"
        )

    def _latency(self, step: Step) -> str:
        found = self._latencies(step.contender, self._plan, LOADS)
        self.results.latencies[step.contender] = found
        return ", ".join(f"{each.load:.0%}: p99 {each.p99 * 1000:,.0f} ms" for each in found) or "no rate was measured"

    def _quick(self, step: Step) -> str:
        found = self._latencies(step.contender, replace(self._plan, commit_interval=QUICK), LOADS[:1])
        self.results.quick = found
        return (
            ", ".join(f"p50 {each.p50 * 1000:,.0f} ms, p99 {each.p99 * 1000:,.0f} ms" for each in found) or "no rate was measured"
        )

    def _latencies(self, contender: Contender, plan: Plan, loads: Sequence[float]) -> list[Latency]:
        runs = self.results.figures.get(contender)
        if not runs:
            return []
        rate = statistics.median(figures.records_per_second for _, figures in runs)
        return latencies(contender, plan, rate, seconds=self._seconds, loads=loads)

    _TAKE: Final[dict[Kind, Callable[[Session, Step], str]]] = {
        Kind.CHECK: _check,
        Kind.RUN: _run,
        Kind.LATENCY: _latency,
        Kind.QUICK: _quick,
    }


def _told(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", [])])
