"""A group's lag, look after look: what the broker tells now, with what workers tell of the half hour before, judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streamapp.monitor.lag.evaluate import evaluate, evaluate_group, settled
from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.inputs import Config, Limits, Sample
from streamapp.monitor.lag.verdict import Cause, GroupVerdict, Status, Verdict
from streamapp.monitor.status import StatusDocument
from streamapp.records import Partition
from streamapp.verify.group_lag import Asked, Reading
from streamapp.verify.told import Told, told_by

WINDOW: Final = 1800.0
"""Seconds of samples that are kept."""
_CAUSES: Final = frozenset(map(str, Cause))


@dataclass(frozen=True, slots=True)
class Row:
    """One partition: the verdict, and who has it."""

    verdict: Verdict
    high_watermark: int | None
    sentence: str
    fix: str | None
    asked: Asked


@dataclass(frozen=True, slots=True)
class Board:
    """A group at one moment, judged."""

    at: float
    group: GroupVerdict
    rows: Sequence[Row]
    """By topic and partition."""
    missing: Sequence[str]
    is_empty: bool
    """Nobody is in the group."""

    def of(self, number: int | None) -> Sequence[Row]:
        """Return the rows of this partition number; None: all."""
        return [row for row in self.rows if number is None or row.verdict.partition.number == number]


class LagWatch:
    """Remembers what was seen, so that a trend shows without a worker's history, too. One thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._seen: dict[Partition, list[Sample]] = {}
        self._shown: dict[Partition, Verdict] = {}
        self._before: dict[Partition, Verdict] = {}
        self._empty_since: float | None = None
        self._turning_since: float | None = None

    def look(self, reading: Reading, documents: Sequence[StatusDocument]) -> Board:
        """Return what this reading and these documents come to."""
        now, members = reading.at, reading.membership
        self._empty_since = (self._empty_since or now) if members is not None and members.is_empty else None
        self._turning_since = (self._turning_since or now) if members is not None and members.is_rebalancing else None
        told = told_by(documents, self._config.group)
        rows = [self._row(where, asked, reading, told) for where, asked in sorted(reading.partitions.items())]
        group = evaluate_group([row.verdict for row in rows], self._config, reading.workers, now)
        return Board(now, group, rows, reading.missing, members is not None and members.is_empty)

    def _row(self, where: Partition, asked: Asked, reading: Reading, told: Mapping[Partition, Told]) -> Row:
        its = told.get(where)
        samples = self._samples(where, asked.sample, its)
        limits = self._limits(where, asked, reading, its)
        latest = evaluate(samples, its.events if its is not None else (), limits, self._config, reading.at)
        shown = settled(self._shown.get(where), self._before.get(where), latest)
        self._shown[where], self._before[where] = shown, latest
        sentence, fix = explain(shown), fix_of(shown, self._config)
        if not asked.is_decided:
            sentence, fix = (
                "an open transaction holds the group's offset back: known when it has ended",
                "streamapp transactions list",
            )
        elif (
            its is not None
            and its.status.status == shown.status
            and shown.cause is Cause.NOT_SEEN
            and its.status.cause in _CAUSES
        ):
            # The worker sees more of the cause.
            shown, sentence, fix = replace(shown, cause=Cause(its.status.cause)), its.status.sentence, its.status.fix
        return Row(shown, asked.sample.high_watermark, sentence, fix, asked)

    def _samples(self, where: Partition, latest: Sample, its: Told | None) -> list[Sample]:
        """Return what the worker remembers and what was seen since, and remember it."""
        ours = self._seen.get(where, [])
        theirs = [each for each in its.samples if each.at < latest.at] if its is not None else []
        if theirs:
            ours = [*theirs, *(each for each in ours if each.at > theirs[-1].at)]
        kept = [each for each in (*ours, latest) if each.at >= latest.at - WINDOW]
        self._seen[where] = kept
        return kept

    def _limits(self, where: Partition, asked: Asked, reading: Reading, its: Told | None) -> Limits:
        held = asked.transaction
        return Limits(
            topic=asked.limits,
            offsets_retention=reading.offsets_retention,
            empty_since=self._empty_since,
            owner=asked.worker,
            owner_known=reading.membership is not None,
            standstills=its.standstills if its is not None else (),
            in_hand=None,
            handler_p99=its.handler_p99 if its is not None else None,
            restore=its.restore if its is not None else None,
            rebalancing_since=self._turning_since,
            last_commit=its.last_commit if its is not None else None,
            upstream_timeout=held.timeout if held is not None else None,
            partitions=sum(1 for each in reading.partitions if each.topic == where.topic),
            partition=where,
            blocked_since=reading.at - held.age if held is not None and held.age is not None else None,
            blocked_by=held.transactional_id if held is not None else None,
        )


def is_well(rows: Sequence[Row]) -> bool:
    """Whether all of them are OK or catching up."""
    return all(row.verdict.status in (Status.OK, Status.CATCHING_UP) for row in rows)


def unread(rows: Sequence[Row]) -> int | None:
    """Return how many records are unread; None where that is not known of each."""
    lags = [row.verdict.lag for row in rows]
    known = [lag for lag in lags if lag is not None]
    return sum(known) if len(known) == len(lags) else None


__all__ = ["Board", "LagWatch", "Row", "is_well", "unread"]
