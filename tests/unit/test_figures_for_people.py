"""Durations, sizes, rates and counts as people read them; what is unknown is a dash and never a zero."""

from __future__ import annotations

import math

import pytest

from streamapp.figures import count, duration, latency, moment, rate, share, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (math.inf, "never"), (-5, "0s"), (0, "0s"), (0.25, "0.2s"), (4, "4s"), (9.94, "9.9s"), (9.96, "9s"), (10, "10s"),
        (59.9, "59s"), (60, "1m"), (133, "2m13s"), (750, "12m30s"), (2812.5, "46m52s"), (3599.9999, "1h"), (3661, "1h01m"), (17_100, "4h45m"),
        (68_640, "19h04m"), (86_399, "23h59m"), (86_400, "1d"), (513_900, "5d22h"), (604_800, "7d"), (2_520_000, "29d4h"),
    ],
)  # fmt: skip
def test_durations_have_two_units_and_are_never_rounded_up(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.0004, "0ms"), (0.0123, "12ms"), (1.54, "1.5s"), (59.4, "59.4s"), (123, "2m03s")]
)
def test_a_latency_has_milliseconds_while_it_is_short(seconds: float | None, text: str) -> None:
    assert latency(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3_400_000, "3.2 MiB"), (9.96 * 2**20, "10 MiB"), (50 * 2**30, "50 GiB"),
        (2**41, "2.0 TiB"), (2**52, "4096 TiB"),
    ],
)  # fmt: skip
def test_bytes_have_a_unit(number: float | None, text: str) -> None:
    assert size(number) == text


def test_rates_have_a_decimal_below_ten_and_a_sign_where_they_are_a_trend() -> None:
    assert [rate(value) for value in (None, 0, 0.04, 2.35, 9.96, 120.4)] == ["-", "0/s", "0/s", "2.4/s", "10/s", "120/s"]
    assert [rate(value, signed=True) for value in (20, -20, 0, -0.01)] == ["+20/s", "-20/s", "0/s", "0/s"]


def test_counts_shares_and_moments() -> None:
    assert (count(None), count(90_000), count(1, "record"), count(1200, "record")) == ("-", "90,000", "1 record", "1,200 records")
    assert (share(None), share(0.812)) == ("-", "81 %")
    assert (moment(None), moment(1_800_000_000.9)) == ("-", "2027-01-15T08:00:00Z")
