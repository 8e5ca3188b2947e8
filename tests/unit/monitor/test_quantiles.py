"""A quantile is read off a histogram: inside its bucket, never beyond the last bound, and unknown where nothing was seen."""

from __future__ import annotations

import pytest

from streamapp.monitor.quantiles import quantile
from streamapp.pipeline.facts import Distribution


def of(*counts: int) -> Distribution:
    return Distribution((1.0, 2.0, 4.0), counts, 0.0)


def test_values_are_spread_evenly_within_their_bucket() -> None:
    assert quantile(of(0, 100, 0, 0), 0.5) == pytest.approx(1.5)
    assert quantile(of(50, 0, 50, 0), 0.99) == pytest.approx(3.96)
    assert quantile(of(50, 0, 50, 0), 0.5) == pytest.approx(1.0)


def test_what_lies_beyond_the_last_bound_is_told_as_that_bound() -> None:
    assert quantile(of(0, 0, 1, 9), 0.99) == 4.0


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile(of(0, 0, 0, 0), 0.5) is None
    assert quantile(Distribution((), (0,), 0.0), 0.99) is None
