"""A verdict in one sentence, and the command to run next (OPERATIONS §3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from streamapp.figures import count, duration, moment, rate, share
from streamapp.monitor.lag.inputs import Config
from streamapp.monitor.lag.verdict import Cause, Status, Verdict
from streamapp.monitor.lag.wording import growth, spread

DAY: Final = 86_400.0
STALE: Final = 300.0
"""Seconds of age from which on a level partition is called behind all the same."""

FULL: Final = 0.8
"""Utilisation from which on little is left to make up for an outage: one of a minute costs four."""

_LIMITS: Final[Mapping[Cause | None, str]] = {
    Cause.TIME: "retention.ms",
    Cause.SIZE: "retention.bytes",
    Cause.TOMBSTONES: "delete.retention.ms",
    Cause.OFFSET_EXPIRY: "offsets.retention.minutes of the empty group",
}
_STALLS: Final[Mapping[Cause | None, str]] = {
    Cause.NO_OWNER: "no worker owns it",
    Cause.PAUSED: "paused",
    Cause.BREAKER: "breaker open",
    Cause.STOPPED: "stopped",
    Cause.RETRYING: "retrying",
    Cause.DLQ: "DLQ not writable",
    Cause.OPEN_TRANSACTION: "an open transaction of another producer holds it",
    Cause.HANDLER: "a handler does not return",
    Cause.REBALANCING: "the group is rebalancing",
    Cause.RESTORE: "its restore does not move",
    Cause.NOT_SEEN: "no cause is seen from here",
}


def explain(verdict: Verdict) -> str:
    """Return what is the matter, with its figures, as one sentence without a full stop."""
    return _SENTENCES[verdict.status](verdict)


def fix_of(verdict: Verdict, config: Config) -> str | None:
    """Return the command to run next; None where waiting is right, or nothing is wrong."""
    partition = verdict.partition
    if verdict.status in (Status.DATA_LOST, Status.AT_RISK):
        return _time_bought(verdict, config)
    if verdict.status is Status.STALLED:
        at = f"{partition}/{verdict.offset}" if verdict.offset is not None else f"{partition}/OFFSET"
        start = verdict.end if verdict.offset is None else verdict.offset
        return {
            Cause.NO_OWNER: "faust -A streamapp worker",
            Cause.PAUSED: "streamapp doctor",
            Cause.BREAKER: "streamapp dlq stats --since 1h",
            Cause.STOPPED: f"streamapp dlq take {at}",
            Cause.RETRYING: "streamapp dlq stats --since 1h",
            Cause.DLQ: "streamapp dlq check",
            Cause.OPEN_TRANSACTION: (
                f"streamapp transactions abort --topic {partition.topic} --partition {partition.number} --start-offset {start}"
            ),
            Cause.HANDLER: "streamapp doctor --only G08",
            Cause.REBALANCING: "streamapp doctor --only G",
            Cause.RESTORE: "streamapp transactions list",
        }.get(verdict.cause or Cause.NOT_SEEN, "streamapp doctor")
    if verdict.status is Status.CLIFF:
        return {
            Cause.CRASH_LOOP: "streamapp doctor --only G",
            Cause.REBALANCE_STUCK: "streamapp doctor --only G",
            Cause.SLOWER: "streamapp doctor --only G08",
        }.get(verdict.cause or Cause.OUTAGE)
    if verdict.status is Status.UNKNOWN:
        return {
            Cause.NO_COMMIT: "faust -A streamapp worker",
            Cause.UNREACHABLE: "streamapp doctor",
        }.get(verdict.cause or Cause.FEW_SAMPLES)
    return "streamapp doctor --only P,G" if verdict.status is Status.FALLING_BEHIND else None


# -- the sentences


def _data_lost(verdict: Verdict) -> str:
    since = f" since {moment(verdict.since)}" if verdict.since is not None else ""
    policy = f"; reset policy: {verdict.detail}" if verdict.detail else ""
    start = f", the log begins at {count(verdict.log_start)}" if verdict.log_start is not None else ""
    return f"{count(verdict.lost, 'record')} deleted unread{since}{start}{policy}"


def _at_risk(verdict: Verdict) -> str:
    parts = []
    if verdict.loss is not None and not math.isinf(verdict.loss):
        parts.append(f"unread records are deleted in {duration(verdict.loss)}")
    elif verdict.used is not None:
        parts.append(f"{share(verdict.used)} of the retention is used up")
    parts.append(f"{_LIMITS.get(verdict.cause, 'retention')} binds")
    if verdict.retention is not None and verdict.cause is Cause.TIME:
        parts[-1] += f" ({duration(verdict.retention)})"
    if verdict.headroom is not None and verdict.cause is Cause.SIZE:
        parts[-1] += f" ({share(verdict.headroom)} of the log lies before what is unread)"
    return ", ".join([*parts, *_standing(verdict)])


def _stalled(verdict: Verdict) -> str:
    stood = f" for {duration(verdict.at - verdict.since)}" if verdict.since is not None else ""
    why = _STALLS.get(verdict.cause, _STALLS[Cause.NOT_SEEN])
    detail = f" ({verdict.detail})" if verdict.detail else ""
    if verdict.cause is Cause.OPEN_TRANSACTION and verdict.offset is not None:
        whose = f"{verdict.detail}: " if verdict.detail else ""
        detail = f" ({whose}{count(verdict.blocked, 'record')} from offset {verdict.offset} on wait for its end)"
    return ", ".join([f"nothing committed{stood}: {why}{detail}", *_standing(verdict)])


def _cliff(verdict: Verdict) -> str:
    if verdict.cause is Cause.RESTORING:
        part = f": {verdict.detail}" if verdict.detail else ""
        left = f", {duration(verdict.recovery)} left" if verdict.recovery is not None else ", time left unknown"
        return ", ".join([f"restoring its tables{part}{left}", *_standing(verdict)])
    what = {
        Cause.CRASH_LOOP: f"crash loop: {verdict.detail}",
        Cause.REBALANCE_STUCK: f"rebalance stuck for {verdict.detail}",
        Cause.SLOWER: f"new {verdict.detail}",
    }.get(verdict.cause or Cause.OUTAGE, f"behind after an outage: {verdict.detail}")
    soon = (
        f"back in about {duration(verdict.recovery)}"
        if verdict.recovery is not None
        else "recovery unknown: no capacity seen yet"
    )
    return ", ".join([what, soon, *_standing(verdict)])


def _unknown(verdict: Verdict) -> str:
    known = f"; known in {duration(verdict.known_in)}" if verdict.known_in is not None else ""
    missing = {
        Cause.NO_COMMIT: "the group has committed nothing here; known once a worker has",
        Cause.UNREACHABLE: "the broker does not answer; known once it does",
    }.get(verdict.cause or Cause.FEW_SAMPLES, f"not enough samples for a trend{known or '; known once some are taken'}")
    return ", ".join([missing, *_standing(verdict)])


def _falling_behind(verdict: Verdict) -> str:
    parts = [f"growing {growth(verdict.growth)} over {duration(verdict.growth_window)}", *_standing(verdict)]
    if verdict.produced_rate is not None and verdict.consumed_rate is not None:
        parts.insert(1, f"{rate(verdict.produced_rate)} come and {rate(verdict.consumed_rate)} are done")
    if verdict.hour_in is not None:
        parts.append(f"age 1 h in {duration(verdict.hour_in)}")
    if verdict.loss is not None:
        parts.append("no loss in sight" if math.isinf(verdict.loss) else f"loss in {duration(verdict.loss)}")
    return ", ".join(parts)


def _catching_up(verdict: Verdict) -> str:
    return ", ".join([f"drained in {spread(verdict.drain)}", growth(verdict.growth), *_standing(verdict)])


def _ok(verdict: Verdict) -> str:
    return ", ".join([_level(verdict), *_nearly_full(verdict)])


def _level(verdict: Verdict) -> str:
    if verdict.lag == 0:
        behind = f", {count(verdict.blocked, 'record')} behind an open transaction" if verdict.blocked else ""
        return f"nothing unread{behind}"
    if verdict.cause is Cause.NO_TREND:
        said = f"no clear trend: {growth(verdict.growth)}" if verdict.growth is not None else "no clear trend"
    else:
        said = "level"
    if verdict.age is not None and verdict.age > STALE:
        return f"{said}, {_roughly(verdict.age)} behind"
    return ", ".join([said, *_standing(verdict)])


_SENTENCES: Final[Mapping[Status, Callable[[Verdict], str]]] = {
    Status.DATA_LOST: _data_lost,
    Status.AT_RISK: _at_risk,
    Status.STALLED: _stalled,
    Status.CLIFF: _cliff,
    Status.UNKNOWN: _unknown,
    Status.FALLING_BEHIND: _falling_behind,
    Status.CATCHING_UP: _catching_up,
    Status.OK: _ok,
}


def _nearly_full(verdict: Verdict) -> list[str]:
    """Return the warning of a partition that has little room to make up for an outage."""
    used = verdict.utilization
    if used is None or used <= FULL:
        return []
    if used >= 1:
        return [f"utilisation {share(used)}: an outage would never be made up for"]
    return [f"utilisation {share(used)}: an outage of 1 min costs {duration(60 * used / (1 - used))}"]


def _standing(verdict: Verdict) -> list[str]:
    """Return how much is unread, and how old it is."""
    if not verdict.lag:
        return []
    parts = [f"{verdict.lag:,} unread"]
    if verdict.age is not None:
        parts.append(f"the oldest for {duration(verdict.age)}")
    return parts


def _roughly(seconds: float) -> str:
    """Return `40 min`, as people say it."""
    return f"{seconds / 60:.0f} min" if seconds < 5400 else duration(seconds)


# -- what buys time


def _time_bought(verdict: Verdict, config: Config) -> str:
    if verdict.cause is Cause.OFFSET_EXPIRY:
        return "faust -A streamapp worker"  # offsets of a group with members do not expire
    if verdict.cause is Cause.SIZE and verdict.retention_bytes is not None:
        setting = f"retention.bytes={2 * verdict.retention_bytes}"
    elif verdict.cause is Cause.TOMBSTONES:
        setting = f"delete.retention.ms={_longer(verdict)}"
    else:
        setting = f"retention.ms={_longer(verdict)}"
    return (
        f"kafka-configs.sh --bootstrap-server {config.broker} --alter --entity-type topics "
        f"--entity-name {verdict.partition.topic} --add-config {setting}"
    )


def _longer(verdict: Verdict) -> int:
    """Return milliseconds: twice the limit, and a day more than what is unread is old."""
    limit = verdict.retention
    if verdict.cause is Cause.TOMBSTONES or limit is None:
        limit = verdict.age / verdict.used if verdict.age and verdict.used else 7 * DAY
    return round(1000 * max(2 * limit, (verdict.age or 0.0) + DAY))


__all__ = ["explain", "fix_of"]
