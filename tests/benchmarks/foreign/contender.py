"""The seam between the benchmark and contenders from a registry: other frameworks, each in an environment of its own.

`tests/benchmarks/foreign/__init__.py` exports `FOREIGN: tuple[ForeignContender, ...]`; the benchmark asks nothing else of it.

What a command is given: STREAMAPP_BROKER (`host:port`), STREAMAPP_APP_ID, STREAMAPP_DATA_DIR (not there yet),
STREAMAPP_COMMIT_INTERVAL (seconds), the environment of the benchmark otherwise, and the project's root as working directory.
It reads topic `orders` from its start (8 partitions, made beforehand, read_committed: they are loaded in a transaction), commits
offsets to `group(app_id)` after the work, writes `bench-out` (8 partitions, made beforehand) under the record's own key, and
stops on SIGTERM within 30 s. Topics of its own carry the app id in their names, so that they can be deleted after the run.

Jobs, by name:

- `dedupe`: a record whose `order_id` (a JSON string field of the value) was seen before in its partition is dropped, by a look-up
  in a persistent store that a changelog topic restores, where the framework has such; all others go out unchanged: each field
  that came in, with its value, save that a field may come back as null that did not come in. The same job gets
  values of 100 bytes and of 10 kB (an order with a long text field `note`).
- `map`: stateless; every record goes out, its value with one more field, `total_cents` = quantity * unit_price_cents, as
  compact JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console


@dataclass(frozen=True, slots=True)
class Missing:
    """It cannot be had here; the benchmark shows it as skipped, with the reason."""

    why: str
    """A sentence, e.g. `no JDK is at hand`."""


class Ready(Protocol):
    """Its environment is installed."""

    @property
    def versions(self) -> dict[str, str]:
        """What is measured, by package: shown, and saved with the figures."""
        ...

    def command(self, job: str) -> tuple[str, ...]:
        """Return what to start; `job` is one of the contender's `jobs`. The process and its children are measured together."""
        ...


@dataclass(frozen=True, slots=True)
class Installed:
    """`Ready` for those whose commands can be said beforehand."""

    commands: dict[str, tuple[str, ...]]
    """By job."""
    versions: dict[str, str] = field(default_factory=dict)

    def command(self, job: str) -> tuple[str, ...]:
        return self.commands[job]


class ForeignContender(Protocol):
    @property
    def name(self) -> str:
        """As it stands in the tables, e.g. `Quix Streams`."""
        ...

    @property
    def promise(self) -> str:
        """`exactly once` or `at least once`: what the settings of its commands ask for."""
        ...

    @property
    def jobs(self) -> tuple[str, ...]:
        """Those of `dedupe` and `map` that it can do."""
        ...

    @property
    def records_share(self) -> float:
        """Of the others' records, above 0, at most 1: a slow one gets fewer, so that a run takes it some 15 s at most."""
        ...

    def prepare(self, console: Console) -> Ready | Missing:
        """Install its environment below `build/bench/` on first use, with progress on `console`, within a time of its own."""
        ...

    def group(self, app_id: str) -> str:
        """Return the consumer group that it commits to: `app_id`, unless the framework forms the name itself."""
        ...
