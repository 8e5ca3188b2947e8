"""How people read durations, sizes, rates and counts: `12m30s`, `4.2 MiB`, `+20/s`, `90,000`, and `-` for what is not known.

The page has its own, which its script has to write alike: see `monitor/page/figures.py`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

UNKNOWN: Final = "-"
NEVER: Final = "never"

_FUZZ: Final = 0.001
"""Seconds; so that 17,100 s computed as 17,099.999 are still 4h45m."""
_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES: Final = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def duration(seconds: float | None) -> str:
    """Return the two largest units (5d22h, 2h19m, 7d, 4.2s), never rounded up: what is said to be left is left."""
    if seconds is None:
        return UNKNOWN
    if math.isinf(seconds):
        return NEVER
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s".replace(".0s", "s")
    left = math.floor(seconds + _FUZZ)
    at = next(place for place, (_, size) in enumerate(_UNITS) if left >= size)
    unit, size = _UNITS[at]
    first, left = divmod(left, size)
    if size == 1 or not (second := left // _UNITS[at + 1][1]):
        return f"{first}{unit}"
    return f"{first}{unit}{second if unit == 'd' else f'{second:02}'}{_UNITS[at + 1][0]}"


def latency(seconds: float | None) -> str:
    """Return a duration of which milliseconds matter while it is short: 12ms, 1.5s, 2m03s."""
    if seconds is None or seconds >= 60:
        return duration(seconds)
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


def rate(value: float | None, *, signed: bool = False) -> str:
    """Return records per second, with a decimal below ten."""
    if value is None:
        return UNKNOWN
    text = number(value)
    return f"{'+' if signed and not text.startswith('-') and text != '0' else ''}{text}/s"


def number(value: float) -> str:
    """Return it with a decimal below ten, where that says something."""
    text = f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def count(value: int | None, noun: str = "") -> str:
    """Return `90,000`, or with a noun `1 record`, `90,000 records`."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if not noun else f"{value:,} {noun}{'' if value == 1 else 's'}"


def size(value: float | None) -> str:
    """Return bytes, with a unit of 1024 and a decimal below ten of them: 12 B, 4.2 MiB, 37 GiB."""
    if value is None:
        return UNKNOWN
    if value < 1024:
        return f"{value:.0f} B"
    of, unit = next(each for each in _SIZES if value >= each[0])
    value /= of
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"


def share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0%}".replace("%", " %")


def moment(at: float | None) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    if at is None:
        return UNKNOWN
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


__all__ = ["NEVER", "UNKNOWN", "count", "duration", "latency", "moment", "number", "rate", "share", "size"]
