"""What became of the figures of one partition, and of a group. None is unknown; seconds, records, ratios from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streamapp.records import Partition


class Status(StrEnum):
    """Worst first: the first whose condition holds (OPERATIONS §3.3)."""

    DATA_LOST = "DATA_LOST"
    AT_RISK = "AT_RISK"
    STALLED = "STALLED"
    CLIFF = "CLIFF"
    UNKNOWN = "UNKNOWN"
    FALLING_BEHIND = "FALLING_BEHIND"
    CATCHING_UP = "CATCHING_UP"
    OK = "OK"


class Cause(StrEnum):
    """Why, where the status has several causes."""

    # AT_RISK: the limit that binds
    TIME = "time"
    SIZE = "size"
    TOMBSTONES = "tombstones"
    OFFSET_EXPIRY = "offset expiry"
    # STALLED
    NO_OWNER = "no owner"
    PAUSED = "paused"
    BREAKER = "breaker"
    STOPPED = "stopped"
    RETRYING = "retrying"
    DLQ = "dlq not writable"
    OPEN_TRANSACTION = "open transaction"
    HANDLER = "handler"
    REBALANCING = "rebalancing"
    RESTORE = "restore not moving"
    NOT_SEEN = "not seen"
    """Nothing of the above is known to hold."""
    # CLIFF
    RESTORING = "restoring"
    OUTAGE = "outage"
    CRASH_LOOP = "crash loop"
    REBALANCE_STUCK = "rebalance stuck"
    SLOWER = "new version slower"
    # UNKNOWN
    FEW_SAMPLES = "few samples"
    NO_COMMIT = "no commit"
    UNREACHABLE = "unreachable"
    # OK
    LEVEL = "level"
    NO_TREND = "no clear trend"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 90 % bounds."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that is said of one partition."""

    partition: Partition
    at: float
    status: Status
    cause: Cause | None
    detail: str
    """What the cause names: an agent, a version, an offset."""
    since: float | None
    """Since when the status holds."""
    committed: int | None
    end: int | None
    log_start: int | None
    lag: int | None
    """Effective lag, records."""
    raw_lag: int | None
    blocked: int | None
    """Records behind an open transaction: H − E."""
    age: float | None
    pace: float | None
    """v, event seconds per second."""
    produced_rate: float | None
    """p, records per second."""
    consumed_rate: float | None
    """c."""
    growth: Interval | None
    """g over the window that decided, records per second."""
    growth_window: float | None
    """Seconds."""
    deadband: float | None
    drain: Interval | None
    """Seconds; None: not draining, or unknown."""
    capacity: float | None
    """c_max, records per second of this partition."""
    utilization: float | None
    loss: float | None
    """Seconds until unread records are deleted; inf: never; None: unknown."""
    loss_by: Cause | None
    headroom: float | None
    """(C − S)/(E − S), where size limits and the slope of S is unknown."""
    used: float | None
    """A/R."""
    lost: int
    """Records deleted unread."""
    hour_in: float | None
    """Seconds until the age is one hour, while falling behind."""
    recovery: float | None
    """Predicted seconds until a CLIFF is over."""
    known_in: float | None
    """Of UNKNOWN: seconds until it can be told."""
    owner: str | None
    owner_known: bool
    commit_age: float | None
    """Seconds since the last commit."""
    retention: float | None = None
    """R, seconds; None: unlimited or unknown."""
    retention_bytes: int | None = None
    offset: int | None = None
    """Where the cause sits: the record that a stopped partition waits on, the first one of an open transaction."""
    blocked_for: float | None = None
    """Seconds that the end readable has stood still behind an open transaction."""


@dataclass(frozen=True, slots=True)
class GroupVerdict:
    """The worst of a group's partitions, and what more workers would do."""

    group: str
    at: float
    status: Status
    partitions: int
    affected: tuple[Partition, ...]
    """Those of that status."""
    oldest: float | None
    """Age of the oldest unread record, seconds."""
    loss: float | None
    drain: Interval | None
    """Of its slowest partition; None where one does not drain."""
    workers: int | None
    """Distinct worker ids seen; None: unknown."""
    workers_needed: int | None
    workers_capped: bool
    """More would be needed than there are partitions: adding workers cannot help."""
    skewed: bool
    """One or two of many: a hot key, not capacity."""
    sentence: str


__all__ = ["Cause", "GroupVerdict", "Interval", "Status", "Verdict"]
