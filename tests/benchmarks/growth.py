"""`make growth`: what a record costs as tables, partitions and workers grow, how fast a table comes back, and whether memory stays flat.

    python -m tests.benchmarks.growth [--only table] [--all]

`ALL=1` or `--all` goes up to ten million keys and records. One run per point: look at the order of magnitude and the shape of the curve;
`--runs` shows how far runs lie apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from streamapp.broker import Broker, BrokerConfig, Profile
from tests.benchmarks import growth_plot, restore
from tests.benchmarks.growth_run import Cost, Sample, Shape, measure

OUTPUT: Final = Path("build/bench/growth.json")
MILLION: Final = 1_000_000
RSS_LIMIT: Final = 250 * 1_000_000
"""What a worker with a million keys may hold (issue: bytes of RSS)."""
MEMORY_BUDGET: Final = 32
"""MiB of RocksDB, where memory is watched: full after a million new keys or two, so that what grows afterwards is something else. The
default of 128 MiB is not full after ten million."""
FLAT: Final = 2 * MILLION
"""Bytes that memory may grow by in a million records and be called flat: two for each record."""
FILLED: Final = 5 * MILLION
"""Records from which memory is judged: before, RocksDB's budget fills."""
RESTORE_TARGET: Final = 300_000
"""Changelog records a second."""


@dataclass(frozen=True, slots=True)
class Point:
    """One place of a curve, the median of its runs."""

    at: int
    value: float
    lowest: float
    highest: float
    peak_rss_bytes: int | None = None

    @staticmethod
    def of(at: int, values: Sequence[float], peak_rss_bytes: int | None = None) -> Point:
        return Point(at, statistics.median(values), min(values), max(values), peak_rss_bytes)


@dataclass(frozen=True, slots=True)
class Curve:
    """How one thing changes with another."""

    name: str
    of: str
    """What grows."""
    unit: str
    points: list[Point]


@dataclass(frozen=True, slots=True)
class Series:
    """A curve of the dedupe job to measure: what grows, and the shape of each point."""

    name: str
    of: str
    shapes: dict[int, Shape]


def series(*, everything: bool, records: int) -> list[Series]:
    """Return what is measured of a record's cost."""
    plain = Shape(records=records, chunk=records)
    keys = [10_000, MILLION, *([10 * MILLION] if everything else [])]
    return [
        Series("table", "keys in the table", {count: replace(plain, keys=count) for count in keys}),
        Series("partitions", "partitions", {count: replace(plain, partitions=count) for count in (1, 8, 64)}),
        Series("workers", "workers", {count: replace(plain, workers=count) for count in (1, 2)}),
    ]


NAMES: Final = ("table", "partitions", "workers", "restore", "memory")


