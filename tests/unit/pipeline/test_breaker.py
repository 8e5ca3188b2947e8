"""The breaker opens on outages and bad deploys, and on nothing that bad data does; time and failures are given."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.errors import SettingInvalid
from streamapp.pipeline.breaker import Breaker, BreakerState
from streamapp.pipeline.retry import FailureClass
from streamapp.settings.rooms import BreakerSettings

PERMANENT, TRANSIENT, UNKNOWN = FailureClass.PERMANENT, FailureClass.TRANSIENT, FailureClass.UNKNOWN
S = None
"""A record that succeeded."""


def run(history: list[FailureClass | None], policy: Breaker | None = None, *, every: float = 0.01) -> tuple[int, str] | None:
    """Play one record after the other; return the offset whose verdict opened the breaker, and why."""
    state, now = BreakerState(policy or Breaker()), 1000.0
    for offset, failure in enumerate(history):
        now += every
        state.mark(offset, now)
        if failure is None:
            if state.listens:
                state.succeeded()
        elif (why := state.verdict(offset, failure, now)) is not None:
            return offset, why
    return None


def test_ten_transient_verdicts_in_a_row_open_it() -> None:
    assert run([S, S, *[TRANSIENT] * 20]) == (11, "10 verdicts in a row, all transient")
    assert run([*[TRANSIENT] * 9, S, *[TRANSIENT] * 9]) is None
    assert run([*[TRANSIENT] * 9, UNKNOWN, *[TRANSIENT] * 9]) is None


def test_fifty_of_either_kind_in_a_row_open_it() -> None:
    assert run([UNKNOWN] * 60) == (49, "50 verdicts in a row")
    assert run([*[UNKNOWN, TRANSIENT] * 30]) == (49, "50 verdicts in a row")
    assert run([*[UNKNOWN] * 49, *[S] * 200, UNKNOWN]) is None


def test_more_than_a_fifth_of_mixed_traffic_opens_it_and_a_fifth_does_not() -> None:
    assert run([S, S, S, S, UNKNOWN] * 200) is None
    opened = run([*[S] * 500, *[UNKNOWN, S, S] * 200])
    assert opened is not None
    assert "verdicts on the last 500 records" in opened[1]
    assert run([UNKNOWN, S, S] * 49) is None, "no small samples"


def test_what_went_well_before_the_first_verdict_counts() -> None:
    assert run([*[S] * 440, *[UNKNOWN, S] * 49, UNKNOWN]) is None


def test_verdicts_older_than_the_window_do_not_count() -> None:
    assert run([UNKNOWN, S, S] * 200, every=1.0) is None


@given(st.lists(st.sampled_from([PERMANENT, S]), max_size=400))
def test_permanent_failures_never_open_it(history: list[FailureClass | None]) -> None:
    assert run(history, Breaker(transient=1, consecutive=1, ratio=0.01, last=1)) is None


def test_permanent_failures_interrupt_no_run() -> None:
    assert run([*[TRANSIENT] * 5, PERMANENT, *[TRANSIENT] * 5]) == (10, "10 verdicts in a row, all transient")


def test_a_record_that_is_judged_again_counts_once() -> None:
    state = BreakerState(Breaker())
    for _ in range(3):
        for offset in range(5):
            assert state.verdict(offset, TRANSIENT, 1.0) is None


def test_a_probe_that_succeeds_begins_anew() -> None:
    state = BreakerState(Breaker(transient=2))
    assert [state.verdict(offset, TRANSIENT, 1.0) is not None for offset in range(2)] == [False, True]
    assert (state.opened_at, state.probe_at) == (1.0, 31.0)
    state.open(31.0, 30.0)
    assert (state.opened_at, state.probe_at) == (1.0, 61.0)
    state.close()
    assert not state.is_open
    assert not state.listens
    assert state.verdict(2, TRANSIENT, 62.0) is None


@pytest.mark.parametrize(
    "given",
    [
        {"transient": 0}, {"consecutive": 0}, {"ratio": 0}, {"ratio": 1.1}, {"last": 0}, {"window": 0}, {"minimum": 0},
        {"last": 10, "minimum": 11}, {"probe_interval": 0}, {"enabled": 1}, {"transient": 1.5}, {"transient": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_value_out_of_range_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SettingInvalid, match=f"^breaker {list(given)[-1]}"):
        Breaker(**given)


def test_its_defaults_are_those_of_the_settings() -> None:
    settings = BreakerSettings()
    assert {f"breaker_{each.name}": getattr(Breaker(), each.name) for each in fields(Breaker)} == {
        each.name: getattr(settings, each.name) for each in fields(BreakerSettings)
    }
    assert Breaker(last=20).minimum == 20
