"""How people read durations, rates and counts: `12m30s`, `+20/s (16…24)`, `90,000`, and `-` for what is not known."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from streamapp.monitor.lag.verdict import Interval

UNKNOWN: Final = "-"
NEVER: Final = "never"

_FUZZ: Final = 0.001
"""Seconds; so that 17,100 s computed as 17,099.999 are still 4h45m."""


def duration(seconds: float | None) -> str:
    """Return the two largest units, never rounded up: what is said to be left is left."""
    if seconds is None:
        return UNKNOWN
    if math.isinf(seconds):
        return NEVER
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s".replace(".0s", "s")
    whole = math.floor(seconds + _FUZZ)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def rate(value: float | None, *, signed: bool = False) -> str:
    """Return records per second, with a decimal below ten."""
    if value is None:
        return UNKNOWN
    text = _number(value)
    return f"{'+' if signed and not text.startswith('-') and text != '0' else ''}{text}/s"


def growth(interval: Interval | None) -> str:
    """Return `+20/s (16…24)`; `0/s` where nothing moved at all."""
    if interval is None:
        return UNKNOWN
    estimate = rate(interval.estimate, signed=True)
    low, high = _number(interval.low), _number(interval.high)
    return estimate if low == high == "0" else f"{estimate} ({low}…{high})"


def spread(interval: Interval | None) -> str:
    """Return a duration with its bounds: `37m30s (31m15s to 46m52s)`."""
    if interval is None:
        return UNKNOWN
    return f"{duration(interval.estimate)} ({duration(interval.low)} to {duration(interval.high)})"


def count(value: int | None, noun: str = "") -> str:
    """Return `90,000`, or with a noun `1 record`, `90,000 records`."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if not noun else f"{value:,} {noun}{'' if value == 1 else 's'}"


def share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0%}".replace("%", " %")


def moment(at: float | None) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    if at is None:
        return UNKNOWN
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _number(value: float) -> str:
    text = f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


__all__ = ["NEVER", "UNKNOWN", "count", "duration", "growth", "moment", "rate", "share", "spread"]
