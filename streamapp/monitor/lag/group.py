"""A group's verdict: the worst of its partitions, and what more workers would do about it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from streamapp.figures import duration
from streamapp.monitor.lag.inputs import Config
from streamapp.monitor.lag.verdict import GroupVerdict, Interval, Status, Verdict
from streamapp.records import Partition

SEVERITY: Final = {status: rank for rank, status in enumerate(Status)}
NAMED: Final = 8
"""Partitions that a sentence names."""
FEW: Final = 2
MANY: Final = 4
"""As many partitions to each one affected: then it is those, not the workers."""

_WORDS: Final = {
    Status.DATA_LOST: "lost unread records",
    Status.AT_RISK: "at risk",
    Status.STALLED: "stalled",
    Status.CLIFF: "behind after an event",
    Status.UNKNOWN: "unknown yet",
    Status.FALLING_BEHIND: "falling behind",
    Status.CATCHING_UP: "catching up",
    Status.OK: "level",
}


def evaluate_group(verdicts: Sequence[Verdict], config: Config, workers: int | None, now: float) -> GroupVerdict:
    """Return the verdict on a group from those on its partitions. `workers`: distinct worker ids seen; None: unknown."""
    status = min((each.status for each in verdicts), key=SEVERITY.__getitem__, default=Status.UNKNOWN)
    affected = tuple(sorted(each.partition for each in verdicts if each.status is status))
    oldest = max((each.age for each in verdicts if each.age is not None), default=None)
    loss = _least(verdicts)
    drain = _slowest(verdicts)
    needed, is_capped = _workers_needed(verdicts, config)
    growing = [each for each in verdicts if each.status is status and each.growth is not None and _grows(each)]
    skewed = (
        status in (Status.FALLING_BEHIND, Status.AT_RISK)
        and len(growing) == len(affected)
        and 0 < len(affected) <= FEW
        and len(verdicts) >= MANY * len(affected)
    )
    everywhere = status is Status.FALLING_BEHIND and len(affected) == len(verdicts)
    parts = [_which(status, affected, verdicts)]
    if oldest is not None:
        parts.append(f"oldest unread {duration(oldest)}")
    if loss is not None and not math.isinf(loss):
        parts.append(f"loss in {duration(loss)}")
    if drain is not None:
        parts.append(f"drained in {duration(drain.estimate)} ({duration(drain.low)} to {duration(drain.high)})")
    if needed is not None and status is not Status.OK:
        run = f", {workers} run" if workers is not None else ""
        parts.append(f"{needed} worker{'' if needed == 1 else 's'} needed{run}")
    if is_capped:
        parts.append(f"adding workers cannot help: {len(verdicts)} partitions are as many as can work")
    if skewed:
        parts.append("only there: look for a hot key before adding workers")
    elif everywhere and not is_capped:
        parts.append("all of them: capacity")
    return GroupVerdict(
        group=config.group,
        at=now,
        status=status,
        partitions=len(verdicts),
        affected=affected,
        oldest=oldest,
        loss=loss,
        drain=drain,
        workers=workers,
        workers_needed=needed,
        workers_capped=is_capped,
        skewed=skewed,
        sentence="; ".join(parts),
    )


def _which(status: Status, affected: Sequence[Partition], verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "no partition is known"
    total = f"{len(verdicts)} partition{'' if len(verdicts) == 1 else 's'}"
    if status is Status.OK:
        unread = sum(1 for each in verdicts if each.lag)
        return f"{total} level" if unread else f"{total}, nothing unread"
    of_one = len({each.partition.topic for each in verdicts}) == 1
    names = [str(each.number) if of_one else str(each) for each in affected[:NAMED]]
    rest = f" and {len(affected) - NAMED} more" if len(affected) > NAMED else ""
    return f"{len(affected)} of {total} {_WORDS[status]} ({', '.join(names)}{rest})"


def _grows(verdict: Verdict) -> bool:
    return verdict.growth is not None and verdict.deadband is not None and verdict.growth.low > verdict.deadband


def _least(verdicts: Sequence[Verdict]) -> float | None:
    """Return the first loss; what is unknown somewhere does not hide it, but is no `never`."""
    known = [each.loss for each in verdicts if each.loss is not None]
    finite = [each for each in known if not math.isinf(each)]
    if finite:
        return min(finite)
    return math.inf if known and len(known) == len(verdicts) else None


def _slowest(verdicts: Sequence[Verdict]) -> Interval | None:
    """Return the drain of the slowest partition: a group is drained when its last one is."""
    unread = [each for each in verdicts if each.lag != 0]
    drains = [each.drain for each in unread if each.drain is not None]
    if not drains or len(drains) < len(unread):
        return None
    return max(drains, key=lambda each: each.estimate)


def _workers_needed(verdicts: Sequence[Verdict], config: Config) -> tuple[int | None, bool]:
    """Return how many workers keep up and drain what is unread within the target; and whether there are not partitions enough."""
    per_worker = _capacity_per_worker(verdicts)
    produced = [each.produced_rate for each in verdicts if each.produced_rate is not None]
    unread = [each.lag for each in verdicts if each.lag is not None]
    if not verdicts or per_worker is None or len(produced) < len(verdicts) or len(unread) < len(verdicts):
        return None, False
    load = sum(produced) + sum(unread) / config.drain_target
    # 8 x 120 records/s over 8 x 120/s are 8.000000001 workers otherwise.
    wanted = max(1, math.ceil(load / per_worker - 1e-9))
    return min(wanted, len(verdicts)), wanted > len(verdicts)


def _capacity_per_worker(verdicts: Sequence[Verdict]) -> float | None:
    """Return what one worker can do: of its partitions, what each was seen to do when busy, else what it does now.

    A worker's partitions share its time, so what they do together is its own capacity, and one's alone is only its share.
    """
    by_owner: dict[str | None, list[Verdict]] = {}
    for each in verdicts:
        by_owner.setdefault(each.owner, []).append(each)
    seen = []
    if len(by_owner) > 1:
        by_owner.pop(None, None)  # nobody's partitions are no worker
    for theirs in by_owner.values():
        if any(each.capacity is not None for each in theirs):
            shares = [each.capacity if each.capacity is not None else each.consumed_rate for each in theirs]
            seen.append(sum(share for share in shares if share is not None))
    found = statistics.fmean(seen) if seen else None
    return found or None


__all__ = ["SEVERITY", "evaluate_group"]
