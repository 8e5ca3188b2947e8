"""What of a series counts: settled samples since the last reset; a trailing marker is no lag, and what is unknown is no zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamapp.monitor.lag.inputs import Change, Happening
from streamapp.monitor.lag.verdict import Cause, Status
from tests.support.lag_series import CONFIG, NOW, judged, ramp, sample

LATEST = replace(CONFIG, earliest=False, reset_policy="latest")


def test_what_was_fetched_and_is_not_held_is_read_whatever_is_committed() -> None:
    tail = sample(NOW, 99, 100, position=100, unmerged=0)
    assert (judged([tail]).lag, judged([tail]).raw_lag, judged([tail]).status) == (0, 1, Status.OK)
    assert judged([replace(tail, unmerged=1)]).lag == 1
    assert judged([replace(tail, position=99)]).lag == 1
    assert judged([replace(tail, position=None, unmerged=None)]).lag == 1


def test_a_group_that_never_committed_has_all_to_read_or_an_unknown_lag() -> None:
    never = sample(NOW, None, 100, log_start=40)
    assert judged([never]).lag == 60
    assert judged([never], config=LATEST).lag is None
    assert judged([replace(never, log_start=None)]).lag is None


def test_an_unknown_end_is_no_lag_of_zero() -> None:
    found = judged([sample(NOW, 99, None)])
    assert (found.lag, found.raw_lag, found.status) == (None, None, Status.UNKNOWN)


def test_committed_beyond_the_end_is_no_negative_lag() -> None:
    assert judged([sample(NOW, 120, 100)]).lag == 0


def test_records_behind_an_open_transaction_are_counted_apart() -> None:
    assert judged([sample(NOW, 90, 100, high_watermark=150)]).blocked == 50
    assert judged([sample(NOW, 90, 100, high_watermark=None)]).blocked is None


def test_a_fall_of_what_is_committed_begins_the_window_anew() -> None:
    # Level for 25 minutes, then set back by a million records, which are now made up for.
    before = ramp(1800, lambda t: 100)[:151]
    after = ramp(290, lambda t: 1_000_000 - 50 * t)
    found = judged([*before, *after])
    assert (found.status, found.cause, found.growth) == (Status.UNKNOWN, Cause.FEW_SAMPLES, None)
    assert judged([*before, *ramp(300, lambda t: 1_000_000 - 50 * t)]).status is Status.CATCHING_UP


def test_a_reset_that_is_told_begins_it_anew_too() -> None:
    series = ramp(1800, lambda t: 1000 - 50 * t)
    assert judged(series).growth is not None
    assert judged(series, [Happening(NOW - 100, Change.RESET)]).growth is None
    assert judged(series, [Happening(NOW - 100, Change.PAUSED)]).growth is not None


def test_a_topic_that_was_made_anew_begins_it_anew() -> None:
    assert judged([*ramp(300, lambda t: 900), sample(NOW + 10, 0, 10, oldest_unread=NOW)], now=NOW + 10).growth is None


def test_samples_from_the_middle_of_a_rebalance_are_left_out() -> None:
    series = ramp(300, lambda t: 5000 - 50 * t)
    odd = [replace(each, committed=0, settled=False) if -200 < each.at - NOW < -170 else each for each in series]
    assert judged(odd).growth == judged(series).growth
    counted = [replace(each, settled=True) for each in odd]
    assert judged(counted).growth != judged(series).growth


def test_a_window_with_a_hole_longer_than_a_block_has_no_trend() -> None:
    series = ramp(300, lambda t: 5000 - 50 * t)
    assert judged([each for each in series if not -200 < each.at - NOW < -160]).growth is not None
    assert judged([each for each in series if not -200 < each.at - NOW < -140]).growth is None


def test_blocks_of_fewer_than_ten_commits_are_no_trend() -> None:
    series = ramp(1800, lambda t: 5000 - 50 * t)
    assert judged(series, config=replace(CONFIG, commit_interval=5.0)).status is Status.CATCHING_UP
    slow = judged(series, config=replace(CONFIG, commit_interval=6.0))
    # Only the long window is left, which says nothing of catching up.
    assert (slow.status, slow.growth_window) == (Status.OK, 1800)


def test_records_merged_are_counted_rather_than_offsets_with_their_markers() -> None:
    series = [replace(each, merged=50 * index) for index, each in enumerate(ramp(300, lambda t: 90 - t))]
    assert judged(series).consumed_rate == pytest.approx(5)
    # They begin anew with each assignment: then offsets are what there is.
    again = [replace(each, merged=50 * (index % 20)) for index, each in enumerate(ramp(300, lambda t: 90 - t))]
    assert judged(again).consumed_rate == pytest.approx(121)
    some = [replace(each, merged=None) if index == 5 else each for index, each in enumerate(series)]
    assert judged(some).consumed_rate == pytest.approx(121)


def test_capacity_is_what_was_done_in_minutes_that_were_busy_with_records_waiting() -> None:
    series = ramp(600, lambda t: 5000 - 50 * t, busy=0.95)
    assert judged(series).capacity == pytest.approx(170)
    assert judged(series).utilization == pytest.approx(120 / 170)
    assert judged([replace(each, busy=0.89) for each in series]).capacity is None
    assert judged([replace(each, busy=None) for each in series]).capacity is None
    assert judged(ramp(600, lambda t: 0, busy=0.95)).capacity is None


def test_the_last_commit_is_as_old_as_the_worker_says_or_as_the_samples_show() -> None:
    series = [sample(NOW - 20, 5, 9), sample(NOW - 10, 6, 9), sample(NOW, 6, 9)]
    assert judged(series, last_commit=NOW - 3).commit_age == 3
    assert judged(series, last_commit=None).commit_age == 10
    assert judged(series[1:], last_commit=None).commit_age is None
