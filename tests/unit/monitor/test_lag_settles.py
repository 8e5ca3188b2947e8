"""Two evaluations in a row change a status; lost data is told at once."""

from __future__ import annotations

from dataclasses import replace

from streamapp.monitor.lag.evaluate import settled
from streamapp.monitor.lag.explain import explain
from streamapp.monitor.lag.verdict import Cause, Status, Verdict
from tests.support.lag_series import NOW, judged, ramp

OK = judged(ramp(1800, lambda t: 500, age=60))
BEHIND = replace(judged(ramp(1800, lambda t: 90_000 + 20 * t)), at=NOW + 10)
LOST = replace(OK, status=Status.DATA_LOST, cause=None, lost=12, at=NOW + 10)


def shown(*evaluated: Verdict) -> list[Status]:
    """Return what is shown after each evaluation."""
    last: Verdict | None = None
    before: Verdict | None = None
    statuses = []
    for each in evaluated:
        last, before = settled(last, before, each), each
        statuses.append(last.status)
    return statuses


def test_one_evaluation_changes_nothing_and_two_in_a_row_do() -> None:
    assert shown(OK, BEHIND, BEHIND, OK, BEHIND, OK, OK) == [
        Status.OK, Status.OK, Status.FALLING_BEHIND, Status.FALLING_BEHIND, Status.FALLING_BEHIND, Status.FALLING_BEHIND, Status.OK,
    ]  # fmt: skip


def test_two_others_that_differ_change_nothing() -> None:
    stalled = replace(OK, status=Status.STALLED, cause=Cause.PAUSED)
    assert shown(OK, BEHIND, stalled, BEHIND) == [Status.OK] * 4


def test_lost_data_is_told_at_once_and_goes_after_two() -> None:
    assert shown(OK, LOST, OK, OK) == [Status.OK, Status.DATA_LOST, Status.DATA_LOST, Status.OK]
    assert settled(settled(OK, OK, LOST), LOST, OK).lost == 12


def test_figures_are_the_latest_and_the_sentence_stays_with_its_status() -> None:
    found = settled(BEHIND, BEHIND, replace(OK, lag=499))
    assert (found.lag, found.status, found.hour_in) == (499, Status.FALLING_BEHIND, BEHIND.hour_in)
    assert explain(found).startswith("growing")


def test_a_status_holds_since_it_was_first_seen() -> None:
    first = settled(None, None, OK)
    second = settled(first, OK, replace(OK, at=NOW + 10))
    assert (first.since, second.since) == (None, None) or first.since == second.since
    changed = settled(settled(second, OK, BEHIND), BEHIND, replace(BEHIND, at=NOW + 20))
    assert (changed.status, changed.since) == (Status.FALLING_BEHIND, BEHIND.at)
    assert settled(changed, BEHIND, replace(BEHIND, at=NOW + 30)).since == BEHIND.at


def test_a_new_cause_of_the_same_status_counts_from_its_own_beginning() -> None:
    paused = replace(OK, status=Status.STALLED, cause=Cause.PAUSED, since=NOW - 100)
    stopped = replace(paused, cause=Cause.STOPPED, since=NOW - 50)
    assert settled(paused, paused, replace(paused, since=NOW - 70)).since == NOW - 100
    assert (settled(paused, paused, stopped).cause, settled(paused, paused, stopped).since) == (Cause.STOPPED, NOW - 50)
