"""`make profile`: where a record's microseconds of CPU go, by thread and stage, for the dedupe job and the order job.

    python -m tests.benchmarks.profile --records 150000

Each job runs without the probe and with it, so that its cost is seen. See profile_probe.py for how it measures.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from streamapp.broker import Broker, BrokerConfig
from streamapp.broker import Profile as BrokerProfile
from tests.benchmarks.contenders import EXACTLY_ONCE, OWN, STREAMAPP, Contender
from tests.benchmarks.measure import Figures, Plan, run
from tests.benchmarks.profile_probe import NOTES
from tests.benchmarks.profile_stages import MAIN, Profile, Snapshot, between, window

OUTPUT: Final = Path("build/bench/profile.json")
STAGES: Final = {"dedupe": 1, "orders": 2}
"""Records that one record of a job's source comes to at most, its later stages included."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """One job's profile and what the probe did to it."""

    job: str
    profile: Profile
    plain: Figures
    probed: Figures

    @property
    def cost(self) -> float:
        """Share of the CPU that the probe added."""
        return self.plain.records_per_cpu_second / self.probed.records_per_cpu_second - 1


@click.command()
@click.option("--job", "jobs", multiple=True, type=click.Choice([*STAGES]), help="Default: both.")
@click.option("--records", default=150_000, show_default=True)
@click.option("--warm-up", default=20_000, show_default=True)
@click.option("--commit-interval", default=0.2, show_default=True)
@click.option("--json", "json_file", default=OUTPUT, show_default=True, type=click.Path(path_type=Path))
def main(jobs: Sequence[str], records: int, warm_up: int, commit_interval: float, json_file: Path) -> None:
    """Profile the worker."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    ours = [one for one in OWN if one.name == STREAMAPP and one.job.name in (jobs or [*STAGES]) and one.promise == EXACTLY_ONCE]
    found: list[Profiled] = []
    with tempfile.TemporaryDirectory(prefix="streamapp-profile-") as temporary:
        home = Path(temporary)
        config = BrokerConfig(data_dir=home / "broker", port=0, profile=BrokerProfile.BENCH)
        with Broker(config, die_with_parent=True) as broker:
            plan = Plan(
                bootstrap=broker.address,
                home=home / "workers",
                records=records,
                resent=0.03,
                warm_up=warm_up,
                commit_interval=commit_interval,
            )
            for one in ours:
                console.print(f"{one.job.name}: {records:,} records without the probe, then with it …")
                found.append(profiled(one, plan, home / f"{one.job.name}.notes"))
                console.print(table(found[-1]))
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps([as_json(each) for each in found], indent=2) + "\n")
    console.print(f"saved to {json_file}")


def profiled(one: Contender, plan: Plan, notes: Path) -> Profiled:
    """Run a job without and with the probe. Raises OutputWrong, TookTooLong, LookupError."""
    plain = run(one, plan, 1)
    os.environ[NOTES] = str(notes)  # the process that `run` starts inherits it
    try:
        probed = run(replace(one, command=(sys.executable, "-m", "tests.benchmarks.profile_probe", *one.command[1:])), plan, 2)
    finally:
        del os.environ[NOTES]
    snapshots = [msgspec.json.decode(line, type=Snapshot) for line in notes.read_bytes().splitlines()]
    return Profiled(one.job.name, between(*window(snapshots, plan.warm_up * STAGES[one.job.name])), plain, probed)


def table(found: Profiled) -> Table:
    """Return the profile for a terminal."""
    profile = found.profile
    shown = Table(
        title=f"{found.job} job: CPU µs of a record, of {profile.records:,} records of all stages", title_justify="left"
    )
    for name in ("thread", "stage"):
        shown.add_column(name)
    for name in ("µs", "share"):
        shown.add_column(name, justify="right")
    before = None
    for row in profile.rows:
        if abs(profile.microseconds(row.seconds)) < 0.005:
            continue  # it is in the JSON
        thread = "" if row.thread == before else row.thread
        if thread and before is not None:
            shown.add_section()
        before = row.thread
        shown.add_row(thread, row.stage, f"{profile.microseconds(row.seconds):.2f}", f"{profile.share(row.seconds):.0%}")
    shown.add_section()
    shown.add_row("whole process", "", f"{profile.microseconds(profile.seconds):.2f}", "100%")
    main = sum(row.seconds for row in profile.rows if row.thread == MAIN)
    shown.caption = (
        f"The probe costs {found.cost:+.1%} (of all CPU from the first record to the last commit: {1e6 / found.plain.records_per_cpu_second:.2f} µs a "
        f"source record without it, {1e6 / found.probed.records_per_cpu_second:.2f} with it; one run each). "
        f"{profile.samples:,} samples of the main thread, which has {profile.share(main):.0%} of the CPU."
    )
    shown.caption_justify = "left"
    return shown


def as_json(found: Profiled) -> dict[str, object]:
    profile = found.profile
    rows = [
        {"thread": row.thread, "stage": row.stage, "microseconds": round(profile.microseconds(row.seconds), 3)}
        for row in profile.rows
    ]
    return {
        "job": found.job,
        "records": profile.records,
        "microseconds": round(profile.microseconds(profile.seconds), 3),
        "rows": rows,
        "samples": profile.samples,
        "unknown code": profile.unknown,
        "cost of the probe": round(found.cost, 4),
        "without": asdict(found.plain),
        "with": asdict(found.probed),
    }


if __name__ == "__main__":
    main()
