"""Durations, rates and counts as people read them; what is unknown is a dash and never a zero."""

from __future__ import annotations

import math

import pytest

from streamapp.monitor.lag import wording
from streamapp.monitor.lag.verdict import Interval


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (math.inf, "never"), (0, "0s"), (0.25, "0.2s"), (9.94, "9.9s"), (9.96, "9s"), (10, "10s"), (59.9, "59s"), (60, "1m00s"),
        (750, "12m30s"), (2812.5, "46m52s"), (3599.9999, "1h00m"), (17_100, "4h45m"), (86_399, "23h59m"), (86_400, "1d0h"), (513_900, "5d22h"),
        (-5, "0s"),
    ],
)  # fmt: skip
def test_durations_have_two_units_and_are_never_rounded_up(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


def test_rates_have_a_decimal_below_ten_and_a_sign_where_they_are_a_trend() -> None:
    assert [wording.rate(value) for value in (None, 0, 0.04, 2.35, 9.96, 120.4)] == ["-", "0/s", "0/s", "2.4/s", "10/s", "120/s"]
    assert [wording.rate(value, signed=True) for value in (20, -20, 0, -0.01)] == ["+20/s", "-20/s", "0/s", "0/s"]


def test_growth_has_its_bounds_unless_nothing_moved() -> None:
    assert wording.growth(None) == "-"
    assert wording.growth(Interval(20, 16.1, 23.9)) == "+20/s (16…24)"
    assert wording.growth(Interval(-40, -48, -32)) == "-40/s (-48…-32)"
    assert wording.growth(Interval(0, -3.25, 3.25)) == "0/s (-3.2…3.2)"
    assert wording.growth(Interval(0, 0, 0)) == "0/s"


def test_counts_shares_and_moments() -> None:
    assert (wording.count(None), wording.count(90_000), wording.count(1, "record"), wording.count(1200, "record")) == (
        "-", "90,000", "1 record", "1,200 records",
    )  # fmt: skip
    assert (wording.share(None), wording.share(0.812)) == ("-", "81 %")
    assert (wording.moment(None), wording.moment(1_800_000_000.9)) == ("-", "2027-01-15T08:00:00Z")
