"""FALLING_BEHIND needs the long window, CATCHING_UP the short one; else it is level, or there is no clear trend, or too little is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.verdict import Cause, Status
from tests.support.lag_series import CONFIG, NOW, by_blocks, judged, ramp, sample

NOISE = (30.0, -30.0, 20.0, -20.0, 10.0, -10.0)


def test_growth_within_the_deadband_is_level() -> None:
    found = judged(ramp(1800, lambda t: 5000 + 2.3 * t, age=60))
    assert (found.status, found.cause) == (Status.OK, Cause.LEVEL)
    assert explain(found) == "level, 5,000 unread, the oldest for 1m"
    assert judged(ramp(1800, lambda t: 5000 + 2.5 * t, age=60)).status is Status.FALLING_BEHIND


def test_the_deadband_is_one_record_per_second_at_least() -> None:
    assert judged(ramp(1800, lambda t: 5000 + 0.9 * t, produced=10)).status is Status.OK
    assert judged(ramp(1800, lambda t: 5000 + 1.1 * t, produced=10)).status is Status.FALLING_BEHIND


def test_what_is_level_and_old_is_said_to_be_behind() -> None:
    assert explain(judged(ramp(1800, lambda t: 5000, age=2400))) == "level, 40 min behind"
    assert "behind" not in explain(judged(ramp(1800, lambda t: 5000, age=299)))


def test_growth_needs_fifteen_minutes_to_be_called_falling_behind() -> None:
    assert judged(ramp(890, lambda t: 90_000 + 20 * t)).status is not Status.FALLING_BEHIND
    assert judged(ramp(900, lambda t: 90_000 + 20 * t)).status is Status.FALLING_BEHIND


def test_until_then_a_growing_lag_is_not_called_level() -> None:
    found = judged(ramp(600, lambda t: 90_000 + 20 * t))
    assert (found.status, found.cause) == (Status.OK, Cause.NO_TREND)


def test_noise_wider_than_the_deadband_is_no_clear_trend() -> None:
    found = judged(ramp(300, by_blocks(NOISE, 50, 9000), age=60))
    assert (found.status, found.cause) == (Status.OK, Cause.NO_TREND)
    assert explain(found).startswith("no clear trend: 0/s (-19…19)")


def test_shrinking_for_five_minutes_is_catching_up() -> None:
    found = judged(ramp(300, lambda t: 6000 - 20 * t))
    assert (found.status, found.growth_window) == (Status.CATCHING_UP, 300)
    assert explain(found) == "drained in 5m (5m to 5m), -20/s (-20…-20), 6,000 unread, the oldest for 12m30s"
    assert fix_of(found, CONFIG) is None


def test_shrinking_that_is_not_certain_has_no_drain() -> None:
    found = judged(ramp(300, by_blocks([each - 20 for each in NOISE], 50, 9000)))
    assert (found.status, found.drain) == (Status.OK, None)


def test_a_lag_of_a_few_seconds_is_ok_and_not_catching_up() -> None:
    assert judged(ramp(300, lambda t: 600 - 20 * t, age=5)).status is Status.OK
    assert judged(ramp(300, lambda t: 600 - 20 * t, age=11)).status is Status.CATCHING_UP


def test_a_partition_with_little_room_left_is_told_what_an_outage_would_cost() -> None:
    level = judged(ramp(1800, lambda t: 5000, age=60))

    def told(utilization: float | None) -> str:
        return explain(replace(level, utilization=utilization)).removeprefix("level, 5,000 unread, the oldest for 1m")

    assert (told(None), told(0.8)) == ("", "")
    assert told(0.81) == ", utilisation 81 %: an outage of 1 min costs 4m15s"
    assert told(0.95) == ", utilisation 95 %: an outage of 1 min costs 19m"
    assert told(1.0) == ", utilisation 100 %: an outage would never be made up for"


# -- UNKNOWN


def test_less_than_five_minutes_of_samples_are_no_trend_and_it_says_when_there_will_be_one() -> None:
    found = judged(ramp(200, lambda t: 500))
    assert (found.status, found.cause) == (Status.UNKNOWN, Cause.FEW_SAMPLES)
    assert found.known_in == pytest.approx(100)
    assert explain(found) == "not enough samples for a trend; known in 1m40s, 500 unread, the oldest for 12m30s"
    assert fix_of(found, CONFIG) is None
    assert judged(ramp(300, lambda t: 500)).status is not Status.UNKNOWN


def test_with_slow_commits_it_takes_longer_and_says_so() -> None:
    found = judged(ramp(300, lambda t: 500), config=replace(CONFIG, commit_interval=6.0))
    assert found.status is Status.UNKNOWN
    assert found.known_in == pytest.approx(600)


def test_nothing_unread_and_fresh_records_need_no_trend() -> None:
    assert judged([sample(NOW, 100, 100)]).status is Status.OK
    assert explain(judged([sample(NOW, 100, 100)])) == "nothing unread"
    assert judged([sample(NOW, 99, 100, oldest_unread=NOW - 9)]).status is Status.OK
    assert judged([sample(NOW, 99, 100, oldest_unread=NOW - 11)]).status is Status.UNKNOWN


def test_no_sample_at_all_is_unknown() -> None:
    found = judged([])
    assert (found.status, found.cause, found.lag, found.committed) == (Status.UNKNOWN, Cause.FEW_SAMPLES, None, None)
    assert explain(found) == "not enough samples for a trend; known once some are taken"


def test_a_group_that_never_committed_is_unknown() -> None:
    never = [sample(NOW + t, None, 100, oldest_unread=NOW - 900) for t in range(-600, 1, 10)]
    found = judged(never)
    assert (found.status, found.cause, found.lag) == (Status.UNKNOWN, Cause.NO_COMMIT, 100)
    assert fix_of(found, CONFIG) == "faust -A streamapp worker"
    assert judged([replace(each, committed=50) for each in never]).cause is not Cause.NO_COMMIT


def test_a_broker_that_does_not_answer_makes_it_unknown() -> None:
    series = ramp(300, lambda t: 500)
    gone = replace(CONFIG, reachable=False)
    assert (judged(series, config=gone).status, judged(series, config=gone).cause) == (Status.UNKNOWN, Cause.UNREACHABLE)
    assert judged(series).status is not Status.UNKNOWN
