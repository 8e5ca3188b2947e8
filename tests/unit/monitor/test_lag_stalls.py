"""A partition whose committed offset stands still with records unread is STALLED, and its cause is named with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.inputs import RestoreShown, Sample
from streamapp.monitor.lag.verdict import Cause, Status
from streamapp.pipeline.facts import StandsFor, Standstill
from tests.support.lag_series import CONFIG, NOW, judged, sample


def standing(seconds: float, lag: int = 500, **more: object) -> list[Sample]:
    """Return five minutes in which C moved until `seconds` ago and has stood still since, `lag` records before the end."""
    series = []
    for index in range(31):
        t = -300.0 + 10 * index
        moved = min(t, -seconds)
        series.append(sample(NOW + t, round(1000 + 10 * (moved + 300)), round(1000 + 10 * (300 - seconds)) + lag, **more))
    return series


def stands(kind: StandsFor, **more: object) -> tuple[Standstill, ...]:
    return (Standstill(kind, NOW - 100, **more),)  # type: ignore[arg-type]  # what a Standstill has


CASES: dict[Cause, tuple[dict[str, Any], str, str]] = {
    Cause.NO_OWNER: ({"owner": None}, "no worker owns it", "faust -A streamapp worker"),
    Cause.PAUSED: ({"standstills": stands("paused")}, "paused", "streamapp doctor"),
    Cause.BREAKER: (
        {"standstills": stands("breaker", agent="order_processor", detail="last error TimeoutError")},
        "breaker open (order_processor: last error TimeoutError)",
        "streamapp dlq stats --since 1h",
    ),
    Cause.STOPPED: (
        {"standstills": stands("stopped", agent="order_processor", offset=2900)},
        "stopped (order_processor at offset 2900)",
        "streamapp dlq take orders/3/2900",
    ),
    Cause.RETRYING: (
        {"standstills": stands("retrying", agent="order_processor", offset=2900, attempt=3)},
        "retrying (order_processor at offset 2900 attempt 3)",
        "streamapp dlq stats --since 1h",
    ),
    Cause.DLQ: (
        {"standstills": stands("unwritten", agent="order_processor", detail="not authorized")},
        "DLQ not writable (order_processor: not authorized)",
        "streamapp dlq check",
    ),
    Cause.HANDLER: (
        {"in_hand": ("order_processor", 95.0), "in_hand_offset": 2900},
        "a handler does not return (order_processor on offset 2900 for 1m35s)",
        "streamapp doctor --only G08",
    ),
    Cause.REBALANCING: ({"rebalancing_since": NOW - 90, "owner": None}, "the group is rebalancing", "streamapp doctor --only G"),
    Cause.RESTORE: (
        {"restore": RestoreShown(100, 4000, None, moving=False)},
        "its restore does not move (4,000 records of its tables are missing)",
        "streamapp transactions list",
    ),
    Cause.NOT_SEEN: ({"owner": None, "owner_known": False}, "no cause is seen from here", "streamapp doctor"),
}


@pytest.mark.parametrize("cause", CASES)
def test_the_cause_is_named_with_what_to_do(cause: Cause) -> None:
    limits, said, fix = CASES[cause]
    found = judged(standing(100), **limits)
    assert (found.status, found.cause, found.since) == (Status.STALLED, cause, NOW - 100)
    assert explain(found) == f"nothing committed for 1m40s: {said}, 500 unread"
    assert fix_of(found, CONFIG) == fix


@pytest.mark.parametrize("cause", CASES)
def test_no_cause_makes_a_stall_of_a_partition_that_moves(cause: Cause) -> None:
    limits, _, _ = CASES[cause]
    assert judged(standing(0), **limits).status is not Status.STALLED


def test_it_stands_for_a_minute_or_five_commit_intervals_or_three_slow_calls() -> None:
    assert judged(standing(50)).status is not Status.STALLED
    assert judged(standing(60)).status is Status.STALLED
    assert judged(standing(100), handler_p99=34.0).status is not Status.STALLED
    assert judged(standing(110), handler_p99=34.0).status is Status.STALLED


def test_a_record_that_came_just_now_to_a_partition_at_rest_is_no_stall() -> None:
    series = [sample(NOW - 300 + 10 * index, 1000, 1000) for index in range(30)]
    assert judged([*series, sample(NOW, 1000, 1001, oldest_unread=NOW - 20)]).status is not Status.STALLED


def test_a_restore_that_moves_is_none() -> None:
    found = judged(standing(100), restore=RestoreShown(100, 4000, 20.0, moving=True))
    assert (found.status, found.cause) == (Status.CLIFF, Cause.RESTORING)


# -- an open transaction


def behind_a_transaction(seconds: float) -> list[Sample]:
    """Return five minutes: all is read up to the last stable offset, which has stood still for `seconds`, while records come."""
    series = []
    for index in range(31):
        t = -300.0 + 10 * index
        end = round(5000 + 10 * min(t, -seconds))
        series.append(sample(NOW + t, end, end, high_watermark=round(5000 + 10 * t) if t > -seconds else end))
    return series


def test_an_open_transaction_holds_what_nobody_may_read() -> None:
    found = judged(behind_a_transaction(80))
    assert (found.status, found.cause, found.lag, found.blocked) == (Status.STALLED, Cause.OPEN_TRANSACTION, 0, 800)
    assert "(800 records from offset 4200 on wait for its end)" in explain(found)
    assert fix_of(found, CONFIG) == "streamapp transactions abort --topic orders --partition 3 --start-offset 4200"


def test_it_may_take_as_long_as_its_producers_timeout_or_a_minute() -> None:
    assert judged(behind_a_transaction(50)).status is Status.OK
    assert explain(judged(behind_a_transaction(50))) == "nothing unread, 500 records behind an open transaction"
    assert judged(behind_a_transaction(80), upstream_timeout=120.0).status is Status.OK


def test_transactions_that_follow_one_another_hold_nothing() -> None:
    series = [sample(NOW - 300 + 10 * index, 100 * index, 100 * index, high_watermark=100 * index + 40) for index in range(31)]
    assert judged(series).status is Status.OK


def test_a_frozen_watermark_of_a_paused_partition_is_not_level() -> None:
    series = [sample(NOW - 300 + 10 * index, 100, 510, high_watermark=510, position=110, unmerged=10) for index in range(31)]
    found = judged(series, standstills=stands("paused"))
    assert (found.status, found.cause) == (Status.STALLED, Cause.PAUSED)
