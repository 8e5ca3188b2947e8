"""A partition's samples as a verdict reads them: settled ones, since the last reset, with what is unread at each."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from streamapp.monitor.lag.inputs import Change, Config, Happening, Sample


@dataclass(frozen=True, slots=True)
class Point:
    """How many records were unread at a moment."""

    at: float
    lag: float


@dataclass(frozen=True, slots=True)
class Series:
    """Samples oldest first, and the points of those whose lag is known."""

    samples: tuple[Sample, ...]
    points: tuple[Point, ...]

    @property
    def latest(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    def between(self, begin: float, end: float) -> tuple[Sample, ...]:
        first = bisect.bisect_left(self.samples, begin, key=lambda sample: sample.at)
        return self.samples[first : bisect.bisect_right(self.samples, end, first, key=lambda sample: sample.at)]

    def tail(self, window: float, gap: float) -> float:
        """Return where the newest stretch begins that has no gap longer than `gap`, at most `window` before its end."""
        index = len(self.points) - 1
        end = self.points[index].at
        while index and self.points[index].at > end - window and self.points[index].at - self.points[index - 1].at <= gap:
            index -= 1
        return max(self.points[index].at, end - window)

    def lag_at(self, moment: float) -> float:
        """Return the lag at a moment inside the series, on the line between its neighbours."""
        index = bisect.bisect_left(self.points, moment, key=lambda point: point.at)
        after = self.points[min(index, len(self.points) - 1)]
        before = self.points[max(0, index - 1)]
        if after.at <= moment or after.at == before.at:
            return after.lag
        return before.lag + (after.lag - before.lag) * (moment - before.at) / (after.at - before.at)


def series_of(samples: Sequence[Sample], events: Sequence[Happening], config: Config) -> Series:
    """Return what may be compared with one another: nothing from the middle of a rebalance, nothing from before a reset.

    A fall of C is a reset, and so is one of E: the topic was made anew.
    """
    settled = sorted((sample for sample in samples if sample.settled), key=lambda sample: sample.at)
    begin = max((event.at for event in events if event.change is Change.RESET), default=None)
    start, committed, end = 0, None, None
    for index, sample in enumerate(settled):
        if begin is not None and sample.at < begin:
            start, committed, end = index + 1, None, None
            continue
        if _fell(committed, sample.committed) or _fell(end, sample.end):
            start = index
            committed, end = sample.committed, sample.end
        committed = sample.committed if sample.committed is not None else committed
        end = sample.end if sample.end is not None else end
    kept = tuple(settled[start:])
    lags = ((sample.at, lag_of(sample, config)) for sample in kept)
    return Series(kept, tuple(Point(at, lag) for at, lag in lags if lag is not None))


def raw_lag_of(sample: Sample, config: Config) -> int | None:
    """Return the records between what is committed and what can be read. None: unknown."""
    if sample.end is None:
        return None
    if sample.committed is not None:
        return max(0, sample.end - sample.committed)
    # Never committed: all of it will be read, or nothing of what is there now.
    return max(0, sample.end - sample.log_start) if config.earliest and sample.log_start is not None else None


def lag_of(sample: Sample, config: Config) -> int | None:
    """Return the records that are unread: none where all was fetched and nothing of it is held, whatever C says.

    A trailing commit marker is no record, and C may stay in front of it.
    """
    if sample.end is not None and sample.position is not None and sample.position >= sample.end and sample.unmerged == 0:
        return 0
    return raw_lag_of(sample, config)


def blocked_of(sample: Sample) -> int | None:
    """Return the records behind an open transaction."""
    if sample.high_watermark is None or sample.end is None:
        return None
    return max(0, sample.high_watermark - sample.end)


def _fell(before: int | None, now: int | None) -> bool:
    return before is not None and now is not None and now < before


__all__ = ["Point", "Series", "blocked_of", "lag_of", "raw_lag_of", "series_of"]
