"""What a verdict on a partition's lag is made from. None is unknown, never 0; seconds since 1970 for moments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.pipeline.facts import Standstill
from streamapp.records import Partition


class Change(StrEnum):
    """What happened to a partition or its worker, for the trend's sake."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    DEPLOYED = "deployed"
    """Another version than before took it over."""
    RESTARTED = "restarted"
    """The same worker, joined anew."""
    PAUSED = "paused"
    BREAKER = "breaker"
    RESET = "reset"
    """The committed offset fell."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One change, and when."""

    at: float
    change: Change
    worker: str | None = None
    version: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One partition at one moment (OPERATIONS §3.1)."""

    at: float
    committed: int | None
    """C."""
    position: int | None
    """P."""
    high_watermark: int | None
    """H."""
    end: int | None
    """E, the last stable offset."""
    log_start: int | None
    """S."""
    oldest_unread: float | None
    """τ: the timestamp of the first unread record."""
    merged: int | None
    """Records merged since the partition was assigned; None where the sampler is not its worker."""
    unmerged: int | None
    """Records fetched and not merged; None as above. 0 with P ≥ E: nothing is unread, whatever C says."""
    busy: float | None
    """Share of the interval in which handlers had a record, 0 to 1."""
    settled: bool = True
    """False where it was taken while a rebalance went on: dropped."""


NOWHERE: Final = Partition("", 0)
"""The partition of limits that name none."""


@dataclass(frozen=True, slots=True)
class RestoreShown:
    """A restore of the partition's tables, as a whole."""

    restored: int
    remaining: int | None
    """Records."""
    seconds_left: float | None
    moving: bool
    """Whether it made progress within the last minute."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a partition: retention of its topic, and what is known of its state now."""

    topic: TopicLimits
    offsets_retention: float | None
    """Seconds after which an empty group's offsets expire; None: unknown."""
    empty_since: float | None
    """Since when the group is empty; None: it is not, or that is unknown."""
    owner: str | None
    """Worker id; None: nobody owns it (`owner_known`)."""
    owner_known: bool
    standstills: tuple[Standstill, ...]
    """Why it starts no record now."""
    in_hand: tuple[str, float] | None
    """The agent that has had a record longest, and the seconds."""
    handler_p99: float | None
    """Seconds."""
    restore: RestoreShown | None
    rebalancing_since: float | None
    last_commit: float | None
    upstream_timeout: float | None
    """Seconds after which the broker ends the upstream's transactions; None: unknown, 60 is assumed."""
    partitions: int
    """Of its topic."""
    partition: Partition = NOWHERE
    """Which one it is."""
    in_hand_offset: int | None = None
    """The offset of the record that `in_hand` tells of."""
    blocked_since: float | None = None
    """Since when an open transaction holds back what is written, where the broker tells; else the samples have to show it."""
    blocked_by: str | None = None
    """Whose it is."""


@dataclass(frozen=True, slots=True)
class Config:
    """The app's settings that lag depends on."""

    group: str
    commit_interval: float
    earliest: bool
    """auto_offset_reset is `earliest`."""
    reset_policy: str
    drain_target: float = 900.0
    sample_interval: float = 10.0
    reachable: bool = True
    """Whether the broker answered when asked last."""
    broker: str = "$STREAMAPP_BROKER"
    """The bootstrap servers, as the commands to run next name them."""


MARK_HOUR: Final = 3600.0
"""Seconds of age that FALLING_BEHIND counts down to."""

__all__ = ["MARK_HOUR", "NOWHERE", "Change", "Config", "Happening", "Limits", "Partition", "RestoreShown", "Sample"]
