"""In simulation the interval of growth covers the true slope, and a level partition is seldom called growing (OPERATIONS §3.2, §9).

Records come at random, with bursts of 10 s in which 30 % more come; the worker does what it can at a steady rate. 400 runs of each, with
a seed: the figures are facts of this code, not of a day.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.lag.rates import LONG, LONG_ENOUGH, SHORT, Trend, trend
from streamapp.monitor.lag.series import series_of
from tests.support.lag_series import CONFIG, NOW, STEP, sample

RUNS = 400
PRODUCED = 120.0
BURST = 10.0
MORE = 0.3
EVERY = 60.0
"""Seconds from one burst to the next, on average."""


def series(rng: random.Random, seconds: float, slope: float) -> list[Sample]:
    """Return samples whose lag has the true `slope`: each step brings what a Poisson process would, and bursts lie anywhere."""
    mean = PRODUCED * STEP
    share = BURST / EVERY
    base = mean / (1 + share * MORE)  # so that bursts are part of the mean
    end, done = 1_000_000.0, 900_000.0
    samples = []
    for index in range(round(seconds / STEP) + 1):
        samples.append(sample(NOW - seconds + STEP * index, round(done), round(end)))
        burst = 1 + MORE if rng.random() < share else 1.0
        end += max(0.0, rng.gauss(base * burst, (base * burst) ** 0.5))
        done += mean - slope * STEP
    return samples


def runs(seed: int, window: float, minimum: float, slope: float) -> Iterator[Trend]:
    rng = random.Random(seed)
    for _ in range(RUNS):
        found = trend(series_of(series(rng, window, slope), [], CONFIG), window, minimum, CONFIG)
        assert found is not None
        yield found


@pytest.mark.parametrize(
    ("window", "minimum", "slope"),
    [(SHORT, SHORT, 0.0), (SHORT, SHORT, -40.0), (LONG, LONG_ENOUGH, 0.0), (LONG, LONG_ENOUGH, 20.0)],
)
def test_the_interval_covers_the_true_slope(window: float, minimum: float, slope: float) -> None:
    covered = sum(found.growth.low <= slope <= found.growth.high for found in runs(7, window, minimum, slope))
    assert covered / RUNS >= 0.85


@pytest.mark.parametrize(("window", "minimum"), [(SHORT, SHORT), (LONG, LONG_ENOUGH)])
def test_a_level_partition_is_seldom_called_growing_and_one_that_grows_is(window: float, minimum: float) -> None:
    assert sum(found.grows for found in runs(8, window, minimum, 0.0)) / RUNS <= 0.10
    assert sum(found.grows for found in runs(9, window, minimum, 20.0)) / RUNS >= 0.95
