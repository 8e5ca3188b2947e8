"""The worked example of the specification, to the digit: `orders/3` falls behind, eight such partitions need five workers, then it drains."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from streamapp.figures import duration
from streamapp.monitor.lag.evaluate import evaluate_group
from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.verdict import Status, Verdict
from streamapp.monitor.lag.wording import growth, spread
from streamapp.records import Partition
from tests.support.lag_series import CONFIG, NOW, by_blocks, judged, ramp

BLOCKS = (14, 26, 18, 22, 24, 16)
DRAINING = tuple(-2 * each for each in BLOCKS)
"""Mean -40."""


def falling() -> Verdict:
    return judged(ramp(1800, by_blocks(BLOCKS, 300, 90_000), pace=100 / 120, merged=None))


def scaled() -> Verdict:
    return judged(ramp(300, by_blocks(DRAINING, 50, 90_000)))


def test_growth_and_its_interval() -> None:
    found = falling()
    assert found.produced_rate == pytest.approx(120)
    assert found.consumed_rate == pytest.approx(100)
    assert found.growth is not None
    assert found.growth.estimate == pytest.approx(20)
    assert (f"{found.growth.low:.1f}", f"{found.growth.high:.1f}") == ("16.1", "23.9")
    assert f"{(found.growth.high - found.growth.low) / 2:.1f}" == "3.9"
    assert growth(found.growth) == "+20/s (16…24)"


def test_the_deadband_is_two_percent_of_what_comes() -> None:
    assert falling().deadband == pytest.approx(2.4)


def test_it_falls_behind() -> None:
    found = falling()
    assert (found.status, found.lag, found.growth_window) == (Status.FALLING_BEHIND, 90_000, 1800)
    assert found.drain is None
    assert duration(found.age) == "12m30s"


def test_the_age_is_one_hour_in() -> None:
    found = falling()
    assert found.pace == pytest.approx(0.8333, abs=1e-4)
    assert found.hour_in == pytest.approx(17_100)
    assert duration(found.hour_in) == "4h45m"


def test_the_first_record_is_deleted_in() -> None:
    found = falling()
    assert found.loss == pytest.approx(513_900)
    assert duration(found.loss) == "5d22h"


def test_what_it_says() -> None:
    assert explain(falling()) == (
        "growing +20/s (16…24) over 30m, 120/s come and 100/s are done, 90,000 unread, the oldest for 12m30s, "
        "age 1 h in 4h45m, loss in 5d22h"
    )
    assert fix_of(falling(), CONFIG) == "streamapp doctor --only P,G"


def test_eight_such_partitions_need_five_workers() -> None:
    # Two workers own four each, and each does 420/s when it is busy.
    eight = [
        replace(falling(), partition=Partition("orders", number), owner=f"w-{number % 2}", capacity=105.0) for number in range(8)
    ]
    group = evaluate_group(eight, CONFIG, 2, NOW)
    assert pytest.approx(4.19, abs=0.01) == (8 * 120 + 720_000 / 900) / 420
    assert (group.workers_needed, group.workers_capped, group.workers) == (5, False, 2)
    assert group.sentence == (
        "8 of 8 partitions falling behind (0, 1, 2, 3, 4, 5, 6, 7); oldest unread 12m30s; loss in 5d22h; "
        "5 workers needed, 2 run; all of them: capacity"
    )


def test_they_are_never_more_than_there_are_partitions() -> None:
    slow = [replace(falling(), partition=Partition("orders", number), owner="w-0", capacity=10.0) for number in range(8)]
    group = evaluate_group(slow, CONFIG, 1, NOW)
    assert (group.workers_needed, group.workers_capped) == (8, True)
    assert "adding workers cannot help" in group.sentence


def test_after_scaling_it_catches_up_and_says_when_it_is_done() -> None:
    # Of blocks -28 … -52 the half-width is 7.8: -48 … -32.
    found = scaled()
    assert (found.status, found.growth_window) == (Status.CATCHING_UP, 300)
    assert found.growth is not None
    assert found.growth.estimate == pytest.approx(-40)
    assert (round(found.growth.low), round(found.growth.high)) == (-48, -32)
    assert found.drain is not None
    assert duration(found.drain.estimate) == "37m30s"
    exact = math.fsum((90_000 / 48, 90_000 / 32))
    assert found.drain.low + found.drain.high == pytest.approx(exact, rel=0.01)


def test_the_bounds_of_the_drain() -> None:
    # -48 … -32 exactly: the half-width of these blocks is 8.
    factor = 8 / (2 * 2.015 * math.sqrt(112 / 5) / math.sqrt(6))
    blocks = [-40 + factor * -2 * (each - 20) for each in BLOCKS]
    found = judged(ramp(300, by_blocks(blocks, 50, 90_000)))
    # Counts are whole, so the bounds are off by less than a second.
    assert found.drain is not None
    assert found.drain.low == pytest.approx(1875, abs=1)
    assert found.drain.high == pytest.approx(2812.5, abs=1)
    assert spread(replace(found.drain, low=1875.0, high=2812.5)) == "37m30s (31m15s to 46m52s)"
