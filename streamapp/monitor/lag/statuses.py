"""The conditions of the statuses, each by itself (OPERATIONS §3.3). What holds first is decided in evaluate.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamapp.figures import duration
from streamapp.monitor.lag.inputs import Change, Config, Happening, Limits
from streamapp.monitor.lag.loss import Loss
from streamapp.monitor.lag.rates import LONG, SHORT, consumed, percentile_95, slope
from streamapp.monitor.lag.series import Series, blocked_of, lag_of
from streamapp.monitor.lag.verdict import Cause, Interval
from streamapp.pipeline.facts import StandsFor, Standstill

FRESH: Final = 10.0
"""Seconds of age up to which nobody is behind."""
SOON: Final = 6 * 3600.0
"""Seconds in which a person can still be called and act."""
USED: Final = 0.8
"""Share of the retention that may be used up."""

UPSTREAM: Final = 60.0
"""Seconds after which the broker ends a transaction of others, where its timeout is unknown."""
RECENT: Final = 600.0
"""Seconds in which an event still explains a rise."""
JOINS: Final = 3
STUCK: Final = 60.0
"""Seconds that a rebalance may take."""
SLOWER: Final = 0.8


@dataclass(frozen=True, slots=True)
class Found:
    """A status that holds: why, and since when."""

    cause: Cause | None
    detail: str = ""
    since: float | None = None
    offset: int | None = None
    recovery: float | None = None


# -- AT_RISK


def at_risk(lag: int | None, loss: Loss, drain: Interval | None, used: float | None) -> Found | None:
    if not lag:
        return None
    limit = min(SOON, loss.limit / 4) if loss.limit is not None else SOON
    if drain is not None:
        limit = max(limit, 2 * drain.high)
    if loss.seconds is not None and loss.seconds < limit:
        return Found(loss.cause)
    return Found(loss.cause or Cause.TIME) if used is not None and used > USED else None


# -- STALLED


def stalled(series: Series, limits: Limits, config: Config, blocked_for: float | None, now: float) -> Found | None:
    """C has stood still while records were unread, or while an open transaction kept them from being read.

    The second is no lag by its formula: a reader at the last stable offset has nothing to read. Yet nothing moves, and nobody will move
    it but the transaction's end.
    """
    if limits.restore is not None and limits.restore.moving:
        return None
    since = _stands_since(series, config)
    bound = max(60.0, 5 * config.commit_interval, 3 * (limits.handler_p99 or 0.0))
    if since is not None and now - since >= bound:
        return _why(limits, blocked_for, since, series)
    end = series.latest.end if series.latest is not None else None
    if blocked_for is not None and blocked_for > (limits.upstream_timeout or UPSTREAM):
        return Found(Cause.OPEN_TRANSACTION, limits.blocked_by or "", now - blocked_for, end)
    return None


def blocked_since(series: Series, limits: Limits) -> float | None:
    """Return since when the end readable has stood still with records behind it; None where it has not."""
    since = None
    end = series.latest.end if series.latest is not None else None
    for sample in reversed(series.samples):
        if not blocked_of(sample) or sample.end != end:
            break
        since = sample.at
    if since is None or limits.blocked_since is None:
        return since
    return min(since, limits.blocked_since)


def _stands_since(series: Series, config: Config) -> float | None:
    """Return since when C has been where it is, with records unread all the time."""
    latest = series.latest
    if latest is None or latest.committed is None:
        return None
    since = None
    for sample in reversed(series.samples):
        if sample.committed is None and sample.end is None:
            continue  # nobody could look
        if sample.committed != latest.committed or not lag_of(sample, config):
            break
        since = sample.at
    return since


def _why(limits: Limits, blocked_for: float | None, since: float, series: Series) -> Found:
    """Return the cause: from those that name it to those that only may be it."""
    by_kind: dict[StandsFor, Standstill] = {}
    for each in limits.standstills:
        by_kind.setdefault(each.kind, each)
    kinds: tuple[tuple[Cause, tuple[StandsFor, ...]], ...] = (
        (Cause.STOPPED, ("stopped", "blocked")),
        (Cause.DLQ, ("unwritten",)),
        (Cause.BREAKER, ("breaker",)),
        (Cause.RETRYING, ("retrying", "suspect")),
        (Cause.PAUSED, ("paused", "no position")),
    )
    if limits.rebalancing_since is not None:
        return Found(Cause.REBALANCING, since=since)
    if limits.owner_known and limits.owner is None:
        return Found(Cause.NO_OWNER, since=since)
    if limits.restore is not None or "restoring" in by_kind:
        return Found(Cause.RESTORE, _restored(limits), since)
    for cause, its in kinds:
        for kind in its:
            if (stands := by_kind.get(kind)) is not None:
                return Found(cause, _told(stands), since, stands.offset)
    if "revoked" in by_kind or "rewinding" in by_kind:
        return Found(Cause.REBALANCING, since=since)
    if limits.in_hand is not None:
        agent, seconds = limits.in_hand
        at = "a record" if limits.in_hand_offset is None else f"offset {limits.in_hand_offset}"
        return Found(Cause.HANDLER, f"{agent} on {at} for {duration(seconds)}", since, limits.in_hand_offset)
    if blocked_for is not None and blocked_for > (limits.upstream_timeout or UPSTREAM):
        end = series.latest.end if series.latest is not None else None
        return Found(Cause.OPEN_TRANSACTION, limits.blocked_by or "", since, end)
    return Found(Cause.NOT_SEEN, since=since)


def _restored(limits: Limits) -> str:
    restore = limits.restore
    return "" if restore is None or restore.remaining is None else f"{restore.remaining:,} records of its tables are missing"


def _told(stands: Standstill) -> str:
    """Return who waits on what, as the log said it."""
    parts = [stands.agent or ""]
    if stands.offset is not None:
        parts.append(f"at offset {stands.offset}")
    if stands.attempt is not None:
        parts.append(f"attempt {stands.attempt}")
    said = " ".join(part for part in parts if part)
    return f"{said}: {stands.detail}" if said and stands.detail else said or stands.detail


# -- CLIFF


@dataclass(frozen=True, slots=True)
class _Rise:
    """What an event made of the lag."""

    event: Happening
    rose: float
    begin: float
    """The last commit before."""
    end: float | None
    """The first one after."""
    recovery: float | None


def cliff(
    series: Series, events: Sequence[Happening], limits: Limits, config: Config, c_max: float | None, now: float
) -> Found | None:
    """What happened explains the lag, and it will go: a restore that moves, or an outage that is made up for."""
    rises = [rise for event in events if (rise := _rise(series, event, config, c_max, now)) is not None]
    # The last outage: an earlier event, made up for since, would have risen as much. Of one outage the deploy says most.
    rise = max(rises, key=lambda each: (each.begin, each.event.change is Change.DEPLOYED, each.rose), default=None)
    restoring = limits.restore is not None and limits.restore.moving
    if rise is None and not restoring:
        return None
    since = rise.event.at if rise is not None else None
    recovery = rise.recovery if rise is not None else None
    if (who := _crash_loop(events, now)) is not None:
        return Found(Cause.CRASH_LOOP, who, since, recovery=recovery)
    if limits.rebalancing_since is not None and now - limits.rebalancing_since > STUCK:
        stuck = now - limits.rebalancing_since
        return Found(Cause.REBALANCE_STUCK, duration(stuck), limits.rebalancing_since, recovery=recovery)
    if (slower := _slower(series, rises)) is not None:
        return Found(Cause.SLOWER, slower, since, recovery=recovery)
    if restoring and limits.restore is not None:
        restore = limits.restore
        whole = None if restore.remaining is None else restore.restored + restore.remaining
        part = f"{restore.restored / whole:.0%} restored".replace("%", " %") if whole else ""
        return Found(Cause.RESTORING, part, since, recovery=restore.seconds_left)
    assert rise is not None
    worker = f" of {rise.event.worker}" if rise.event.worker is not None else ""
    version = f" to {rise.event.version}" if rise.event.change is Change.DEPLOYED and rise.event.version is not None else ""
    took = duration((now if rise.end is None else rise.end) - rise.begin)
    return Found(Cause.OUTAGE, f"{rise.event.change}{worker}{version}, {took} without a commit", since, recovery=recovery)


def _rise(series: Series, event: Happening, config: Config, c_max: float | None, now: float) -> _Rise | None:
    p = slope(series.samples, "end")
    if event.change is Change.RESET or event.at > now or p is None:
        return None
    begin, end = _outage(series, event, config)
    # The event is told when somebody takes over; the lag has risen since the last commit.
    before = [point.lag for point in series.points if begin - LONG <= point.at <= begin]
    after = [point.lag for point in series.points if point.at > begin]
    if not before or not after or series.points[-1].at < event.at:
        return None
    lasted = (series.samples[-1].at if end is None else end) - begin
    if lasted < max(config.sample_interval, 5 * config.commit_interval):
        return None  # no outage: from nothing unread to a handful, any rise would be one
    usual = percentile_95(before) or 0.0
    rose = max(after) - before[-1]
    if rose <= 0 or rose < max(0.8 * p * lasted, 10 * usual):
        return None
    recovery = p * lasted / (c_max - p) if c_max is not None and c_max > p else None
    until = event.at + RECENT if recovery is None or end is None else end + 2 * recovery
    if now > until or after[-1] <= max(usual, before[-1]):
        return None
    return _Rise(event, rose, begin, end, recovery)


def _outage(series: Series, event: Happening, config: Config) -> tuple[float, float | None]:
    """Return the last moment before the event at which the partition was seen to move or had nothing to do, and the last before it did again.

    What moved between two samples began somewhere between them: from the first to the last sample without a commit is as long as it was
    on average, one sample more is not. A worker that is down samples nothing; then its first sample tells.
    """
    begin, end, before = series.samples[0].at, None, None
    for sample in series.samples:
        moved = before is not None and sample.committed is not None and sample.committed > (before.committed or 0)
        if moved or lag_of(sample, config) == 0:
            if sample.at <= event.at:
                begin = sample.at
            elif end is None:
                end = max(begin, before.at if before is not None else begin, sample.at - config.sample_interval)
        before = sample if sample.committed is not None else before
    return begin, end


def _crash_loop(events: Sequence[Happening], now: float) -> str | None:
    """Return the worker that keeps joining, and how often."""
    joins: dict[tuple[str, Change], int] = {}
    for event in events:
        if event.worker is not None and event.change in (Change.ASSIGNED, Change.RESTARTED) and now - RECENT <= event.at <= now:
            # Each by itself: one join may be told as both.
            joins[event.worker, event.change] = joins.get((event.worker, event.change), 0) + 1
    often = max(joins.items(), key=lambda item: (item[1], item[0]), default=None)
    if often is None or often[1] < JOINS:
        return None
    return f"{often[0][0]} joined {often[1]} times in 10 min"


def _slower(series: Series, rises: Sequence[_Rise]) -> str | None:
    """Return what a new version does less than the one before it, as seen for five minutes."""
    for rise in rises:
        latest = series.samples[-1].at
        if rise.event.change is not Change.DEPLOYED or rise.end is None or latest - rise.end < SHORT:
            continue
        before = consumed(series.between(rise.begin - LONG, rise.begin))
        after = consumed(series.between(rise.end, latest))
        if before is not None and after is not None and before > 0 and after / before < SLOWER:
            return f"version {rise.event.version or '?'} is {1 - after / before:.0%} slower".replace("%", " %")
    return None


__all__ = ["FRESH", "Found", "at_risk", "blocked_since", "cliff", "stalled"]
