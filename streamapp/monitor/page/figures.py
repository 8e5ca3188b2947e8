"""Numbers as people read them. `page.js` writes the same ones: each function has its twin there.

None is `-`, and so is what has no end: JSON has null there. Halves are rounded up, as JavaScript does.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

NOTHING: Final = "-"
MINUS: Final = "\u2212"
_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def nearest(value: float) -> int:
    return math.floor(value + 0.5)


def count(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{nearest(value):,}"


def duration(value: float | None) -> str:
    """Return seconds as 5d22h, 2h19m, 12m30s or 4s."""
    if value is None or not math.isfinite(value):
        return NOTHING
    left = max(0, nearest(value))
    for at, (unit, size) in enumerate(_UNITS):
        if left < size:
            continue
        first, left = divmod(left, size)
        if size == 1 or not (second := left // _UNITS[at + 1][1]):
            return f"{first}{unit}"
        return f"{first}{unit}{second if unit == 'd' else f'{second:02}'}{_UNITS[at + 1][0]}"
    return "0s"


def latency(value: float | None) -> str:
    """Return seconds where milliseconds matter."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < 1:
        return f"{nearest(value * 1000)}ms"
    return f"{tenth(value)}s" if value < 10 else duration(value)


def rate(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{number(value)}/s"


def number(value: float | None) -> str:
    """Return a figure with as many digits as matter."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    told = f"{nearest(size):,}" if size >= 10 else tenth(size)
    return f"{MINUS}{told}" if value < 0 and told != "0" else told


def tenth(value: float) -> str:
    return f"{nearest(value * 10) / 10:.1f}".removesuffix(".0")


def share(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{nearest(value * 100)} %"


def size(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    left, unit = float(value), 0
    while left >= 1024 and unit < len(_SIZES) - 1:
        left, unit = left / 1024, unit + 1
    return f"{number(left)} {_SIZES[unit]}"


def moment(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{datetime.fromtimestamp(math.floor(value), UTC):%Y-%m-%d %H:%M:%S}Z"


def ago(value: float | None, now: float) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{duration(now - value)} ago"


__all__ = ["NOTHING", "ago", "count", "duration", "latency", "moment", "nearest", "number", "rate", "share", "size", "tenth"]
