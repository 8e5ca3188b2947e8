"""`python -m tests.benchmarks`: this project beside a hand-written loop and the floor, on one broker, in one run.

Figures are ratios first: absolute ones depend on the machine, which the broker shares.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import confluent_kafka
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamapp.broker import Broker, BrokerConfig, Profile
from tests.benchmarks.contenders import CONTENDERS, Contender, OutputWrong
from tests.benchmarks.measure import Figures, Plan, run
from tests.support.topics import TookTooLong

PACKAGES = ("streamapp-kafka", "faust-streaming", "confluent-kafka", "rocksdict", "msgspec")
YARDSTICK = "hand-written loop"


@dataclass(frozen=True, slots=True)
class Spread:
    """Median of the runs, and how far they lie apart: (highest - lowest) / median."""

    median: float
    spread: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        median = statistics.median(values)
        return Spread(median, (max(values) - min(values)) / median)

    def __str__(self) -> str:
        return f"{self.median:,.0f} ±{self.spread / 2:.0%}"


@click.command()
@click.option("--job", "jobs", multiple=True, type=click.Choice(["dedupe", "orders"]), help="Default: both.")
@click.option("--only", multiple=True, help="Contenders whose name contains this.")
@click.option("--records", default=400_000, show_default=True)
@click.option("--warm-up", default=40_000, show_default=True, help="Records before the measured ones, in each process.")
@click.option("--resent", default=0.03, show_default=True, help="Share of resent orders.")
@click.option("--runs", default=3, show_default=True)
@click.option("--commit-interval", default=0.2, show_default=True)
@click.option(
    "--broker", help="host:port of a broker to use; its topics orders, orders-priced, … are deleted! Default: one of its own."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Save every run's figures here.")
def main(
    jobs: Sequence[str],
    only: Sequence[str],
    records: int,
    warm_up: int,
    resent: float,
    runs: int,
    commit_interval: float,
    broker: str | None,
    json_file: Path | None,
) -> None:
    """Measure the dedupe job and the order job."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    chosen = [
        one for one in CONTENDERS if (not jobs or one.job.name in jobs) and (not only or any(part in one.name for part in only))
    ]
    with tempfile.TemporaryDirectory(prefix="streamapp-bench-") as temporary, _broker(broker, Path(temporary)) as bootstrap:
        plan = Plan(
            bootstrap=bootstrap,
            home=Path(temporary) / "workers",
            records=records,
            resent=resent,
            warm_up=warm_up,
            commit_interval=commit_interval,
        )
        settings = _settings(plan, runs)
        console.print(", ".join(f"{name} {value}" for name, value in settings.items()), soft_wrap=True)
        results, failures = _measure_all(console, chosen, plan, runs)
    for job in dict.fromkeys(one.job.name for one in chosen):
        console.print(_table(job, {one.name: results[one] for one in chosen if one.job.name == job and results[one]}))
    _compare_stages(console, results)
    for failure in failures:
        console.print(Text(failure, style="red"), soft_wrap=True)
    if json_file is not None:
        found = [{"job": one.job.name, "contender": one.name, "runs": [f.as_json() for f in results[one]]} for one in chosen]
        json_file.write_text(json.dumps({"settings": settings, "failures": failures, "results": found}, indent=2) + "\n")
        console.print(f"saved to {json_file}")
    sys.exit(1 if failures else 0)


def _measure_all(
    console: Console, chosen: Sequence[Contender], plan: Plan, runs: int
) -> tuple[dict[Contender, list[Figures]], list[str]]:
    """Check each contender on a small run, then measure them in turn, so that a slow minute of the machine hits all."""
    results: dict[Contender, list[Figures]] = defaultdict(list)
    failures: list[str] = []
    fit: list[Contender] = []
    small = replace(plan, records=min(20_000, plan.records), warm_up=min(5_000, plan.warm_up))
    for one in chosen:
        try:
            run(one, small, 0, thorough=True)
        except (OutputWrong, TookTooLong, AssertionError) as error:
            failures.append(f"{one.job.name}, {one.name}: not measured, since its output does not hold: {_told(error)}")
            console.print(f"  checked  {one.job.name:<7} {one.name:<20} [red]does not hold[/red]")
        else:
            fit.append(one)
            console.print(f"  checked  {one.job.name:<7} {one.name:<20} output holds")
    for number in range(1, runs + 1):
        for one in fit:
            try:
                figures = run(one, plan, number)
            except (OutputWrong, TookTooLong, AssertionError) as error:
                failures.append(f"{one.job.name}, {one.name}, run {number}: {_told(error)}")
                continue
            results[one].append(figures)
            console.print(
                f"  run {number}/{runs}  {one.job.name:<7} {one.name:<20} {figures.records_per_second:>9,.0f} records/s "
                f"{figures.records_per_cpu_second:>9,.0f} per CPU s {figures.peak_rss_bytes / 2**20:>6,.0f} MiB"
            )
    return results, failures


def _told(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


def _table(job: str, results: dict[str, list[Figures]]) -> Table:
    table = Table(title=f"{job} job, one worker: median of the runs, ± half their spread", title_justify="left")
    table.add_column("")
    for name in ("records/s", "records per CPU s", f"CPU, of the {YARDSTICK}", "peak memory"):
        table.add_column(name, justify="right")
    yardstick = results.get(YARDSTICK)
    base = statistics.median(f.records_per_cpu_second for f in yardstick) if yardstick else None
    for name, runs in results.items():
        cpu = Spread.of([f.records_per_cpu_second for f in runs])
        ratio = f"{cpu.median / base:.0%}" if base else "unknown"
        memory = f"{statistics.median(f.peak_rss_bytes for f in runs) / 2**20:,.0f} MiB"
        table.add_row(name, str(Spread.of([f.records_per_second for f in runs])), str(cpu), ratio, memory)
    return table


def _compare_stages(console: Console, results: dict[Contender, list[Figures]]) -> None:
    """Say what a record of either stage of the order job costs, by the yardstick of the dedupe job."""
    found = {(one.job.name, one.name): runs for one, runs in results.items() if runs}
    yardstick, ours = found.get(("dedupe", YARDSTICK)), found.get(("orders", "streamapp"))
    if yardstick and ours:
        base = statistics.median(each.records_per_cpu_second for each in yardstick)
        stages = statistics.median(each.stage_records_per_cpu_second for each in ours)
        console.print(
            f"order job, records of both stages per CPU s: {stages:,.0f}, {stages / base:.0%} of the dedupe job's {YARDSTICK}"
        )


def _settings(plan: Plan, runs: int) -> dict[str, str]:
    settings = {
        "records": f"{plan.records:,}",
        "resent": f"{plan.resent:.0%}",
        "warm-up": f"{plan.warm_up:,}",
        "runs": str(runs),
        "commit interval": f"{plan.commit_interval:g} s",
        "cores": str(os.cpu_count()),
        "Python": platform.python_version(),
        "librdkafka": confluent_kafka.libversion()[0],
    }
    for package in PACKAGES:
        try:
            settings[package] = version(package)
        except PackageNotFoundError:
            settings[package] = "unknown (not installed as a package)"
    return settings


@contextmanager
def _broker(named: str | None, home: Path) -> Iterator[str]:
    if named is not None:
        yield named
        return
    with Broker(BrokerConfig(data_dir=home / "broker", port=0, profile=Profile.BENCH), die_with_parent=True) as broker:
        yield broker.address


if __name__ == "__main__":
    main()
