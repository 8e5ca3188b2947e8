"""Rates, growth with its interval, time to drain, capacity (OPERATIONS §3.2). None is unknown."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamapp.monitor.lag.inputs import Config, Sample
from streamapp.monitor.lag.series import Series, lag_of
from streamapp.monitor.lag.verdict import Interval

SHORT: Final = 300.0
LONG: Final = 1800.0
LONG_ENOUGH: Final = 900.0
"""Of the long window, seconds that there must be."""

BLOCKS: Final = 6
T_95: Final = 2.015
"""Student's t with 5 degrees of freedom: 90 % between both bounds. The increments of blocks cover the true slope of a random walk;
a straight line through the samples does not, as neighbouring ones are not independent."""
COMMITS_PER_BLOCK: Final = 10
"""C moves in steps; a block of fewer commits measures the steps."""

LEAST: Final = 60.0
"""Seconds of samples from which a rate is told at all."""
MINUTE: Final = 60.0
BUSY: Final = 0.9
"""Share of a minute in which handlers had a record: below it, c says what came and not what could be done."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one window, records per second."""

    begin: float
    end: float
    produced: float | None
    consumed: float | None

    @property
    def deadband(self) -> float:
        return max(1.0, 0.02 * (self.produced or 0.0))


@dataclass(frozen=True, slots=True)
class Trend:
    """How what is unread moves over a window."""

    growth: Interval
    window: float
    rates: Rates

    @property
    def deadband(self) -> float:
        return self.rates.deadband

    @property
    def grows(self) -> bool:
        return self.growth.low > self.deadband

    @property
    def shrinks(self) -> bool:
        return self.growth.high < -self.deadband

    @property
    def is_clear(self) -> bool:
        """Whether it says level: the interval is no wider than the deadband, and neither above it nor below."""
        return self.growth.high - self.growth.low <= 2 * self.deadband and not self.grows and not self.shrinks


def trend(series: Series, window: float, minimum: float, config: Config) -> Trend | None:
    """Return the growth over the newest `window`; None where there are fewer than `minimum` seconds of samples without a gap."""
    if not series.points:
        return None
    end = series.points[-1].at
    begin = series.tail(window, window / BLOCKS)
    block = (end - begin) / BLOCKS
    if end - begin < minimum or block <= 0 or block < COMMITS_PER_BLOCK * config.commit_interval:
        return None
    levels = [series.lag_at(begin + index * block) for index in range(BLOCKS + 1)]
    increments = [(after - before) / block for before, after in itertools.pairwise(levels)]
    mean = (levels[-1] - levels[0]) / (end - begin)
    half = T_95 * statistics.stdev(increments) / math.sqrt(BLOCKS)
    return Trend(Interval(mean, mean - half, mean + half), end - begin, rates(series, begin, end))


def missing(series: Series, config: Config) -> float | None:
    """Return the seconds until there will be a trend; None where there is nothing to count from."""
    if not series.points:
        return None
    end = series.points[-1].at
    block = COMMITS_PER_BLOCK * config.commit_interval
    waits = [
        max(minimum, BLOCKS * block) - (end - series.tail(window, window / BLOCKS))
        for window, minimum in ((SHORT, SHORT), (LONG, LONG_ENOUGH))
        if BLOCKS * block <= window
    ]
    return max(0.0, min(waits)) if waits else None


def rates(series: Series, begin: float, end: float) -> Rates:
    """Return p and c between two moments; None for less than a minute."""
    samples = series.between(begin, end)
    return Rates(begin, end, slope(samples, "end"), consumed(samples))


def consumed(samples: Sequence[Sample]) -> float | None:
    """Return c: records merged, or where they are not counted throughout, what C moved by (markers included)."""
    counted = list(samples)
    while counted and counted[-1].merged is None:
        counted.pop()  # what a command adds to a worker's samples
    merged = [sample.merged for sample in counted]
    known = [value for value in merged if value is not None]
    whole = len(known) == len(merged) and all(after >= before for before, after in itertools.pairwise(known))
    done = slope(counted, "merged") if whole else None
    return done if done is not None else slope(samples, "committed")


def slope(samples: Sequence[Sample], field: str, least: float = LEAST) -> float | None:
    """Return what a field moved by per second, from its first known value to its last, over `least` seconds or more."""
    known = [(sample.at, value) for sample in samples if (value := getattr(sample, field)) is not None]
    if len(known) < 2 or known[-1][0] - known[0][0] < least:
        return None
    return float(known[-1][1] - known[0][1]) / (known[-1][0] - known[0][0])


def pace(series: Series) -> float | None:
    """Return v, event seconds per second, over the last five minutes or what there is of them."""
    if series.latest is None:
        return None
    return slope(series.between(series.latest.at - SHORT, series.latest.at), "oldest_unread")


def drain(lag: int | None, found: Trend | None) -> Interval | None:
    """Return the seconds until nothing is unread; None unless it shrinks for certain."""
    if lag is None or found is None or not found.shrinks:
        return None
    shrinks = found.growth
    return Interval(lag / -shrinks.estimate, lag / -shrinks.low, lag / -shrinks.high)


def capacity(series: Series, config: Config) -> float | None:
    """Return c_max: the 95th percentile of c over the minutes in which records were waiting and handlers busy throughout."""
    if series.latest is None:
        return None
    end = series.latest.at
    found = []
    while end - MINUTE >= max(series.samples[0].at, series.latest.at - LONG):
        minute = series.between(end - MINUTE, end)
        end -= MINUTE
        # A sample tells how busy the time before it was: the first one's lies before this minute.
        busy = [sample.busy for sample in minute[1:] if sample.busy is not None]
        waiting = all((lag_of(sample, config) or 0) > 0 for sample in minute)
        if waiting and busy and len(busy) == len(minute) - 1 and statistics.fmean(busy) >= BUSY:
            done = _done_in(minute)
            if done is not None:
                found.append(done)
    return percentile_95(found)


def _done_in(minute: Sequence[Sample]) -> float | None:
    """Return c of a minute of samples that leave at most a quarter of it out."""
    if len(minute) < 2 or minute[-1].at - minute[0].at < 0.75 * MINUTE:
        return None
    field = "merged" if all(sample.merged is not None for sample in minute) else "committed"
    done = slope(minute, field, least=0.75 * MINUTE)
    return done if done is not None and done > 0 else None


def percentile_95(values: Sequence[float]) -> float | None:
    """Return the 95th percentile, between neighbours; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = 0.95 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


__all__ = [
    "LONG",
    "LONG_ENOUGH",
    "SHORT",
    "Rates",
    "Trend",
    "capacity",
    "consumed",
    "drain",
    "missing",
    "pace",
    "percentile_95",
    "rates",
    "slope",
    "trend",
]
