"""`python -m tests.benchmarks`: this project beside a hand-written loop, the floor and other frameworks, on one broker, in one run.

Figures are ratios first: absolute ones depend on the machine, which the broker shares.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from streamapp.broker import Broker, BrokerConfig, Profile
from tests.benchmarks.contenders import chosen_jobs, field_of
from tests.benchmarks.jobs import JOBS
from tests.benchmarks.measure import Plan
from tests.benchmarks.report import settings_of, show
from tests.benchmarks.saving import save
from tests.benchmarks.session import Session
from tests.support.workers import ROOT

WIDTH: Final = 130
"""Where the output is no terminal."""
DAILY_RECORDS: Final = 200_000
ALL_RECORDS: Final = 400_000
DAILY_MINUTES: Final = 14.5
"""`make bench` ends within 15 minutes, installations apart."""


@click.command()
@click.option("--job", "jobs", multiple=True, type=click.Choice(list(JOBS)), help="Default: dedupe and orders.")
@click.option("--all", "everything", is_flag=True, envvar="ALL", help="All jobs, without a limit of time.")
@click.option("--only", multiple=True, help="Contenders whose name contains this.")
@click.option("--records", type=click.IntRange(min=1_000), help=f"Default: {DAILY_RECORDS}; with --all {ALL_RECORDS}.")
@click.option(
    "--warm-up",
    default=40_000,
    show_default=True,
    type=click.IntRange(min=100),
    help="Records before the measured ones, in each process.",
)
@click.option("--resent", default=0.03, show_default=True, help="Share of resent orders.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--commit-interval", default=0.2, show_default=True)
@click.option(
    "--seconds", default=4.0, show_default=True, help="How long each load lasts where latency is measured; 0: not at all."
)
@click.option(
    "--minutes", type=float, help=f"What is not begun by then is left out. Default: {DAILY_MINUTES}; with --all no limit."
)
@click.option(
    "--broker", help="host:port of a broker to use; its topics orders, orders-priced, … are deleted! Default: one of its own."
)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench", help="Folder for JSON and plot.")
def main(
    *,
    jobs: Sequence[str],
    everything: bool,
    only: Sequence[str],
    records: int | None,
    warm_up: int,
    resent: float,
    runs: int,
    commit_interval: float,
    seconds: float,
    minutes: float | None,
    broker: str | None,
    out: Path,
) -> None:
    """Measure contenders side by side; exit 1 where an output was wrong or a step failed."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    field = field_of(chosen_jobs(jobs, everything=everything), only, console)
    budget = minutes if minutes is not None or everything else DAILY_MINUTES
    with tempfile.TemporaryDirectory(prefix="streamapp-bench-") as temporary, _broker(broker, Path(temporary)) as bootstrap:
        count = records or (ALL_RECORDS if everything else DAILY_RECORDS)
        plan = Plan(
            bootstrap=bootstrap,
            home=Path(temporary) / "workers",
            records=count,
            # A run may be two orders of magnitude slower than it should before it is given up.
            deadline=max(120.0, count / 500),
            resent=resent,
            warm_up=warm_up,
            commit_interval=commit_interval,
        )
        settings = settings_of(plan, field, rounds=runs, seconds=seconds)
        console.print(", ".join(f"{name} {value}" for name, value in settings.items()), soft_wrap=True)
        session = Session(
            console, plan, field.contenders, rounds=runs, seconds=seconds, budget=None if budget is None else budget * 60
        )
        results = session.play()
    show(console, field, results)
    for path in save(out, time.strftime("%Y-%m-%dT%H-%M-%S"), settings, field, results):
        console.print(f"saved to {path}", soft_wrap=True)
    sys.exit(1 if results.failures else 0)


@contextmanager
def _broker(named: str | None, home: Path) -> Iterator[str]:
    if named is not None:
        yield named
        return
    with Broker(BrokerConfig(data_dir=home / "broker", port=0, profile=Profile.BENCH), die_with_parent=True) as broker:
        yield broker.address


if __name__ == "__main__":
    main()
