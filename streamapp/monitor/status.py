"""`GET /streamapp/status.json`: everything that page, metrics, `streamapp lag` and `streamapp top` show of a worker, as one document.

Stable: a field is added, never renamed or given another meaning without a new `schema`. Moments are seconds since 1970, durations
seconds, sizes bytes, shares 0 to 1; null is unknown, and `"inf"` in a text field where a duration has no end. No key or value of a record
is in it, nor a message or stack of a user's exception.
"""

from __future__ import annotations

from typing import Final

import msgspec

SCHEMA: Final = 1
STATUS_PATH: Final = "/streamapp/status.json"
"""`?history=30m` or `?history=24h` adds each partition's ring."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with its 90 % bounds."""

    estimate: float
    low: float
    high: float


class Point(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One sample of a partition's history."""

    at: float
    lag: int | None
    age: float | None
    committed: int | None
    end: int | None
    log_start: int | None
    position: int | None
    high_watermark: int | None
    merged: int | None
    busy: float | None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, for the chart: `Change`'s value."""

    at: float
    change: str
    worker: str | None = None
    version: str | None = None
    detail: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a partition starts no record: `Standstill`."""

    kind: str
    since: float
    agent: str | None = None
    offset: int | None = None
    attempt: int | None = None
    detail: str = ""


class PartitionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One partition of a source topic: `Verdict`, with its sentence."""

    topic: str
    partition: int
    owner: str | None
    owner_known: bool
    state: str | None
    """The lane's state; null where the worker that tells does not own it."""
    status: str
    cause: str | None
    since: float | None
    sentence: str
    """`explain`'s."""
    fix: str | None
    """The command to run next."""
    committed: int | None
    position: int | None
    end: int | None
    high_watermark: int | None
    log_start: int | None
    lag: int | None
    raw_lag: int | None
    blocked: int | None
    """Records behind an open transaction."""
    lost: int
    age: float | None
    produced_rate: float | None
    consumed_rate: float | None
    growth: Bounds | None
    drain: Bounds | None
    capacity: float | None
    utilization: float | None
    loss: float | None
    """Seconds until unread records are deleted; null: unknown, or never (`loss_never`)."""
    loss_never: bool
    loss_by: str | None
    retention: float | None
    retention_used: float | None
    commit_age: float | None
    in_flight: int | None
    """Records fetched and not committed."""
    in_hand: int | None
    standing: tuple[Standing, ...] = ()
    history: tuple[Point, ...] | None = None
    """Oldest first; null where it was not asked for."""
    marks: tuple[Mark, ...] = ()


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict strip."""

    group: str
    status: str
    sentence: str
    partitions: int
    workers: int | None
    workers_needed: int | None
    workers_capped: bool


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """`Distribution`."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class DeadLetterCount(msgspec.Struct, frozen=True, kw_only=True):
    error_type: str
    reason: str
    count: int


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One agent: `AgentFacts`."""

    name: str
    topics: tuple[str, ...]
    dlq: str | None
    on_error: str
    concurrency: int
    in_hand: int
    processed: int
    busy: float | None
    """Share of the last minute."""
    duration: Histogram
    p50: float | None
    p95: float | None
    p99: float | None
    retries: dict[str, int]
    dedupe_hits: int | None
    dead_letters: tuple[DeadLetterCount, ...]
    fingerprints: int
    letter_write_failures: int
    replayed: dict[str, int]
    breakers: tuple[Standing, ...]
    blocked_keys: dict[str, int]
    """`topic/partition` -> keys."""
    held_records: dict[str, int]


class TransactionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`TransactionFacts`."""

    outcomes: dict[str, int]
    rebuilds: dict[str, int]
    open_age: float | None
    open_records: int
    overlay_bytes: int
    last_commit: float | None
    duration: Histogram
    commit_duration: Histogram
    commit_p50: float | None
    commit_p99: float | None
    records: Histogram
    rebalances: int
    rebalance_duration: Histogram


class TableStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One table partition here, or on its way."""

    table: str
    partition: int
    state: str
    """`running`, or the restore's."""
    keys: int | None
    bytes: int | None
    restored: int | None = None
    remaining: int | None = None
    rate: float | None = None
    seconds_left: float | None = None
    waiting: float | None = None
    """Seconds that an open transaction holds the restore up."""
    trouble: str | None = None


class DlqPartition(msgspec.Struct, frozen=True, kw_only=True):
    """Unresolved dead letters of one partition of a dead-letter topic that an agent here reads."""

    topic: str
    partition: int
    unresolved: int
    lower_bound: bool
    oldest: float | None
    is_read: bool
    retention: float | None
    loss: float | None
    """Seconds until the oldest unresolved one is deleted."""


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of failure, as this worker dead-lettered it since it started."""

    fingerprint: str
    agent: str
    error_type: str
    reason: str
    stage: str
    count: int
    first: float
    last: float
    dead_letters: tuple[str, ...]
    """Ids of the newest few: `topic-partition-offset` of the source."""
    dlq: str


class FindingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One of the doctor's."""

    id: str
    level: str
    subject: str
    line: str
    why: str
    fix: str


class ConfigRow(msgspec.Struct, frozen=True, kw_only=True):
    """One effective setting; a secret's value is `***`."""

    name: str
    value: str
    origin: str
    recommendation: str | None


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Who tells, and how it is."""

    worker: str
    version: str
    streamapp: str
    librdkafka: str
    guarantee: str
    pid: int
    started: float
    url: str | None
    ready: bool
    draining: bool
    failing: str | None
    loop_lag: float | None
    """Seconds that the event loop was late at the last look."""


class RebalanceNote(msgspec.Struct, frozen=True, kw_only=True):
    """One rebalance, as this worker went through it."""

    at: float
    """When it began."""
    seconds: float
    """Until the last partition that came was restored."""
    gained: int
    lost: int
    """Partitions that went, revoked or lost."""


class DoctorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What only a worker knows and `streamapp doctor` asks for."""

    new_worker_id: bool
    """Its id was made at this start."""
    restarts: tuple[float, ...] = ()
    """Seconds that it was away, at each of its last restarts."""
    rebalances: tuple[RebalanceNote, ...] = ()
    """Of the last hour, oldest first."""
    batch_max: dict[str, int] = {}
    """Agent -> the largest batch that it took."""
    batch_fill: float | None = None
    """Mean size of the producer's batches, as a share of `producer_batch_size`; told only without linger."""
    restore_rate: float | None = None
    """Changelog records per second of the restores since it started."""


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    schema: int
    at: float
    app_id: str
    worker: WorkerStatus
    group: GroupStatus
    partitions: tuple[PartitionStatus, ...]
    """Worst first."""
    agents: tuple[AgentStatus, ...]
    transactions: TransactionStatus
    tables: tuple[TableStatus, ...]
    dead_letters: tuple[DlqPartition, ...]
    fingerprints: tuple[Fingerprint, ...]
    findings: tuple[FindingStatus, ...]
    config: tuple[ConfigRow, ...]
    peers: tuple[str, ...] = ()
    """URLs of the workers whose partitions are in it, too."""
    unreachable: tuple[str, ...] = ()
    """Peers that did not answer."""
    only_this_worker: bool = True
    doctor: DoctorFacts | None = None
    """Of this worker alone."""


read_document: Final = msgspec.json.Decoder(StatusDocument).decode
"""Returns a document of its JSON. Raises msgspec.DecodeError.

Made here, once: two threads that both make the first decoder of the same types can crash the process (seen with msgspec 0.22).
"""

__all__ = [
    "SCHEMA",
    "STATUS_PATH",
    "AgentStatus",
    "Bounds",
    "ConfigRow",
    "DeadLetterCount",
    "DlqPartition",
    "DoctorFacts",
    "FindingStatus",
    "Fingerprint",
    "GroupStatus",
    "Histogram",
    "Mark",
    "PartitionStatus",
    "Point",
    "RebalanceNote",
    "Standing",
    "StatusDocument",
    "TableStatus",
    "TransactionStatus",
    "WorkerStatus",
    "read_document",
]
