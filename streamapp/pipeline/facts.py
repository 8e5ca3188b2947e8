"""What the engine tells of itself when it is asked: one snapshot, taken on the loop. None is unknown, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamapp.records import Partition

StandsFor = Literal[
    "revoked",
    "rewinding",
    "restoring",
    "retrying",
    "breaker",
    "stopped",
    "blocked",
    "unwritten",
    "suspect",
    "paused",
    "no position",
]
"""Why a partition starts no record. `unwritten`: its dead letter cannot be written."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often which value was seen, since the worker started."""

    bounds: tuple[float, ...]
    """Upper bounds, rising; one more count than bounds, the last for what lies beyond."""
    counts: tuple[int, ...]
    total: float
    """Sum of what was seen, in the unit of the bounds."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """One reason why a partition starts no record."""

    kind: StandsFor
    since: float
    """Seconds since 1970."""
    agent: str | None = None
    offset: int | None = None
    attempt: int | None = None
    """The attempt that comes next."""
    detail: str = ""
    """What the log said, without any value."""


@dataclass(frozen=True, slots=True)
class InHand:
    """The record that an agent has had longest."""

    agent: str
    offset: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """One assigned partition."""

    partition: Partition
    state: str
    """`LaneState`'s value."""
    committed: int | None
    """The group's next offset, as last heard or committed here; None where none was ever committed, or while it is being asked for."""
    committed_at: float | None
    """Seconds since 1970 when this worker last committed it; None while it has not."""
    position: int | None
    """Behind all that was fetched, commit markers at the end included; None before the first record or end was seen, also after a rewind."""
    merged: int
    """Records admitted to units that became durable, since the partition was assigned; what waits behind a blocked key counts when it is put there."""
    unmerged: int
    """Records fetched, and not in a durable unit."""
    oldest_unmerged: float | None
    """Its record's timestamp (header `replayed-at` before it), seconds since 1970; None where there is none, or without timestamp."""
    in_hand: InHand | None
    standstills: tuple[Standstill, ...]
    stopped_at: int | None
    """The offset at which `on_error=stop` holds it."""
    blocked_keys: int
    held_records: int
    suspect: bool
    lost: int | None = None
    """Records that retention deleted unread, as found here since the partition was assigned; None: not counted."""


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """One agent of this worker, since it started."""

    name: str
    topics: tuple[str, ...]
    dlq: str | None
    on_error: str
    concurrency: int
    in_hand: int
    processed: int
    """Records that it is done with: handled, found to be duplicates, or dead-lettered. What is read again after an abort counts again."""
    busy_seconds: float
    """Seconds in which at least one record was in hand; what a batch waits for more is none."""
    duration: Distribution
    """Seconds that an agent had a record, or a batch, per attempt: of all that ended, also in a failure, at the dedupe table or in decoding."""
    batch_max: int | None
    """The largest n of `take(n)` seen; None for an agent without."""
    retries: Mapping[str, int]
    """By error type."""
    dedupe_hits: int | None
    """None for an agent without dedupe."""
    dead_letters: Mapping[tuple[str, str], int]
    """Durable ones, by (error type, reason)."""
    fingerprints: int
    """Distinct ones, of durable dead letters."""
    letter_write_failures: int
    replayed: Mapping[str, int]
    """Replayed records that it is done with, by outcome: `processed`, `already-processed`, `reopened`."""
    breakers: Mapping[Partition, float]
    """Partitions whose breaker is open, and since when (seconds since 1970)."""


@dataclass(frozen=True, slots=True)
class TransactionFacts:
    """The worker's transactions, since it started."""

    outcomes: Mapping[str, int]
    """`committed`, `aborted`, `resumed` (committed after a timed-out call; counted as committed, too), `unknown` (dropped, and the broker asked)."""
    rebuilds: Mapping[str, int]
    """Producers replaced, by reason."""
    open_since: float | None
    """Seconds since 1970 when the open unit got its first record; None while it is empty."""
    open_records: int
    overlay_bytes: int
    """Table writes that are not on disk yet, of the open unit and the one being committed."""
    last_commit: float | None
    """Seconds since 1970."""
    duration: Distribution
    """Seconds from a unit's first record to its commit's end; this and the next two of committed units."""
    commit_duration: Distribution
    """Seconds from closing to the commit's end."""
    records: Distribution
    """Source records per unit."""
    rebalances: int
    rebalance_duration: Distribution
    """Seconds from the first revoke or assign to the last new partition's run."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table partition that this worker has."""

    table: str
    number: int
    keys: int | None
    """An estimate."""
    bytes: int | None
    """On disk and in memory, an estimate, too."""


@dataclass(frozen=True, slots=True)
class StoreMemory:
    """What the stores of all tables use of the memory that they share, in bytes."""

    limit: int
    """`rocksdb_memory_bytes`. They fill it as tables grow, and stay there."""
    held: int
    """Writes that are not flushed yet, and what was read: blocks, indices, filters."""


@dataclass(frozen=True, slots=True)
class FingerprintFacts:
    """One kind of failure of one agent whose dead letters this worker wrote."""

    fingerprint: str
    agent: str
    error_type: str
    reason: str
    """The newest letter's, as its stage."""
    stage: str
    count: int
    first: float
    """Seconds since 1970, and so is the next."""
    last: float
    letters: tuple[str, ...]
    """Ids of the newest five, the newest first."""
    dlq: str


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """All of it, as of one moment."""

    now: float
    """Seconds since 1970."""
    lanes: tuple[LaneFacts, ...]
    agents: tuple[AgentFacts, ...]
    transactions: TransactionFacts
    tables: tuple[TableFacts, ...]
    fingerprints: tuple[FingerprintFacts, ...] = ()
    """At most 200, the one seen last first."""
    store_memory: StoreMemory | None = None
    """None where no table is on disk."""


__all__ = [
    "AgentFacts",
    "Distribution",
    "EngineFacts",
    "FingerprintFacts",
    "InHand",
    "LaneFacts",
    "StandsFor",
    "Standstill",
    "StoreMemory",
    "TableFacts",
    "TransactionFacts",
]
