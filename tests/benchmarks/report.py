"""What a benchmark found, as tables. What was not measured is unknown, never left blank."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from math import inf
from typing import Final

import confluent_kafka
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.benchmarks.asyncio_alone import awaits_a_second
from tests.benchmarks.contenders import YARDSTICK, Contender, Field
from tests.benchmarks.jobs import AWAIT, Job
from tests.benchmarks.latency import LOADS, Latency
from tests.benchmarks.measure import Figures, Plan
from tests.benchmarks.session import Results
from tests.benchmarks.spread import Spread, ratios
from tests.benchmarks.targets import HELD, NOT_HELD, UNKNOWN, per_cpu_second, targets

PACKAGES: Final = ("streamapp-kafka", "faust-streaming", "confluent-kafka", "rocksdict", "msgspec")
MIB: Final = 2**20


def settings_of(plan: Plan, field: Field, *, rounds: int, seconds: float) -> dict[str, str]:
    """Return settings and versions, to print and to save."""
    settings = {
        "records": f"{plan.records:,}",
        "resent": f"{plan.resent:.0%}",
        "warm-up": f"{plan.warm_up:,}",
        "runs": str(rounds),
        "commit interval": f"{plan.commit_interval:g} s",
        "seconds at each load": f"{seconds:g}",
        "cores": str(os.cpu_count()),
        "system": platform.platform(terse=True),
        "Python": platform.python_version(),
        "librdkafka": confluent_kafka.libversion()[0],
    }
    if any(one.job is AWAIT for one in field.contenders):
        settings["100 awaits of 5 ms at a time by the event loop alone"] = f"{awaits_a_second():,.0f}/s"
    for package in PACKAGES:
        try:
            settings[package] = version(package)
        except PackageNotFoundError:
            settings[package] = "unknown (not installed as a package)"
    return settings | {name: f"({versions})" for name, versions in field.versions.items()}


def show(console: Console, field: Field, results: Results) -> None:
    """Print a table of each job, what was skipped or failed, and the targets."""
    for job in dict.fromkeys(one.job for one in field.contenders):
        mine = [one for one in field.contenders if one.job is job and results.figures.get(one)]
        if mine:
            console.print(_throughput(job, {one: results.figures[one] for one in mine}, results))
        timed = {one: results.latencies[one] for one in mine if results.latencies.get(one)}
        if timed:
            console.print(_latency(job, timed))
    for name, why in field.skipped.items():
        console.print(f"skipped: {name}, {why}", soft_wrap=True)
    for what in results.left_out:
        console.print(f"left out: {what}", soft_wrap=True)
    for failure in results.failures:
        console.print(Text(failure, style="red"), soft_wrap=True)
    console.print(_targets(results))


def _throughput(job: Job, found: Mapping[Contender, list[tuple[int, Figures]]], results: Results) -> Table:
    rounds = max(len(runs) for runs in found.values())
    table = Table(title=f"{job.name}: {job.about}; one worker, median of {rounds} runs ± half their spread", title_justify="left")
    table.add_column("")
    columns = ("records/s", "per CPU s", "CPU, of the loop", "peak MiB", "1st commit", "commit p50", "p99")
    for name in columns:
        table.add_column(name, justify="right")
    base = next((per_cpu_second(runs) for one, runs in found.items() if one.name == YARDSTICK), [])
    for one, runs in found.items():
        cpu = per_cpu_second(runs)
        ratio = ratios(cpu, base)
        commits = next(iter(results.latencies.get(one, [])), None)
        table.add_row(
            one.name,
            str(Spread.of([figures.records_per_second for _, figures in runs])),
            str(Spread.of([value for _, value in cpu])),
            UNKNOWN if ratio is None else f"{ratio.median:.2f}",
            f"{statistics.median(figures.peak_rss_bytes for _, figures in runs) / MIB:,.0f}",
            f"{statistics.median(figures.seconds_to_first_commit for _, figures in runs):.1f} s",
            milliseconds(commits.commit_p50 if commits else None),
            milliseconds(commits.commit_p99 if commits else None),
        )
    return table


def _latency(job: Job, found: Mapping[Contender, list[Latency]]) -> Table:
    title = f"{job.name}: ms from produced to visible (read_committed), p50 / p95 / p99, at a share of the contender's own rate"
    around = max(each.around_cpu_seconds for runs in found.values() for each in runs)
    caption = (
        "* does not keep up with the load   † the generator did not: says nothing of the contender\n"
        f"reader and generator cost up to {around:.1f} s of CPU at a load, on the same cores"
    )
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("")
    table.add_column("own rate", justify="right")
    for load in LOADS:
        table.add_column(f"{load:.0%} load", justify="right")
    for one, each in found.items():
        table.add_row(one.name, f"{each[0].rate / each[0].load:,.0f}/s", *_cells(each))
    return table


def _cells(found: list[Latency]) -> Iterator[str]:
    by_load = {each.load: each for each in found}
    for load in LOADS:
        each = by_load.get(load)
        if each is None:
            yield UNKNOWN
            continue
        values = " / ".join(milliseconds(value).removesuffix(" ms") for value in (each.p50, each.p95, each.p99))
        yield f"{values} †" if each.is_the_generators else values if each.keeps_up else f"{values} *"


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return "never" if seconds == inf else f"{seconds * 1000:,.0f} ms"


def _targets(results: Results) -> Table:
    table = Table(title="Targets: ratios are medians of the runs (lowest to highest)", title_justify="left")
    table.add_column("")
    for name in ("wanted", "measured", ""):
        table.add_column(name, justify="right")
    styles = {HELD: "green", NOT_HELD: "red"}
    for row in targets(results):
        table.add_row(row.what, row.wanted, row.measured, Text(row.verdict, style=styles.get(row.verdict, "yellow")))
    return table