@click.command()
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Default: all of them.")
@click.option("--all", "everything", is_flag=True, envvar="ALL", help="Up to ten million keys and records: a quarter of an hour.")
@click.option("--records", default=100_000, show_default=True, help="Measured records of each point.")
@click.option("--memory-records", type=int, help="Records of the memory curve. Default: a million; with --all ten.")
@click.option("--memory-budget", default=MEMORY_BUDGET, show_default=True, help="MiB for RocksDB in the memory curve.")
@click.option("--runs", default=1, show_default=True)
@click.option("--json", "json_file", default=OUTPUT, show_default=True, type=click.Path(path_type=Path))
def main(
    only: Sequence[str],
    everything: bool,
    records: int,
    memory_records: int | None,
    memory_budget: int,
    runs: int,
    json_file: Path,
) -> None:
    """Measure growth."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    wanted = only or NAMES
    samples: list[Sample] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamapp-growth-") as temporary:
        home = Path(temporary)
        with Broker(BrokerConfig(data_dir=home / "broker", port=0, profile=Profile.BENCH), die_with_parent=True) as broker:

            def run(shape: Shape) -> Cost:
                return measure(broker.address, home / "workers", shape)

            chosen = [each for each in series(everything=everything, records=records) if each.name in wanted]
            curves = [_cost_curve(console, each, run, runs) for each in chosen]
            if "restore" in wanted:
                counts = [MILLION, *([10 * MILLION] if everything else [])]
                curves.append(_restore_curve(console, broker.address, home, counts, runs))
            if "memory" in wanted:
                count = memory_records or (10 * MILLION if everything else MILLION)
                console.print(f"memory: {count:,} records, sampled every 100,000, {memory_budget} MiB for RocksDB …")
                samples = run(Shape(records=count, settings={"STREAMAPP_ROCKSDB_MEMORY_BYTES": str(memory_budget << 20)})).samples
    for curve in curves:
        console.print(table(curve))
    for line in verdicts(curves, samples):
        console.print(line)
    found = {"curves": [asdict(curve) for curve in curves], "memory": [asdict(sample) for sample in samples]}
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(found, indent=2) + "\n")
    plots = growth_plot.draw(found, json_file.parent)
    console.print(f"saved to {json_file}, {', '.join(plot.name for plot in plots)}; {time.monotonic() - began:,.0f} s in all")


def _cost_curve(console: Console, each: Series, run: Callable[[Shape], Cost], runs: int) -> Curve:
    points: list[Point] = []
    for at, shape in each.shapes.items():
        costs: list[Cost] = []
        for number in range(1, runs + 1):
            costs.append(run(shape))
            console.print(
                f"{each.name}: {at:,} {each.of}, run {number}/{runs}: {costs[-1].microseconds:.2f} µs of CPU a record, "
                f"{costs[-1].records_per_second:,.0f} records/s, ready after {costs[-1].ready_seconds:.1f} s, "
                f"{costs[-1].peak_rss_bytes / 1e6:,.0f} MB at most"
            )
        points.append(Point.of(at, [cost.microseconds for cost in costs], max(cost.peak_rss_bytes for cost in costs)))
    return Curve(each.name, each.of, "CPU µs a record", points)


def _restore_curve(console: Console, bootstrap: str, home: Path, counts: Sequence[int], runs: int) -> Curve:
    points: list[Point] = []
    for count in counts:
        rates: list[float] = []
        for number in range(1, runs + 1):
            console.print(f"restore: {count:,} keys, run {number}/{runs} …")
            given = argparse.Namespace(records=count, partitions=8, memory=False)
            rates.append(float(restore.measure(bootstrap, home / f"restore-{count}-{number}", given)["records/s"]))
        points.append(Point.of(count, rates))
    return Curve("restore", "keys in the table", "changelog records/s", points)


def table(curve: Curve) -> Table:
    shown = Table(title=f"{curve.name}: {curve.unit}", title_justify="left")
    for name in (curve.of, curve.unit, "lowest", "highest", "of the first", "peak memory"):
        shown.add_column(name, justify="right")
    places = 2 if curve.unit.startswith("CPU") else 0
    for point in curve.points:
        memory = "" if point.peak_rss_bytes is None else f"{point.peak_rss_bytes / 1e6:,.0f} MB"
        figures = [f"{value:,.{places}f}" for value in (point.value, point.lowest, point.highest)]
        shown.add_row(f"{point.at:,}", *figures, f"{point.value / curve.points[0].value:.2f}", memory)
    return shown


def verdicts(curves: Sequence[Curve], samples: Sequence[Sample]) -> Iterator[str]:
    """Yield what was promised beside what was found."""
    for curve in curves:
        for point in curve.points:
            if curve.name == "table" and point.at == MILLION and point.peak_rss_bytes is not None:
                held = "held" if point.peak_rss_bytes <= RSS_LIMIT else "NOT HELD"
                yield f"memory with a million keys: {point.peak_rss_bytes / 1e6:,.0f} MB, promised {RSS_LIMIT / 1e6:,.0f}: {held}"
            if curve.name == "restore":
                held = "held" if point.value >= RESTORE_TARGET else "NOT HELD"
                yield f"restore of {point.at:,} keys: {point.value:,.0f} records/s, promised {RESTORE_TARGET:,}: {held}"
    if len(samples) >= 4:
        grown = slope(samples[len(samples) // 2 :])
        held = "held" if grown <= FLAT else "NOT HELD"
        yield (
            f"memory over {samples[-1].records:,} records: {samples[0].rss_bytes / 1e6:,.0f} MB at first, {samples[-1].rss_bytes / 1e6:,.0f} MB at last, "
            f"{grown / 1e6:+,.1f} MB a million records in the second half, promised {FLAT / 1e6:g} at most: "
            f"{held if samples[-1].records >= FILLED else 'unknown, too few records'}"
        )


def slope(samples: Sequence[Sample]) -> float:
    """Return by how many bytes memory grows in a million records: the straight line that fits best."""
    if len(samples) < 2:
        return 0.0
    fit = statistics.linear_regression([sample.records for sample in samples], [sample.rss_bytes for sample in samples])
    return fit.slope * MILLION


if __name__ == "__main__":
    main()
