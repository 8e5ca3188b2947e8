"""The pictures: a partition's half hour as a sparkline, and its age and lag with what happened and what is to be expected.

Text and marks keep their size on every screen: only the curves are stretched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamapp.monitor.page import figures
from streamapp.monitor.page.curve import Frame, Known, area, highest, line, stroke, thinned
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.status import Bounds, Mark, PartitionStatus, Point

HALF_HOUR: Final = 1800.0
SPARK: Final = (90, 20, 25)
"""Width, height, and buckets."""
PLOT: Final = (1000, 200, 90)
FORECAST: Final = 1 / 3
"""Of the range shown: as far as bounds of the trend are worth drawing."""
FAR: Final = 3.0
"""A ceiling more than so many times as high as the curve is told, not drawn: the curve would be a line at the bottom."""
AT_MOST_MARKS: Final = 12
CLOSE: Final = 60
"""Of a plot's width: two numbers side by side on a phone."""

MARKS: Final = {
    "deployed": "deploy",
    "restarted": "restart",
    "assigned": "assigned",
    "revoked": "rebalance",
    "paused": "pause",
    "breaker": "breaker",
    "reset": "offset reset",
}


def sparkline(partition: PartitionStatus, now: float) -> Markup | None:
    """Return the lag of the last half hour; None where it is not known."""
    width, height, buckets = SPARK
    points = thinned(partition.history or (), _lag, now - HALF_HOUR, now, buckets)
    if not any(each.value is not None for each in points):
        return None
    frame = Frame(now - HALF_HOUR, now, max(highest(points), 1.0), width, height)
    return tag(
        "svg",
        tag("path", d=stroke(points, frame)),
        viewBox=f"0 -1 {width} {height + 2}",
        preserveAspectRatio="none",
        aria_hidden="true",  # the figures beside it tell the same
    )


@dataclass(frozen=True, slots=True)
class Plot:
    """One of the two curves."""

    title: str
    of: Callable[[Point], float | None]
    write: Callable[[float | None], str]
    slope: Bounds | None
    """How it goes on, per second."""
    ceiling: float | None = None
    ceiling_title: str = ""


def lag_chart(partition: PartitionStatus, now: float, seconds: float) -> Markup:
    """Return age and lag of `seconds`, with marks, forecast and ceiling."""
    growth, rate = partition.growth, partition.produced_rate
    # An age grows by what the lag grows, in records' time: (p − c)/p seconds per second.
    aging = Bounds(estimate=growth.estimate / rate, low=growth.low / rate, high=growth.high / rate) if growth and rate else None
    marks = sorted((mark for mark in partition.marks if now - seconds <= mark.at <= now), key=lambda mark: mark.at)[
        -AT_MOST_MARKS:
    ]
    plots = (
        Plot("Age", _age, figures.duration, aging, partition.retention, "retention"),
        Plot("Lag", _lag, figures.count, growth),
    )
    drawn = [_plot(plot, partition.history or (), now, seconds, marks) for plot in plots]
    return tag("div", drawn, _legend(marks), class_="plots")


