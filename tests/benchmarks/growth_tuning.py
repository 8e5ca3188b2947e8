"""What the settings that one tunes cost, a run each beside the defaults: `python -m tests.benchmarks.growth_tuning [--only commit]`.

CPU and memory only: what a commit interval does to latency is `make bench`'s to say.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from streamapp.broker import Broker, BrokerConfig, Profile
from tests.benchmarks.growth_run import Cost, Shape, measure

OUTPUT: Final = Path("build/bench/tuning.json")
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting, the values to try, and how many keys the table has."""

    variable: str
    values: tuple[str, ...]
    default: str
    keys: int = 10_000


KNOBS: Final = {
    "commit": Knob("STREAMAPP_COMMIT_INTERVAL", ("0.05", "0.1", "0.2", "1"), "0.2"),
    "linger": Knob("STREAMAPP_PRODUCER_LINGER", ("0", "0.01", "0.05"), "0.01"),
    "compression": Knob("STREAMAPP_PRODUCER_COMPRESSION", ("none", "lz4", "zstd"), "lz4"),
    "memory": Knob(
        "STREAMAPP_ROCKSDB_MEMORY_BYTES", tuple(str(size * MIB) for size in (16, 64, 128, 256)), str(128 * MIB), 1_000_000
    ),
}


@click.command()
@click.option("--only", multiple=True, type=click.Choice([*KNOBS]), help="Default: all of them.")
@click.option("--records", default=100_000, show_default=True)
@click.option("--json", "json_file", default=OUTPUT, show_default=True, type=click.Path(path_type=Path))
def main(only: Sequence[str], records: int, json_file: Path) -> None:
    """Measure the dedupe job with one setting after the other."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="streamapp-tuning-") as temporary:
        home = Path(temporary)
        with Broker(BrokerConfig(data_dir=home / "broker", port=0, profile=Profile.BENCH), die_with_parent=True) as broker:
            for name in only or KNOBS:
                knob = KNOBS[name]
                costs: dict[str, Cost] = {}
                for value in knob.values:
                    console.print(f"{knob.variable}={value} …")
                    shape = Shape(records=records, chunk=records, keys=knob.keys, settings={knob.variable: value})
                    costs[value] = measure(broker.address, home / "workers", shape)
                console.print(table(knob, costs))
                found += [as_json(knob, value, cost) for value, cost in costs.items()]
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"saved to {json_file}")


def table(knob: Knob, costs: dict[str, Cost]) -> Table:
    shown = Table(title=f"{knob.variable}, {knob.keys:,} keys in the table", title_justify="left")
    for name in ("value", "CPU µs a record", "of the default", "peak memory"):
        shown.add_column(name, justify="right")
    base = costs[knob.default].microseconds
    for value, cost in costs.items():
        memory = f"{cost.peak_rss_bytes / 1e6:,.0f} MB"
        shown.add_row(value, f"{cost.microseconds:.2f}", f"{cost.microseconds / base:.2f}", memory)
    return shown


def as_json(knob: Knob, value: str, cost: Cost) -> dict[str, object]:
    return {
        "variable": knob.variable,
        "value": value,
        "keys": knob.keys,
        "microseconds": round(cost.microseconds, 3),
        "records_per_second": round(cost.records_per_second),
        "peak_rss_bytes": cost.peak_rss_bytes,
    }


if __name__ == "__main__":
    main()
