"""What a sampler remembers of a partition: half an hour of samples, a day of coarser ones, and what happened. Bounded, whatever the interval."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from streamapp.monitor.lag.inputs import Change, Happening, Sample

POINTS: Final = 360
"""Samples that a ring holds at most. Half an hour of them each 10 s are 180, a day each 5 minutes 288."""
HAPPENINGS: Final = 64
"""Of a partition: a crash loop of an hour, and more."""

_FIELDS: Final = (
    "at",
    "committed",
    "position",
    "high_watermark",
    "end",
    "log_start",
    "oldest_unread",
    "merged",
    "unmerged",
    "busy",
)
_WIDTH: Final = len(_FIELDS)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back the two rings go, and how far apart the points of the longer one are. Seconds."""

    short: float = 1800.0
    long: float = 86_400.0
    long_every: float = 300.0


class Ring:
    """The samples of the last `reach` seconds, at least `every` seconds apart, the newest always among them.

    Numbers in one array, 80 bytes a sample: as objects they would be four times that, for each partition of each worker.
    """

    __slots__ = ("_every", "_points", "_reach")

    def __init__(self, reach: float, every: float = 0.0) -> None:
        self._reach = reach
        self._every = max(every, reach / POINTS)
        self._points = array("d")

    def add(self, sample: Sample) -> None:
        """Append a sample, later than those before it."""
        points = self._points
        if len(points) >= 2 * _WIDTH and points[-_WIDTH] - points[-2 * _WIDTH] < self._every:
            del points[-_WIDTH:]  # it was kept as the newest only
        points.extend(_number(getattr(sample, name)) for name in _FIELDS)
        stale = 0
        while points[stale] < sample.at - self._reach:
            stale += _WIDTH
        if stale:
            del points[:stale]

    def clear(self) -> None:
        del self._points[:]

    def __len__(self) -> int:
        return len(self._points) // _WIDTH

    def raw(self) -> bytes:
        """Return what `load` takes: eight bytes a number, in this machine's order."""
        return self._points.tobytes()

    def load(self, raw: bytes) -> None:
        """Take over what another ring's `raw` was. Raises ValueError: these are no samples."""
        points = array("d")
        points.frombytes(raw)
        if len(points) % _WIDTH or any(math.isnan(points[start]) for start in range(0, len(points), _WIDTH)):
            raise ValueError("no samples")
        self._points = points

    def __iter__(self) -> Iterator[Sample]:
        nan = math.isnan
        rows = iter(self._points.tolist())
        for at, c, p, high, end, start, oldest, merged, unmerged, busy in zip(*[rows] * _WIDTH, strict=True):
            yield Sample(
                at,
                None if nan(c) else int(c),
                None if nan(p) else int(p),
                None if nan(high) else int(high),
                None if nan(end) else int(end),
                None if nan(start) else int(start),
                None if nan(oldest) else oldest,
                None if nan(merged) else int(merged),
                None if nan(unmerged) else int(unmerged),
                None if nan(busy) else busy,
            )


class Memory:
    """Both rings of one partition, and what happened to it."""

    __slots__ = ("happenings", "long", "newest", "short")

    def __init__(self, reach: Reach) -> None:
        """`newest`: the last sample that was taken in."""
        self.short = Ring(reach.short)
        self.long = Ring(reach.long, reach.long_every)
        self.happenings: deque[Happening] = deque(maxlen=HAPPENINGS)
        self.newest: Sample | None = None

    def add(self, sample: Sample) -> None:
        """Take a sample in. A committed offset that fell is a reset: what was seen before says nothing of what comes."""
        before = self.newest
        if (
            before is not None
            and sample.committed is not None
            and before.committed is not None
            and sample.committed < before.committed
        ):
            self.short.clear()
            self.happened(Happening(sample.at, Change.RESET, detail=f"{before.committed} -> {sample.committed}"))
        self.newest = sample
        self.short.add(sample)
        self.long.add(sample)

    def happened(self, happening: Happening) -> None:
        self.happenings.append(happening)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


__all__ = ["POINTS", "Memory", "Reach", "Ring"]
