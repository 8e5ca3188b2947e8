"""Who is measured: what starts each of them, and on which job."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console

from tests.benchmarks.foreign import FOREIGN
from tests.benchmarks.foreign.contender import ForeignContender, Missing
from tests.benchmarks.jobs import AWAIT, AWAIT_REMOVED, DAILY, DEDUPE, DEDUPE_LARGE, JOBS, MAP, ORDERS, Job
from tests.support.ledger import check
from tests.support.topic_reader import read_history
from tests.support.workers import FAUST

STREAMAPP: Final = "streamapp"
YARDSTICK: Final = "hand-written loop"
FLOOR: Final = "copy loop (floor)"
EXACTLY_ONCE: Final = "exactly once"
AT_LEAST_ONCE: Final = "at least once"


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    command: tuple[str, ...]
    job: Job
    promise: str = EXACTLY_ONCE
    env: tuple[tuple[str, str], ...] = ()
    dedupes: bool = True
    """False: it takes no part in what makes the job one; each record goes out, resent ones too."""
    thorough: Callable[[str, str], None] | None = None
    """Checks a smaller first run with all that can be checked: (bootstrap, app id)."""
    records_share: float = 1.0
    """Of the job's records: slow ones get fewer."""
    group: Callable[[str], str] = str
    """The consumer group of an app id."""

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def share(self, records: int, *, least: int = 1_000) -> int:
        """Return how many of `records` it gets."""
        return min(records, max(least, round(records * self.job.records_share * self.records_share)))


@dataclass(frozen=True, slots=True)
class Field:
    """All that could be measured here, and who could not."""

    contenders: tuple[Contender, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    """Why, by name."""
    versions: dict[str, str] = field(default_factory=dict)
    """What a guest is made of, by its name."""


def _ledger(bootstrap: str, app_id: str) -> None:
    check(read_history(bootstrap, app_id, deadline=180)).require_ok()


def _app(module: str) -> tuple[str, ...]:
    return (str(FAUST), "-A", module, "worker", "-l", "info")


def _by_hand(job: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.benchmarks.hand_written_loop", job)


_COPY: Final = (sys.executable, "-m", "tests.benchmarks.copy_loop")
_UNFENCED: Final = (("STREAMAPP_PROCESSING_GUARANTEE", "at_least_once"),)
_AT_LEAST: Final = f"{STREAMAPP}, {AT_LEAST_ONCE}"

OWN: Final = (
    Contender(FLOOR, _COPY, DEDUPE, dedupes=False),
    Contender(YARDSTICK, _by_hand("dedupe"), DEDUPE),
    Contender(STREAMAPP, _app("tests.benchmarks.dedupe_app"), DEDUPE),
    Contender(_AT_LEAST, _app("tests.benchmarks.dedupe_app"), DEDUPE, AT_LEAST_ONCE, _UNFENCED),
    Contender(YARDSTICK, _by_hand("orders"), ORDERS, thorough=_ledger),
    Contender(STREAMAPP, _app("streamapp"), ORDERS, thorough=_ledger),
    Contender(YARDSTICK, _by_hand("map"), MAP),
    Contender(STREAMAPP, _app("tests.benchmarks.map_app"), MAP),
    Contender(_AT_LEAST, _app("tests.benchmarks.map_app"), MAP, AT_LEAST_ONCE, _UNFENCED),
    Contender(STREAMAPP, _app("tests.benchmarks.await_app"), AWAIT),
    Contender(STREAMAPP, _app("tests.benchmarks.await_app"), AWAIT_REMOVED, env=(("BENCH_CALL_SECONDS", "0"),)),
    Contender(FLOOR, _COPY, DEDUPE_LARGE, dedupes=False),
    Contender(YARDSTICK, _by_hand("dedupe"), DEDUPE_LARGE),
    Contender(STREAMAPP, _app("tests.benchmarks.dedupe_app"), DEDUPE_LARGE),
    Contender(_AT_LEAST, _app("tests.benchmarks.dedupe_app"), DEDUPE_LARGE, AT_LEAST_ONCE, _UNFENCED),
)


def chosen_jobs(named: Sequence[str], *, everything: bool) -> list[Job]:
    """Return the jobs to measure, in the order of JOBS: those named, else all or the daily ones."""
    wanted = set(named) or (set(JOBS) if everything else set(DAILY))
    return [job for name, job in JOBS.items() if name in wanted]


def field_of(
    jobs: Sequence[Job], only: Sequence[str], console: Console, *, foreign: Iterable[ForeignContender] = FOREIGN
) -> Field:
    """Return who takes part in `jobs`; those from registries are installed first. `only`: whose names contain one of these."""

    def wanted(name: str) -> bool:
        return not only or any(part.lower() in name.lower() for part in only)

    taking_part = [one for one in OWN if one.job in jobs and wanted(one.name)]
    skipped: dict[str, str] = {}
    versions: dict[str, str] = {}
    for guest in foreign:
        theirs = [job for job in jobs if job.task in guest.jobs]
        if not theirs or not wanted(guest.name):
            continue
        found = guest.prepare(console)
        if isinstance(found, Missing):
            skipped[guest.name] = found.why
            continue
        versions[guest.name] = ", ".join(f"{package} {version}" for package, version in found.versions.items())
        taking_part += [
            Contender(
                guest.name,
                found.command(job.task),
                job,
                guest.promise,
                records_share=guest.records_share,
                group=guest.group,
            )
            for job in theirs
        ]
    taking_part.sort(key=lambda one: jobs.index(one.job))
    return Field(tuple(taking_part), skipped, versions)
