"""Figures are told by median and spread, latencies by nearest rank, ratios round by round."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.spread import Spread, percentile, ratios


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0], 0.5) == 1.0


def test_what_never_came_counts_among_the_slowest() -> None:
    values = [*[0.1] * 98, inf, inf]
    assert percentile(values, 0.98) == 0.1
    assert percentile(values, 0.99) == inf


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0.01, 1))
def test_at_least_the_share_of_all_values_is_no_larger_and_no_smaller_value_will_do(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert sum(each <= found for each in ordered) >= share * len(ordered) - 1e-9
    assert sum(each < found for each in ordered) < share * len(ordered) + 1e-9


def test_a_spread_tells_the_median_and_half_the_distance_of_the_extremes() -> None:
    spread = Spread.of([90_000.0, 100_000.0, 130_000.0])
    assert (spread.median, spread.low, spread.high) == (100_000.0, 90_000.0, 130_000.0)
    assert str(spread) == "100,000 ±20%"


def test_a_ratio_is_taken_within_a_round_so_that_a_slow_minute_hits_both_sides() -> None:
    theirs = [(1, 100.0), (2, 50.0), (3, 100.0)]
    found = ratios([(1, 90.0), (2, 45.0), (3, 80.0)], theirs)
    assert found == Spread(0.9, 0.8, 0.9)


def test_rounds_that_only_one_side_has_make_no_ratio() -> None:
    assert ratios([(1, 90.0), (2, 10.0)], [(1, 100.0), (3, 1.0)]) == Spread(0.9, 0.9, 0.9)
    assert ratios([(1, 90.0)], [(2, 100.0)]) is None
    assert ratios([], []) is None
