"""How long until unread records are deleted, and by which limit (OPERATIONS §3.2)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

from streamapp.monitor.lag.inputs import Limits, Sample
from streamapp.monitor.lag.rates import slope
from streamapp.monitor.lag.series import Series
from streamapp.monitor.lag.verdict import Cause

STEPS: Final = 3
"""Moves of the log's start, from which on it has a slope: segments go whole."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The limit that is reached first."""

    seconds: float | None
    """inf: never; None: unknown."""
    cause: Cause | None
    limit: float | None
    """The limit's own length, in seconds; None where it is no time."""


def loss_of(series: Series, limits: Limits, lag: int | None, age: float | None, pace: float | None, now: float) -> Loss:
    """Return what comes first. What is unknown does not hide a known limit; alone, it is no `never`."""
    found: list[Loss] = []
    if lag != 0:
        if not limits.topic.known:
            found.append(Loss(None, None, None))
        if limits.topic.deleted and limits.topic.retention is not None:
            found.append(Loss(_by_time(limits.topic.retention, age, pace), Cause.TIME, limits.topic.retention))
        if limits.topic.compacted and limits.topic.delete_retention is not None:
            found.append(
                Loss(_by_time(limits.topic.delete_retention, age, pace), Cause.TOMBSTONES, limits.topic.delete_retention)
            )
        if limits.topic.deleted and limits.topic.retention_bytes is not None:
            found.append(Loss(_by_size(series), Cause.SIZE, limits.topic.retention))
    if limits.empty_since is not None and limits.offsets_retention is not None:
        left = limits.offsets_retention - max(0.0, now - limits.empty_since)
        found.append(Loss(max(0.0, left), Cause.OFFSET_EXPIRY, limits.offsets_retention))
    known = [each for each in found if each.seconds is not None]
    first = min(known, key=lambda each: each.seconds or 0.0, default=None)
    if first is not None and not math.isinf(first.seconds or 0.0):
        return first
    return Loss(math.inf if len(known) == len(found) else None, None, None)


def headroom_of(sample: Sample | None, limits: Limits) -> float | None:
    """Return which share of the log still lies before what is unread, where size limits it."""
    if sample is None or limits.topic.retention_bytes is None or not limits.topic.deleted:
        return None
    start, committed, end = sample.log_start, sample.committed, sample.end
    if start is None or committed is None or end is None or end <= start:
        return None
    return min(1.0, max(0.0, (committed - start) / (end - start)))


def _by_time(retention: float, age: float | None, pace: float | None) -> float | None:
    if age is None:
        return None
    left = max(0.0, retention - age)
    if pace is None:
        return left
    # Segments go whole, and later than this. A pace below zero (timestamps out of order) is none: R - A is the floor.
    return math.inf if pace >= 1 else left / (1 - max(0.0, pace))


def _by_size(series: Series) -> float | None:
    known = [sample for sample in series.samples if sample.log_start is not None]
    steps = [after for before, after in itertools.pairwise(known) if (after.log_start or 0) > (before.log_start or 0)]
    latest = series.latest
    if len(steps) < STEPS or latest is None or latest.committed is None or latest.log_start is None:
        return None
    start = slope(steps, "log_start", least=0.001)
    done = slope(series.between(steps[0].at, latest.at), "committed", least=0.001)
    if start is None or done is None:
        return None
    return math.inf if start <= done else max(0, latest.committed - latest.log_start) / (start - done)


__all__ = ["Loss", "headroom_of", "loss_of"]
