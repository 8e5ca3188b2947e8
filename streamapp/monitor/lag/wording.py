"""How people read a trend and a drain: with their bounds, `+20/s (16…24)` and `37m30s (31m15s to 46m52s)`."""

from __future__ import annotations

from streamapp.figures import UNKNOWN, duration, number, rate
from streamapp.monitor.lag.verdict import Interval


def growth(interval: Interval | None) -> str:
    """Return `+20/s (16…24)`; `0/s` where nothing moved at all."""
    if interval is None:
        return UNKNOWN
    estimate = rate(interval.estimate, signed=True)
    low, high = number(interval.low), number(interval.high)
    return estimate if low == high == "0" else f"{estimate} ({low}…{high})"


def spread(interval: Interval | None) -> str:
    """Return a duration with its bounds: `37m30s (31m15s to 46m52s)`."""
    if interval is None:
        return UNKNOWN
    return f"{duration(interval.estimate)} ({duration(interval.low)} to {duration(interval.high)})"


__all__ = ["growth", "spread"]
