"""`make audit`: kill workers of the order processor under load for MINUTES, then hold everything against the contract.

Exit code 0 only if nothing was violated. A broker of its own on 127.0.0.1; all that it starts and writes is gone afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamapp.broker import Broker, BrokerConfig, BrokerError, Profile
from tests.support.evidence import UNKNOWN, Scenario, percentile
from tests.support.fault_run import SEED, FaultRun, seed_of
from tests.support.order_jobs import OrderJob
from tests.support.topics import TookTooLong

MINUTES: Final = "MINUTES"
FOR_MINUTES: Final = 5.0
RATE: Final = 1_000.0
"""Orders a second."""
SHORTEST, LONGEST = 0.2, 2.0
"""Seconds between a kill and the next, besides the wait for a victim that is at work."""
IDS: Final = ("w1", "w2", "w3")
LINE_EVERY: Final = 10.0
"""Seconds between two lines where there is no terminal to draw on."""


class Display:
    """Elapsed, records, kills, rate, time left: drawn on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, lasts: float) -> None:
        self._console, self._lasts = console, lasts
        self._began = time.monotonic()
        self._live: Live | None = None
        self._next = 0.0

    @contextmanager
    def drawing(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=5) as self._live:
            yield
        self._live = None

    @property
    def left(self) -> float:
        return self._lasts - (time.monotonic() - self._began)

    def show(self, run: FaultRun) -> None:
        now = time.monotonic()
        elapsed = now - self._began
        text = (
            f"{elapsed:5.0f} s, {run.load.fed:>9,} records fed, {run.scenario.kills:>4} kills, "
            f"{run.load.fed / max(elapsed, 0.1):>6,.0f} records/s, {max(0.0, self.left):4.0f} s left"
        )
        if self._live is not None:
            self._live.update(Text(text))
        elif now >= self._next:
            self._next = now + LINE_EVERY
            self._console.print(text)


def main() -> int:
    """Run the audit and return the exit code."""
    console = Console(width=110, highlight=False)
    minutes = _minutes()
    home = Path(tempfile.mkdtemp(prefix="streamapp-audit-"))
    signal.signal(signal.SIGTERM, _interrupt)  # it ends like a Ctrl-C: through the same cleaning up
    console.print(
        f"A broker, three workers, {RATE:,.0f} orders a second and a SIGKILL every {SHORTEST}–{LONGEST} s for {minutes:g} min"
    )
    broker = Broker(BrokerConfig(data_dir=home / "broker", port=0, profile=Profile.TEST), die_with_parent=True)
    try:
        broker.start()
        with OrderJob(broker.address, home / "workers") as job:
            return _audit(job, console, minutes)
    except KeyboardInterrupt:
        console.print("[yellow]interrupted; cleaning up[/]")
        return 130
    except (TookTooLong, BrokerError) as error:
        console.print(Text(f"the audit failed: {error}", style="red"))
        return 1
    finally:
        broker.stop()
        shutil.rmtree(home, ignore_errors=True)


def _audit(job: OrderJob, console: Console, minutes: float) -> int:
    name = f"make audit, {minutes:g} minutes"
    job.start_ready(*IDS)
    display = Display(console, minutes * 60)
    # Room for what a machine twice as quick as planned would feed: the time ends the load, not the count.
    with FaultRun(job, name, rate=RATE, at_most=round(minutes * 60 * RATE * 2) + 1, seed=seed_of(name)) as run:
        run.scenario.command = f"{SEED}={run.scenario.seed} MINUTES={minutes:g} make audit"
        run.while_waiting = lambda: display.show(run)
        with display.drawing():
            while display.left > 0:
                run.pause_between_faults(SHORTEST, LONGEST)
                run.kill_one_of(IDS)
        console.print("Load and kills have ended; waiting for the workers, then checking what is in the topics")
        failure: AssertionError | None = None
        try:
            run.settle()
        except AssertionError as violated:
            failure = violated
    console.print(_verdict(run.scenario))
    if failure is not None:
        console.print(Text(str(failure), style="red"))
        return 1
    console.print("[green]no violation[/]")
    return 0


def _verdict(found: Scenario) -> Table:
    table = Table(width=110, title="The audit's verdict", title_justify="left", show_header=False)
    table.add_column(width=40)
    table.add_column(ratio=1)
    inside = found.inside_a_transaction
    table.add_row("records", f"{found.records:,}")
    table.add_row("kills", f"{found.kills:,}")
    table.add_row(
        "kills inside an open transaction", f"{inside / found.kills:.0%}" if found.kills and inside is not None else UNKNOWN
    )
    for label, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
        took = percentile(found.recoveries, share)
        table.add_row(f"recovery {label}, restart to next commit", UNKNOWN if took is None else f"{took:.2f} s")
    for label, count in (("aborts", found.aborts), ("producers replaced", found.rebuilds), ("records replayed", found.replayed)):
        table.add_row(label, UNKNOWN if count is None else f"{count:,}")
    for label, value in found.figures.items():
        table.add_row(label, f"{value:,}" if isinstance(value, int) else str(value))
    table.add_row("violations", ", ".join(f"{kind} {count}" for kind, count in found.violations.items()) or "none")
    return table


def _minutes() -> float:
    given = os.environ.get(MINUTES, "")
    try:
        minutes = float(given or FOR_MINUTES)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= 24 * 60:
        raise SystemExit(f"{MINUTES}={given}: must be minutes, above 0, at most {24 * 60}")
    return minutes


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
