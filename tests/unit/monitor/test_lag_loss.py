"""Unread records are lost by time, by size, with their tombstones, or when an empty group's offsets expire: the first limit is named.

DATA_LOST and AT_RISK come before all else, and AT_RISK's fix buys time at the limit that binds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.lag.verdict import Cause, Status
from tests.support.lag_series import CONFIG, DAY, LIMITS, NOW, judged, ramp, sample

HOUR = 3600.0


def level(lag: int = 5000, age: float = 750.0, pace: float = 1.0, seconds: float = 1800.0, **more: object) -> list[Sample]:
    return ramp(seconds, lambda t: lag, age=age, pace=pace, **more)  # type: ignore[arg-type]  # whatever a Sample has


def by_size(*, starts: int = 4, committed_per_second: float = 0.0) -> list[Sample]:
    """Return half an hour in which the log's start moved `starts` times by 3,000, and C by so much."""
    series = []
    for index in range(181):
        start = 1000 * 3 * (index * (starts + 1) // 181)
        series.append(
            sample(NOW - 1800 + 10 * index, round(60_000 + committed_per_second * 10 * index), 200_000, log_start=start)
        )
    return series


# -- DATA_LOST


def test_a_log_that_begins_behind_what_was_committed_has_lost_records() -> None:
    series = [*level(seconds=300), sample(NOW + 10, 1_289_400, 1_294_400, log_start=1_290_600)]
    found = judged(series, now=NOW + 10)
    assert (found.status, found.lost, found.since) == (Status.DATA_LOST, 1200, NOW + 10)
    assert explain(found) == (
        "1,200 records deleted unread since 2027-01-15T08:00:10Z, the log begins at 1,290,600; reset policy: earliest"
    )
    assert fix_of(found, CONFIG) == (
        "kafka-configs.sh --bootstrap-server localhost:9092 --alter --entity-type topics --entity-name orders "
        "--add-config retention.ms=172800000"
    )


def test_a_log_that_begins_at_what_was_committed_has_lost_none() -> None:
    series = [*level(seconds=300), sample(NOW + 10, 1_289_400, 1_294_400, log_start=1_289_400)]
    found = judged(series, now=NOW + 10)
    assert (found.status is Status.DATA_LOST, found.lost) == (False, 0)


# -- AT_RISK, by the limit that binds


def test_time_left_is_what_is_left_at_the_pace_of_reading() -> None:
    found = judged(level(age=DAY - HOUR, pace=0.5))
    assert (found.status, found.cause) == (Status.AT_RISK, Cause.TIME)
    assert found.loss == pytest.approx(2 * HOUR)
    assert explain(found) == ("unread records are deleted in 2h, retention.ms binds (1d), 5,000 unread, the oldest for 23h")
    assert (fix_of(found, CONFIG) or "").endswith("--add-config retention.ms=172800000")


def test_six_hours_are_time_enough() -> None:
    assert judged(level(age=DAY - 12 * HOUR, pace=-0.5)).loss == pytest.approx(12 * HOUR)  # a pace below 0 makes nothing longer
    assert judged(level(age=DAY - 12 * HOUR, pace=0.0)).status is not Status.AT_RISK
    assert judged(level(age=DAY - 12 * HOUR, pace=1.0)).loss == math.inf


def test_a_topic_of_one_hour_is_not_always_at_risk() -> None:
    assert judged(level(age=1200, pace=0.0), retention=HOUR).status is not Status.AT_RISK
    assert judged(level(age=2701, pace=0.0), retention=HOUR).status is Status.AT_RISK


def test_a_partition_that_has_used_four_fifths_of_its_retention_is_at_risk_however_fast_it_reads() -> None:
    found = judged(level(age=0.81 * DAY, pace=1.0))
    assert (found.status, found.cause) == (Status.AT_RISK, Cause.TIME)
    assert "81 % of the retention is used up" in explain(found)
    assert judged(level(age=0.79 * DAY, pace=1.0)).status is not Status.AT_RISK


def test_it_is_at_risk_where_it_would_not_be_drained_twice_over_in_time() -> None:
    def draining(drained_in: float, age: float) -> Status:
        series = ramp(300, lambda t: 10 * (drained_in - t), pace=0.5, age=age)
        return judged([replace(each, log_start=None) for each in series], retention=30 * DAY).status

    # 20 days are left at this pace; drained in 8 days and in 12.
    assert draining(8 * DAY, 20 * DAY) is Status.CATCHING_UP
    assert draining(12 * DAY, 20 * DAY) is Status.AT_RISK


def test_what_is_read_is_at_no_risk() -> None:
    found = judged(level(lag=0, seconds=300))
    assert (found.status, found.loss) == (Status.OK, math.inf)


def test_the_size_limit_binds_where_the_log_is_cut_faster_than_it_is_read() -> None:
    found = judged(by_size(), retention=None, retention_bytes=1_000_000_000)
    # Three moves of 3,000 in 1,080 s or so, and 48,000 before what is unread.
    assert found.loss == pytest.approx(48_000 / (9000 / 1090), rel=0.02)
    assert (found.status, found.cause) == (Status.AT_RISK, Cause.SIZE)
    assert found.headroom == pytest.approx(48 / 188)
    assert "retention.bytes binds (26 % of the log lies before what is unread)" in explain(found)
    assert (fix_of(found, CONFIG) or "").endswith("--add-config retention.bytes=2000000000")


def test_the_size_limit_does_not_bind_where_reading_is_faster() -> None:
    found = judged(by_size(committed_per_second=20), retention=None, retention_bytes=1_000_000_000)
    assert (found.loss, found.status is Status.AT_RISK) == (math.inf, False)


def test_fewer_than_three_moves_of_the_logs_start_are_no_slope() -> None:
    found = judged(by_size(starts=2), retention=None, retention_bytes=1_000_000_000)
    assert found.loss is None
    assert found.headroom == pytest.approx(54 / 194)


def test_a_compacted_topic_deletes_nothing_by_time_but_tombstones_of_a_tables_reader() -> None:
    only_compacted: dict[str, Any] = {"deleted": False, "compacted": True}
    series = level(age=DAY - HOUR, pace=0.0)
    assert judged(series, **only_compacted).loss == math.inf
    found = judged(series, **only_compacted, delete_retention=DAY)
    assert (found.status, found.cause) == (Status.AT_RISK, Cause.TOMBSTONES)
    assert found.loss == pytest.approx(HOUR)
    assert "delete.retention.ms binds" in explain(found)
    assert (fix_of(found, CONFIG) or "").endswith("--add-config delete.retention.ms=172800000")
    both = judged(series, deleted=True, compacted=True, delete_retention=10 * DAY)
    assert both.loss_by is Cause.TIME


def test_offsets_of_an_empty_group_expire() -> None:
    found = judged(level(), empty_since=NOW - 6.9 * DAY, owner=None)
    assert (found.status, found.cause) == (Status.AT_RISK, Cause.OFFSET_EXPIRY)
    assert found.loss == pytest.approx(0.1 * DAY)
    assert fix_of(found, CONFIG) == "faust -A streamapp worker"
    assert judged(level(), empty_since=None).loss_by is not Cause.OFFSET_EXPIRY
    assert judged(level(), empty_since=NOW - DAY).status is not Status.AT_RISK


def test_a_retention_that_is_not_known_is_not_endless() -> None:
    assert judged(level(), retention=None, known=False).loss is None
    assert judged(level(), retention=None, known=True).loss == math.inf
    assert LIMITS.topic.known
