"""What issue and design ask for, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.contenders import STREAMAPP, YARDSTICK
from tests.benchmarks.jobs import AWAIT, AWAIT_REMOVED, DEDUPE, ORDERS
from tests.benchmarks.measure import Figures
from tests.benchmarks.session import Results
from tests.benchmarks.spread import ratios

CALLS_A_SECOND: Final = 100 / 0.005
"""What 100 calls of 5 ms at a time can come to."""
HELD: Final = "held"
NOT_HELD: Final = "not held"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    wanted: str
    measured: str
    verdict: str


def targets(results: Results) -> list[Target]:
    """Return each target; unknown where what it needs was not measured."""
    ours = per_cpu_second(results.of(DEDUPE.name, STREAMAPP))
    rows = [
        _ratio(f"dedupe, records per CPU s, by {name}", least, ours, per_cpu_second(results.of(DEDUPE.name, name)))
        for name, least in (
            (YARDSTICK, 0.85),
            (_named(results, "kafka streams"), 3.0),
            (_named(results, "quix"), 7.0),
            (_named(results, "faust"), 70.0),
        )
    ]
    stages = [(number, figures.stage_records_per_cpu_second) for number, figures in results.of(ORDERS.name, STREAMAPP)]
    yardstick = per_cpu_second(results.of(DEDUPE.name, YARDSTICK))
    rows.append(_ratio(f"orders, stage-records per CPU s, by dedupe's {YARDSTICK}", 0.55, stages, yardstick))
    rows += _quick(results)
    rows.append(_awaits(results))
    return rows


def per_cpu_second(runs: Sequence[tuple[int, Figures]]) -> list[tuple[int, float]]:
    return [(number, figures.records_per_cpu_second) for number, figures in runs]


def _named(results: Results, part: str) -> str:
    """Return the name of a guest that took part, else the part of it that is known."""
    return next((one.name for one in results.figures if part in one.name.lower()), part)


def _ratio(what: str, least: float, ours: Sequence[tuple[int, float]], theirs: Sequence[tuple[int, float]]) -> Target:
    found = ratios(ours, theirs)
    wanted = f"≥ {least:g}"
    if found is None:
        return Target(what, wanted, UNKNOWN, UNKNOWN)
    measured = f"{found.median:.2f} ({found.low:.2f} to {found.high:.2f})"
    return Target(what, wanted, measured, HELD if found.median >= least else NOT_HELD)


def _quick(results: Results) -> list[Target]:
    rows: list[Target] = []
    for name, most in (("p50", 0.1), ("p99", 0.15)):
        what, wanted = f"dedupe, end to end at 10 % load, commits every 0.1 s, {name}", f"≤ {most * 1000:g} ms"
        if not results.quick:
            rows.append(Target(what, wanted, UNKNOWN, UNKNOWN))
            continue
        (found,) = results.quick
        seconds = found.p50 if name == "p50" else found.p99
        rows.append(Target(what, wanted, f"{seconds * 1000:,.0f} ms", HELD if seconds <= most else NOT_HELD))
    return rows


def _awaits(results: Results) -> Target:
    awaited, removed = (
        [(number, figures.records_per_second) for number, figures in results.of(job.name, STREAMAPP)]
        for job in (AWAIT, AWAIT_REMOVED)
    )
    what = "100 awaits of 5 ms at a time, records/s, by the lower of 20,000 and the rate without them"
    return _ratio(what, 0.9, awaited, [(number, min(CALLS_A_SECOND, rate)) for number, rate in removed])
