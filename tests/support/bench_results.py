"""Results of a benchmark that nobody ran."""

from __future__ import annotations

from tests.benchmarks.contenders import Contender
from tests.benchmarks.jobs import JOBS
from tests.benchmarks.latency import Latency
from tests.benchmarks.measure import Figures


def contender(job: str, name: str) -> Contender:
    return Contender(name, (), JOBS[job])


def figures(per_cpu_second: float = 50_000.0, *, rate: float = 40_000.0, stages: float = 0.0) -> Figures:
    return Figures(100_000, 100_000 / rate, 100_000 / per_cpu_second, rate, per_cpu_second, 80 * 2**20, stages, 3.0)


def runs(*per_cpu_second: float) -> list[tuple[int, Figures]]:
    return [(number, figures(each)) for number, each in enumerate(per_cpu_second, 1)]


def rates(*per_second: float) -> list[tuple[int, Figures]]:
    return [(number, figures(rate=each)) for number, each in enumerate(per_second, 1)]


def latency(
    load: float = 0.1, *, p50: float = 0.05, p99: float = 0.14, keeps_up: bool = True, generator_late: float = 0.001
) -> Latency:
    return Latency(
        load=load,
        rate=load * 40_000,
        records=16_000,
        commit_interval=0.1,
        p50=p50,
        p95=p99,
        p99=p99,
        commit_p50=0.06,
        commit_p99=None,
        keeps_up=keeps_up,
        generator_late=generator_late,
        around_cpu_seconds=0.4,
    )
