"""Pictures show peaks, gaps, what happened and what is to be expected; retention is a ceiling where it is near."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from streamapp.monitor.page.chart import lag_chart, sparkline
from streamapp.monitor.page.curve import Frame, Known, area, line, stroke, thinned
from streamapp.monitor.status import Bounds, Mark, Point
from tests.support.status_documents import NOW, falling_behind, partition

FRAME = Frame(0.0, 100.0, 10.0, 100, 10)


def point(at: float, lag: int | None) -> Point:
    return Point(
        at=at,
        lag=lag,
        age=None,
        committed=None,
        end=None,
        log_start=None,
        position=None,
        high_watermark=None,
        merged=None,
        busy=None,
    )


def test_a_thin_curve_keeps_a_peak_and_tells_a_gap_from_nothing() -> None:
    points = [point(0, 1), point(1, 99), point(2, 1), point(10, None), point(20, 0)]
    assert thinned(points, lambda each: each.lag, 0, 30, 3) == [Known(1, 99), Known(10, None), Known(20, 0)]


def test_a_gap_breaks_the_line_and_a_single_point_is_a_dash() -> None:
    points = [Known(0, 0.0), Known(50, 10.0), Known(60, None), Known(100, 5.0)]
    assert line(points, FRAME) == "M0 10L50 0M100 5h1"
    assert stroke(points, FRAME) == "M0 10h0l50-10M100 5h0"
    assert area(points, FRAME) == "M0 10L0 10 50 0 50 10zM100 10L100 5 100 10z"


def test_relative_steps_lead_where_the_absolute_ones_do() -> None:
    points = [Known(float(at), float((at * 7) % 10)) for at in range(0, 100, 3)]
    start, _, steps = stroke(points, FRAME).partition("h0l")
    x, y = map(int, start[1:].split())
    numbers = list(map(int, re.findall(r"-?\d+", steps)))
    walked = [(x, y)]
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        x, y = x + dx, y + dy
        walked.append((x, y))
    assert walked == [(FRAME.x(each.at), FRAME.y(each.value or 0)) for each in points]


def test_a_partition_without_history_has_no_picture() -> None:
    assert sparkline(partition(0, history=None), NOW) is None
    assert sparkline(partition(0, history=(point(NOW, None),)), NOW) is None
    assert "not known yet" in lag_chart(partition(0, history=()), NOW, 1800.0)


def charted(**changed: Any) -> str:
    return lag_chart(msgspec.structs.replace(falling_behind(), **changed), NOW, 1800.0)


def test_the_cone_opens_from_now_to_its_bounds_and_is_absent_without_a_trend() -> None:
    assert charted().count("class=cone") == 2
    assert "class=cone" not in charted(growth=None)
    draining = charted(growth=Bounds(estimate=-400.0, low=-500.0, high=-300.0), lag=90_000)
    (cone,) = re.findall(r'<path d="([^"]+)" class=cone />', draining)[1:]
    assert [int(each) for each in re.findall(r"\d+", cone)][3::2] == [200, 200], "nothing falls below zero"


def test_a_trend_without_bounds_draws_no_cone() -> None:
    assert "class=cone" not in charted(growth=Bounds(estimate=1.0, low=0.0, high=float("inf")))


def test_retention_is_a_line_where_it_is_near_and_a_word_where_it_is_far() -> None:
    near, far = charted(retention=1_000.0), charted(retention=86_400.0)
    assert "class=ceiling " in near and "retention 16m40s" in near and "↑" not in near
    assert "class=ceiling " not in far and "↑ retention 1d" in far
    assert "retention" not in charted(retention=None)


def test_what_happened_in_the_range_is_marked_and_told_and_what_lies_before_is_not() -> None:
    marks = (
        Mark(at=NOW - 9_000, change="reset"),
        Mark(at=NOW - 700, change="deployed", worker="w-2", version="1.4.0"),
        Mark(at=NOW - 600, change="breaker", detail="order_processor"),
    )
    chart = charted(marks=marks)
    assert chart.count("class=mark>") == 2 * 2, "two marks on two curves"
    assert "<b>deploy</b> 11:48:20Z w-2 1.4.0" in chart
    assert "<b>breaker</b> 11:50:00Z order_processor" in chart
    assert "reset" not in chart
    assert "offset reset" in lag_chart(msgspec.structs.replace(falling_behind(), marks=marks), NOW, 21_600.0)


def test_numbers_of_marks_at_nearly_one_moment_do_not_hide_one_another() -> None:
    marks = tuple(Mark(at=NOW - 1000 + at, change="assigned") for at in (0, 10, 20, 400))
    (curve, _) = re.split(r"<figcaption>Lag", charted(marks=marks))
    assert re.findall(r"<circle cx=\S+ cy=(\d+)", curve) == ["9", "28", "9", "9"]


def test_a_curve_ends_with_what_is_now_even_where_more_was_just_before() -> None:
    chart = charted(history=(point(NOW - 60, 10), point(NOW - 3, 90), point(NOW - 1, 40)))
    assert "Lag <b>40</b>" in chart
    assert "40 now, at most 90" in chart


def test_a_picture_is_told_in_words_to_those_who_do_not_see_it() -> None:
    assert 'aria-label="Lag of the last 30m: 90,000 now, at most 90,000"' in charted(
        history=(point(NOW - 60, 80_000), point(NOW, 90_000))
    )
