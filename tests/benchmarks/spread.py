"""Medians, spreads and percentiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Median of the runs, and between what they lie."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(statistics.median(values), min(values), max(values))

    @property
    def half(self) -> float:
        """Half the distance between the extremes, as a share of the median."""
        return (self.high - self.low) / self.median / 2 if self.median else 0.0

    def __str__(self) -> str:
        return f"{self.median:,.0f} ±{self.half:.0%}"


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the sorted values that at least `share` of them do not exceed (nearest rank)."""
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratios(ours: Sequence[tuple[int, float]], theirs: Sequence[tuple[int, float]]) -> Spread | None:
    """Return ours by theirs, round by round, so that a slow minute of the machine hits both; None without a common round."""
    base = dict(theirs)
    found = [value / base[number] for number, value in ours if base.get(number)]
    return Spread.of(found) if found else None
