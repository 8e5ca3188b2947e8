"""What `streamapp verify` reports, as values: one row per thing looked at, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar

from streamapp.records import Partition


class Check(StrEnum):
    """What can be asked for alone, with `--only`."""

    TRANSACTIONS = "transactions"
    LAG = "lag"
    TABLES = "tables"
    DUPLICATES = "duplicates"


class Verdict(StrEnum):
    """How one row came out."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and right as it is."""
    FINDING = "finding"
    """Something that must not be."""
    UNCHECKED = "unchecked"
    """It was to be checked and could not be: as bad as a finding to whoever wants to be sure."""


BAD = frozenset((Verdict.FINDING, Verdict.UNCHECKED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the report. Durations in seconds; None = unknown, or none."""

    kind: ClassVar[str]
    check: ClassVar[Check]

    verdict: Verdict
    status: str
    """One or two words."""
    detail: str | None = None
    """A sentence for people: what it means, what to do."""

    def document(self) -> dict[str, object]:
        """Return it as JSON has it: every field, always."""
        return {"kind": self.kind, **{each.name: getattr(self, each.name) for each in fields(self)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRow(Row):
    """A partition whose last stable offset is below its high watermark."""

    kind: ClassVar[str] = "transaction"
    check: ClassVar[Check] = Check.TRANSACTIONS

    topic: str
    partition: int
    role: str
    stuck_at: int
    """The last stable offset: read_committed readers see nothing from here on."""
    high_watermark: int
    records_behind: int
    """Positions from there to the end, those of other transactions and markers included."""
    producer_id: int | None
    producer_epoch: int | None
    transactional_id: str | None
    state: str | None
    """What its coordinator says it is in."""
    age: float | None
    hangs_after: float
    """Age from which it counts as hanging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LagRow(Row):
    """What the group has still to do in one source partition."""

    kind: ClassVar[str] = "lag"
    check: ClassVar[Check] = Check.LAG

    topic: str
    partition: int
    committed: int | None
    """The group's next offset; None where it has none."""
    end: int
    """The last stable offset."""
    lag: int | None
    """Records, where `exact`; else positions up to the end, some of which may be commit markers and aborted records."""
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow(Row):
    """One table partition, at one place, against its changelog."""

    kind: ClassVar[str] = "table"
    check: ClassVar[Check] = Check.TABLES

    table: str
    partition: int | None
    changelog: str | None
    place: str
    """The data directory, or the worker's URL."""
    offset: int | None
    """The changelog offset that the table is current to, and up to which the changelog was folded."""
    keys: int | None
    digest: str | None
    changelog_keys: int | None
    changelog_digest: str | None
    differences: Sequence[str] = ()
    """The first keys that differ, with what is wrong; only where the store itself was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateRow(Row):
    """An id seen again."""

    kind: ClassVar[str] = "duplicate"
    check: ClassVar[Check] = Check.DUPLICATES

    topic: str
    id: str
    partition: int
    offset: int
    first_partition: int
    first_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesRow(Row):
    """What the search for duplicates in one topic came to."""

    kind: ClassVar[str] = "duplicates"
    check: ClassVar[Check] = Check.DUPLICATES

    topic: str
    by: str
    records: int
    without_id: int
    """Records that have no such key, header or field: they are not compared."""
    duplicates: int
    """Records whose id was there before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRow(Row):
    """Something about a check as a whole."""

    kind: ClassVar[str] = "note"

    about: str


@dataclass(frozen=True, slots=True)
class Report:
    """All rows of a run."""

    app_id: str
    checked: Mapping[Check, int]
    """Partitions looked at by each check, table partitions by TABLES, records by DUPLICATES."""
    rows: Sequence[Row]

    @property
    def bad(self) -> list[Row]:
        return [row for row in self.rows if row.verdict in BAD]

    @property
    def exit_code(self) -> int:
        return 1 if self.bad else 0

    def summary(self) -> dict[str, object]:
        # A duplicate that is named is one of those that its search has counted.
        found = [row for row in self.rows if row.verdict is Verdict.FINDING and not isinstance(row, DuplicateRow)]
        return {
            "kind": "summary",
            "app_id": self.app_id,
            "checked": {check.value: self.checked.get(check) for check in Check},
            "findings": sum(row.duplicates if isinstance(row, DuplicatesRow) else 1 for row in found),
            "unchecked": sum(row.verdict is Verdict.UNCHECKED for row in self.rows),
            "exit_code": self.exit_code,
        }


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Where one partition begins and ends at one moment. The stable end is asked for first: what is added in between looks open."""

    start: int
    stable: int
    high: int


@dataclass(frozen=True, slots=True)
class WatchedPartition:
    """A partition of the app, and what it is to the app."""

    partition: Partition
    role: str


__all__ = [
    "BAD", "Check", "DuplicateRow", "DuplicatesRow", "LagRow", "NoteRow", "Report", "Row", "TableRow", "TransactionRow", "Verdict",
    "WatchedPartition", "Watermarks",
]  # fmt: skip