def _plot(plot: Plot, history: Sequence[Point], now: float, seconds: float, marks: Sequence[Mark]) -> Markup:
    width, height, buckets = PLOT
    points = thinned(history, plot.of, now - seconds, now, buckets)
    known = (Known(each.at, plot.of(each)) for each in reversed(history) if now - seconds <= each.at <= now)
    last = next((each for each in known if each.value is not None), None)
    if last is None:
        return tag("figure", tag("figcaption", plot.title), tag("p", "not known yet", class_="empty"), class_="plot")
    if points[-1].at < last.at:
        points.append(last)  # a bucket tells its highest, the curve ends with what is now
    end = now + seconds * FORECAST
    cone = _cone(last, plot.slope, end)
    top = max(highest(points), highest(cone), 1.0) * 1.08
    is_drawn = plot.ceiling is not None and plot.ceiling <= FAR * top
    if is_drawn and plot.ceiling is not None:
        top = max(top, plot.ceiling * 1.08)
    frame = Frame(now - seconds, end, top, width, height)
    ceiling: list[Child] = []
    if plot.ceiling is not None:
        where = _percent(frame.y(plot.ceiling), height) if is_drawn else "0%"
        told = f"{'' if is_drawn else '↑ '}{plot.ceiling_title} {figures.duration(plot.ceiling)}"
        ceiling = [
            tag("line", x1="0", x2="100%", y1=where, y2=where, class_="ceiling") if is_drawn else None,
            tag("text", told, x="100%", y=where, dx="-6", dy="13" if not is_drawn or frame.y(plot.ceiling) < 40 else "-5",
                text_anchor="end", class_="ceiling-text"),
        ]  # fmt: skip
    curves = tag(
        "svg",
        tag("path", d=_cone_path(cone, frame), class_="cone") if cone else None,
        tag("path", d=_middle(last, plot.slope, frame), class_="middle") if plot.slope and cone else None,
        tag("path", d=area(points, frame), class_="area"),
        tag("path", d=line(points, frame), class_="curve"),
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        width="100%",
        height="100%",
    )
    now_at = _percent(frame.x(now), width)
    picture = tag(
        "svg",
        [tag("line", x1="0", x2="100%", y1=f"{each}%", y2=f"{each}%", class_="rule") for each in (25, 50, 75)],
        curves,
        tag("line", x1=now_at, x2=now_at, y1="0", y2="100%", class_="now"),
        [_mark(each, at, frame, low=_is_close(marks, at, frame)) for at, each in enumerate(marks, 1)],
        ceiling,
        role="img",
        aria_label=_told(plot, points, last, seconds),
    )
    axis = tag("span", [tag("span", plot.write(each)) for each in (top, top / 2, 0.0)], class_="ys", aria_hidden="true")
    below = tag(
        "span",
        tag("span", f"{figures.duration(seconds)} ago"), tag("span", "now"), tag("span", f"in {figures.duration(seconds * FORECAST)}"),
        class_="xs",
        aria_hidden="true",
    )  # fmt: skip
    return tag(
        "figure", tag("figcaption", plot.title, " ", tag("b", plot.write(last.value))), axis, picture, below, class_="plot"
    )


def _cone(last: Known, slope: Bounds | None, end: float) -> list[Known]:
    """Return its corners: now, then high and low at the end."""
    if slope is None or last.value is None or not all(map(math.isfinite, (slope.estimate, slope.low, slope.high))):
        return []
    ahead = end - last.at
    return [last, *(Known(end, max(0.0, last.value + each * ahead)) for each in (slope.high, slope.low))]


def _cone_path(cone: Sequence[Known], frame: Frame) -> str:
    corners = [f"{frame.x(each.at)} {frame.y(each.value or 0)}" for each in cone]
    return f"M{corners[0]}L{corners[1]} {corners[2]}z"


def _middle(last: Known, slope: Bounds, frame: Frame) -> str:
    value = max(0.0, (last.value or 0) + slope.estimate * (frame.end - last.at))
    return f"M{frame.x(last.at)} {frame.y(last.value or 0)}L{frame.width} {frame.y(value)}"


def _is_close(marks: Sequence[Mark], number: int, frame: Frame) -> bool:
    """Return whether a mark's number would lie on the one before it: every other one of such a row goes below."""
    close = 0
    while number - close > 1 and frame.x(marks[number - 1 - close].at) - frame.x(marks[number - 2 - close].at) < CLOSE:
        close += 1
    return close % 2 == 1


def _mark(mark: Mark, number: int, frame: Frame, *, low: bool) -> Markup:
    at = _percent(frame.x(mark.at), frame.width)
    y = 28 if low else 9
    return tag(
        "g",
        tag("line", x1=at, x2=at, y1=y + 7, y2="100%"),
        tag("circle", cx=at, cy=y, r="8"),
        tag("text", number, x=at, y=y, dy="4", text_anchor="middle"),
        class_="mark",
    )


def _legend(marks: Sequence[Mark]) -> Markup | None:
    if not marks:
        return None
    told = []
    for mark in marks:
        who = " ".join(each for each in (mark.worker, mark.version) if each)
        rest = ", ".join(each for each in (who, mark.detail) if each)
        told.append(
            tag(
                "li",
                tag("b", MARKS.get(mark.change, mark.change)),
                " ",
                figures.moment(mark.at)[11:],
                f" {rest}" if rest else None,
            )
        )
    return tag("ol", told, class_="marks")


def _told(plot: Plot, points: Sequence[Known], last: Known, seconds: float) -> str:
    """Return the picture in words."""
    return (
        f"{plot.title} of the last {figures.duration(seconds)}: {plot.write(last.value)} now, "
        f"at most {plot.write(highest(points))}"
    )


def _percent(part: int, whole: int) -> str:
    return f"{figures.tenth(part / whole * 100)}%"


def _lag(point: Point) -> float | None:
    return point.lag


def _age(point: Point) -> float | None:
    return point.age


__all__ = ["HALF_HOUR", "lag_chart", "sparkline"]
