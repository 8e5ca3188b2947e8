"""A partition's history as the points of a drawing: thinned out, scaled, and with gaps where nothing was known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streamapp.monitor.page.figures import nearest
from streamapp.monitor.status import Point


class Known(NamedTuple):
    """One figure at one moment; None where it was not known."""

    at: float
    value: float | None


@dataclass(frozen=True, slots=True)
class Frame:
    """What a drawing shows: from when to when, and up to which value; width and height in its own units."""

    start: float
    end: float
    top: float
    width: int
    height: int

    def x(self, at: float) -> int:
        return nearest((at - self.start) / (self.end - self.start) * self.width)

    def y(self, value: float) -> int:
        return nearest(self.height - min(value, self.top) / self.top * self.height)


def thinned(points: Sequence[Point], of: Callable[[Point], float | None], start: float, end: float, buckets: int) -> list[Known]:
    """Return at most one figure per bucket, the highest: a thin drawing must not hide a peak. An unknown one is a gap."""
    step = (end - start) / buckets
    found: dict[int, Known] = {}
    for point in points:
        if not start <= point.at <= end:
            continue
        value = of(point)
        bucket = min(buckets - 1, int((point.at - start) / step))
        there = found.get(bucket)
        if there is None or there.value is None or (value is not None and value > there.value):
            found[bucket] = Known(point.at, value if value is not None or there is None else there.value)
    return [found[each] for each in sorted(found)]


def highest(points: Sequence[Known]) -> float:
    return max((each.value for each in points if each.value is not None), default=0.0)


def line(points: Sequence[Known], frame: Frame) -> str:
    """Return the path of a line through the known points; a single one is a dash."""
    parts: list[str] = []
    run: list[str] = []
    for each in [*points, Known(frame.end, None)]:
        if each.value is not None:
            run.append(f"{frame.x(each.at)} {frame.y(each.value)}")
        elif run:
            parts.append(f"M{run[0]}L{' '.join(run[1:])}" if len(run) > 1 else f"M{run[0]}h1")
            run = []
    return "".join(parts)


def stroke(points: Sequence[Known], frame: Frame) -> str:
    """Return the path of a line in relative steps: a page has one for each partition, and they are shorter."""
    parts: list[str] = []
    last: tuple[int, int] | None = None
    for each in points:
        if each.value is None:
            last = None
            continue
        x, y = frame.x(each.at), frame.y(each.value)
        if last is None:
            parts.append(f"M{x} {y}h0l")
        else:
            down = y - last[1]
            parts.append(f"{' ' if parts[-1][-1] != 'l' else ''}{x - last[0]}{'' if down < 0 else ' '}{down}")
        last = (x, y)
    return "".join(
        each.removesuffix("l") if each.endswith("l") and (at + 1 == len(parts) or parts[at + 1][0] == "M") else each
        for at, each in enumerate(parts)
    )


def area(points: Sequence[Known], frame: Frame) -> str:
    """Return the path of what lies under the line."""
    parts: list[str] = []
    run: list[Known] = []
    for each in [*points, Known(frame.end, None)]:
        if each.value is not None:
            run.append(each)
        elif run:
            through = " ".join(f"{frame.x(one.at)} {frame.y(one.value or 0)}" for one in run)
            parts.append(f"M{frame.x(run[0].at)} {frame.height}L{through} {frame.x(run[-1].at)} {frame.height}z")
            run = []
    return "".join(parts)


__all__ = ["Frame", "Known", "area", "highest", "line", "stroke", "thinned"]
