"""What the samples of a partition say: `evaluate` for one, `settled` against flicker, `evaluate_group` for all (OPERATIONS §3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamapp.monitor.lag.group import evaluate_group
from streamapp.monitor.lag.inputs import MARK_HOUR, Config, Happening, Limits, Sample
from streamapp.monitor.lag.loss import headroom_of, loss_of
from streamapp.monitor.lag.rates import LONG, LONG_ENOUGH, SHORT, Rates, Trend, capacity, drain, missing, pace, rates, trend
from streamapp.monitor.lag.series import Series, blocked_of, lag_of, raw_lag_of, series_of
from streamapp.monitor.lag.statuses import FRESH, Found, at_risk, blocked_since, cliff, stalled
from streamapp.monitor.lag.verdict import Cause, Interval, Status, Verdict


def evaluate(samples: Sequence[Sample], events: Sequence[Happening], limits: Limits, config: Config, now: float) -> Verdict:
    """Return the first status whose condition holds, with all figures. Never raises; what cannot be known is None.

    `samples`: one partition's of the last 30 minutes, oldest first.
    """
    series = series_of(samples, events, config)
    latest = series.latest
    lag = lag_of(latest, config) if latest is not None else None
    oldest = latest.oldest_unread if latest is not None and lag != 0 else None
    age = max(0.0, now - oldest) if oldest is not None else None
    v = pace(series)
    short, long = trend(series, SHORT, SHORT, config), trend(series, LONG, LONG_ENOUGH, config)
    drains = drain(lag, short or long)
    loss = loss_of(series, limits, lag, age, v, now)
    used = _used(limits, age)
    c_max = capacity(series, config)
    since_blocked = blocked_since(series, limits)
    blocked_for = now - since_blocked if since_blocked is not None else None
    lost = _lost(latest)

    def status() -> tuple[Status, Found, Trend | None]:
        usual = short or long
        if lost:
            return Status.DATA_LOST, Found(None, config.reset_policy, _lost_since(series)), usual
        if (found := at_risk(lag, loss, drains, used)) is not None:
            return Status.AT_RISK, found, usual
        if (found := stalled(series, limits, config, blocked_for, now)) is not None:
            return Status.STALLED, found, usual
        if (found := cliff(series, events, limits, config, c_max, now)) is not None:
            return Status.CLIFF, found, usual
        done = lag == 0 or (age is not None and age < FRESH)
        if not done and (cause := _missing_cause(series, lag, usual, config)) is not None:
            return Status.UNKNOWN, Found(cause), usual
        if lag and long is not None and long.grows:
            return Status.FALLING_BEHIND, Found(None), long
        if lag and short is not None and short.shrinks and (age is None or age > FRESH):
            return Status.CATCHING_UP, Found(None), short
        longest = long or short
        if done:
            return Status.OK, Found(Cause.DONE), longest
        clear = longest is not None and longest.is_clear
        return Status.OK, Found(Cause.LEVEL if clear else Cause.NO_TREND), longest

    named, found, decided = status()
    shown = decided.rates if decided is not None else _first_rates(series)
    behind = named is Status.FALLING_BEHIND and age is not None and age < MARK_HOUR and v is not None and v < 1
    return Verdict(
        partition=limits.partition,
        at=now,
        status=named,
        cause=found.cause,
        detail=found.detail,
        since=found.since,
        committed=latest.committed if latest is not None else None,
        end=latest.end if latest is not None else None,
        log_start=latest.log_start if latest is not None else None,
        lag=lag,
        raw_lag=raw_lag_of(latest, config) if latest is not None else None,
        blocked=blocked_of(latest) if latest is not None else None,
        age=age,
        pace=v,
        produced_rate=shown.produced,
        consumed_rate=shown.consumed,
        growth=decided.growth if decided is not None else None,
        growth_window=decided.window if decided is not None else None,
        deadband=decided.deadband if decided is not None else None,
        drain=drains,
        capacity=c_max,
        utilization=shown.produced / c_max if shown.produced is not None and c_max else None,
        loss=loss.seconds,
        loss_by=loss.cause,
        headroom=headroom_of(latest, limits),
        used=used,
        lost=lost,
        hour_in=(MARK_HOUR - age) / (1 - max(0.0, v)) if behind and age is not None and v is not None else None,
        recovery=found.recovery,
        known_in=_known_in(series, found.cause, config) if named is Status.UNKNOWN else None,
        owner=limits.owner,
        owner_known=limits.owner_known,
        commit_age=_commit_age(series, limits, now),
        retention=limits.topic.retention,
        retention_bytes=limits.topic.retention_bytes,
        offset=found.offset,
        blocked_for=blocked_for,
    )


def settled(shown: Verdict | None, before: Verdict | None, latest: Verdict) -> Verdict:
    """Return what to show: two evaluations in a row change the status, DATA_LOST does at once.

    `shown`: what was shown last; `before`: what `evaluate` said last; None at the start. The figures are always the latest ones; those
    that belong to a status stay with it.
    """
    if shown is None or latest.status is Status.DATA_LOST:
        return replace(latest, since=latest.since if latest.since is not None else latest.at)
    if latest.status is shown.status:
        same = latest.cause is shown.cause or latest.since is None
        return replace(latest, since=shown.since if same and shown.since is not None else latest.since)
    if before is not None and before.status is latest.status:
        return replace(latest, since=latest.since if latest.since is not None else before.at)
    return replace(
        latest,
        status=shown.status,
        cause=shown.cause,
        detail=shown.detail,
        since=shown.since,
        offset=shown.offset,
        lost=shown.lost if shown.status is Status.DATA_LOST else latest.lost,
        hour_in=shown.hour_in,
        recovery=shown.recovery,
        known_in=shown.known_in,
    )


def _used(limits: Limits, age: float | None) -> float | None:
    limit = limits.topic.retention if limits.topic.deleted else limits.topic.delete_retention if limits.topic.compacted else None
    return age / limit if age is not None and limit else None


def _lost(sample: Sample | None) -> int:
    if sample is None or sample.log_start is None or sample.committed is None:
        return 0
    return max(0, sample.log_start - sample.committed)


def _lost_since(series: Series) -> float | None:
    since = None
    for sample in reversed(series.samples):
        if not _lost(sample):
            break
        since = sample.at
    return since


def _missing_cause(series: Series, lag: int | None, found: Trend | None, config: Config) -> Cause | None:
    """Return what is missing for a trend; None where there is one."""
    if not config.reachable:
        return Cause.UNREACHABLE
    latest = series.latest
    if latest is not None and latest.committed is None and latest.end is not None:
        return Cause.NO_COMMIT
    return Cause.FEW_SAMPLES if found is None or lag is None else None


def _known_in(series: Series, cause: Cause | None, config: Config) -> float | None:
    return missing(series, config) if cause is Cause.FEW_SAMPLES else None


def _first_rates(series: Series) -> Rates:
    """Return the rates of what samples there are, before they make a trend."""
    if not series.samples:
        return Rates(0.0, 0.0, None, None)
    end = series.samples[-1].at
    return rates(series, end - SHORT, end)


def _commit_age(series: Series, limits: Limits, now: float) -> float | None:
    if limits.last_commit is not None:
        return max(0.0, now - limits.last_commit)
    last, previous = None, None
    for sample in series.samples:
        if sample.committed is not None:
            if previous is not None and sample.committed != previous:
                last = sample.at
            previous = sample.committed
    return None if last is None else max(0.0, now - last)


__all__ = ["Interval", "evaluate", "evaluate_group", "settled"]
