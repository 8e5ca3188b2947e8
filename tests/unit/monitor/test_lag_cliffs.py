"""Lag that an event explains, and that will go, is a CLIFF: a restore, an outage, a crash loop, a stuck rebalance, a slower version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.inputs import Change, Happening, RestoreShown, Sample
from streamapp.monitor.lag.verdict import Cause, Status
from tests.support.lag_series import CONFIG, NOW, judged, sample

OUTAGE_BEGAN, OUTAGE_ENDED = -240.0, -180.0
DEPLOY = Happening(NOW - 200, Change.DEPLOYED, worker="w-1", version="1.4.1")


def outage(
    consumed_after: float = 100.0,
    *,
    began: float = OUTAGE_BEGAN,
    ended: float = OUTAGE_ENDED,
    produced: float = 100.0,
    busy: Callable[[float], float] = lambda t: 0.5,
    seconds: float = 1800.0,
) -> list[Sample]:
    """Return samples of 100 records/s, 50 behind, with nothing consumed between two moments (seconds before now)."""
    series = []
    for index in range(round(seconds / 10) + 1):
        t = -seconds + 10 * index
        end = 1_000_000 + produced * t
        committed = end - 50
        if t > began:
            standing = 1_000_000 + produced * began - 50
            committed = min(end - 50, standing + consumed_after * max(0.0, t - ended))
        lag = end - committed
        series.append(
            sample(
                NOW + t, round(committed), round(end), oldest_unread=NOW + t - lag / produced if lag else None,
                busy=busy(t), log_start=0,
            )
        )  # fmt: skip
    return series


def cause_of(series: Sequence[Sample], *events: Happening, **limits: Any) -> tuple[Status, Cause | None]:
    found = judged(series, events, **limits)
    return found.status, found.cause


def test_an_outage_behind_a_deploy_is_a_cliff() -> None:
    found = judged(outage(), [DEPLOY])
    assert (found.status, found.cause, found.since) == (Status.CLIFF, Cause.OUTAGE, DEPLOY.at)
    assert found.recovery is None
    assert explain(found) == (
        "behind after an outage: deployed of w-1 to 1.4.1, 1m without a commit, recovery unknown: no capacity seen yet, "
        "6,050 unread, the oldest for 1m"
    )
    assert fix_of(found, CONFIG) is None


def test_a_worker_that_was_down_took_no_samples_and_its_outage_is_a_cliff_all_the_same() -> None:
    sampled = [each for each in outage() if not NOW + OUTAGE_BEGAN < each.at < NOW + OUTAGE_ENDED + 10]
    found = judged(sampled, [DEPLOY])
    assert (found.status, found.cause) == (Status.CLIFF, Cause.OUTAGE)
    assert "1m without a commit" in explain(found)


def test_the_same_lag_without_an_event_is_none() -> None:
    assert judged(outage()).status is not Status.CLIFF


def test_an_event_that_cost_little_is_none() -> None:
    restart = Happening(NOW - 215, Change.RESTARTED, "w-1")

    def usually(lag: int) -> Status:
        series = [replace(each, committed=(each.committed or 0) - lag + 50) for each in outage(began=-220, ended=-210)]
        return judged(series, [restart]).status

    # 1,000 records more: ten times what there usually is, or not.
    assert usually(99) is Status.CLIFF
    assert usually(101) is not Status.CLIFF


def test_a_handful_of_records_after_a_start_is_no_outage() -> None:
    """It worked at once. Nothing was unread before, so any rise would be ten times as much."""
    start = Happening(NOW - 45, Change.ASSIGNED, "w-1")
    series = [
        sample(NOW + t, 2 if t >= -40 else 0, 6 if t >= -40 else 0, log_start=0, oldest_unread=NOW - 40 if t >= -40 else None)
        for t in range(-310, 1, 10)
    ]
    assert judged(series, [start]).status is not Status.CLIFF


def test_what_came_in_the_outage_has_to_be_unread_nearly_all() -> None:
    def of_what_usually_comes(share: float) -> Status:
        series = []
        for each in outage():
            t = each.at - NOW
            end = round((each.end or 0) - (1 - share) * 100 * max(0.0, min(60.0, t - OUTAGE_BEGAN)))
            committed = each.committed if t <= OUTAGE_ENDED else end - 50 - round(share * 6000)
            series.append(replace(each, end=end, high_watermark=end, committed=committed))
        return judged(series, [DEPLOY]).status

    assert of_what_usually_comes(0.9) is Status.CLIFF
    assert of_what_usually_comes(0.7) is not Status.CLIFF


def test_recovery_is_what_came_in_the_outage_over_what_can_be_done_besides() -> None:
    # Busy since the outage ended, at 110/s.
    found = judged(outage(110.0, busy=lambda t: 1.0 if t > OUTAGE_ENDED else 0.5), [DEPLOY])
    assert found.capacity == pytest.approx(110, rel=0.01)
    assert found.recovery == pytest.approx(100 * 60 / (110 - 100))
    assert "back in about 10m" in explain(found)


def test_it_is_over_after_ten_minutes_where_the_recovery_is_unknown() -> None:
    series = outage(100.0, began=-700, ended=-640)
    assert judged(series, [Happening(NOW - 590, Change.RESTARTED, "w-1")]).status is not Status.CLIFF
    late = outage(100.0, began=-640, ended=-580)
    assert judged(late, [Happening(NOW - 599, Change.RESTARTED, "w-1")]).status is Status.CLIFF
    assert judged(late, [Happening(NOW - 601, Change.RESTARTED, "w-1")]).status is not Status.CLIFF


def test_it_is_over_after_twice_the_recovery() -> None:
    def at(consumed: float) -> Status:
        busy = outage(consumed, busy=lambda t: 1.0 if t > OUTAGE_ENDED else 0.5)
        return judged(busy, [DEPLOY]).status

    assert at(110.0) is Status.CLIFF
    # 100 x 60 / (220 - 100) is 50 s; twice that have passed, and a rest is there as nothing catches up any more.
    rest = outage(220.0, busy=lambda t: 1.0 if t > OUTAGE_ENDED else 0.5)
    stuck = [
        sample(
            each.at,
            (each.committed or 0) - (400 if each.at > NOW - 130 else 0),
            each.end,
            busy=each.busy,
            oldest_unread=each.at - 15,
        )
        for each in rest
    ]
    assert judged(stuck, [DEPLOY]).status is not Status.CLIFF


def test_a_lag_that_is_gone_is_none() -> None:
    assert judged(outage(1000.0), [DEPLOY]).status is Status.OK


def test_a_restore_that_moves_tells_its_share_and_its_end() -> None:
    found = judged(outage(), restore=RestoreShown(300, 700, 42.0, moving=True))
    assert (found.status, found.cause, found.recovery) == (Status.CLIFF, Cause.RESTORING, 42.0)
    assert explain(found).startswith("restoring its tables: 30 % restored, 42s left, ")
    assert cause_of(outage(), restore=RestoreShown(300, 700, None, moving=False))[0] is not Status.CLIFF


def test_a_worker_that_keeps_joining_is_a_crash_loop() -> None:
    joins = [Happening(NOW - age, Change.RESTARTED, worker="w-1") for age in (500, 350, 200)]
    found = judged(outage(), joins)
    assert (found.cause, found.detail) == (Cause.CRASH_LOOP, "w-1 joined 3 times in 10 min")
    assert explain(found).startswith("crash loop: w-1 joined 3 times in 10 min")
    assert cause_of(outage(), *joins[1:])[1] is Cause.OUTAGE
    two = [Happening(NOW - 200, Change.RESTARTED, worker="w-2"), *joins[:2]]
    assert cause_of(outage(), *two)[1] is Cause.OUTAGE
    # One join may be told as an assignment, too.
    both = [*joins[1:], *(Happening(each.at, Change.ASSIGNED, worker="w-1") for each in joins[1:])]
    assert cause_of(outage(), *both)[1] is Cause.OUTAGE


def test_a_rebalance_that_takes_more_than_a_minute_is_stuck() -> None:
    def rebalancing(since: float) -> tuple[Status, Cause | None]:
        # Handlers are slow, so that it is no stall yet.
        series = outage(ended=0.0, began=-100.0)
        return cause_of(series, Happening(NOW - 90, Change.REVOKED, "w-1"), rebalancing_since=NOW - since, handler_p99=60.0)

    assert rebalancing(61) == (Status.CLIFF, Cause.REBALANCE_STUCK)
    assert rebalancing(59) == (Status.CLIFF, Cause.OUTAGE)


def test_a_new_version_that_does_less_is_named_with_how_much_less() -> None:
    deploy = Happening(NOW - 400, Change.DEPLOYED, worker="w-1", version="1.4.1")
    slow = judged(outage(62.0, began=-430, ended=-370), [deploy])
    assert (slow.status, slow.cause, slow.detail) == (Status.CLIFF, Cause.SLOWER, "version 1.4.1 is 38 % slower")
    assert explain(slow).startswith("new version 1.4.1 is 38 % slower, ")
    as_fast = cause_of(outage(90.0, began=-430, ended=-370), deploy)
    assert as_fast == (Status.CLIFF, Cause.OUTAGE)
    # Four minutes are not enough to say so.
    too_soon = Happening(NOW - 270, Change.DEPLOYED, worker="w-1", version="1.4.1")
    assert cause_of(outage(62.0, began=-300, ended=-240), too_soon)[1] is Cause.OUTAGE
    restart = Happening(NOW - 400, Change.RESTARTED, worker="w-1", version="1.4.1")
    assert cause_of(outage(62.0, began=-430, ended=-370), restart)[1] is Cause.OUTAGE
