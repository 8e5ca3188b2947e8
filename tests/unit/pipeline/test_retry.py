"""Every row of the classification table, and every way in which retries end."""

import asyncio
import errno
import random
import socket
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp import errors
from streamapp.pipeline.retry import FailureClass, Retry, RetryState, UnsetFloat, Verdict, Wait, classify, decide

FATAL, ENGINE, PERMANENT, TRANSIENT, UNKNOWN = FailureClass


class WithStatus(Exception):
    def __init__(self, status: Any = None, *, status_code: Any = None, response: Any = None) -> None:
        self.status, self.status_code, self.response = status, status_code, response


class Rude(Exception):
    @property
    def response(self) -> Any:
        raise RuntimeError("no response yet")


def caused(outer: Any, *causes: Any) -> Any:
    link = outer
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return outer


ROWS = [
    (FATAL, MemoryError()),
    (FATAL, SystemExit(1)),
    (FATAL, KeyboardInterrupt()),
    (FATAL, OSError(errno.ENOSPC, "full")),
    (FATAL, OSError(errno.EDQUOT, "quota")),
    (FATAL, errors.InvariantBroken()),
    (FATAL, errors.RivalWorker()),
    (FATAL, GeneratorExit()),
    (ENGINE, asyncio.CancelledError()),
    (ENGINE, errors.CommitRefused()),
    (ENGINE, errors.DeliveryFailed()),
    (ENGINE, errors.AssignmentLost()),
    (ENGINE, errors.DeadlinePassed()),
    (ENGINE, errors.ProducerFenced()),
    (ENGINE, errors.OutcomeUnknown()),
    (ENGINE, errors.StoreCorrupted()),
    (PERMANENT, errors.Permanent()),
    (PERMANENT, errors.DecodeFailed(code="no-value")),
    (PERMANENT, errors.ValidationFailed()),
    (PERMANENT, errors.OutputRejected()),
    *[(PERMANENT, WithStatus(status)) for status in (400, 404, 499)],
    (PERMANENT, WithStatus(status_code=422)),
    (PERMANENT, WithStatus(response=WithStatus(403))),
    (PERMANENT, WithStatus(response=WithStatus(status_code=403))),
    (TRANSIENT, errors.Transient()),
    (TRANSIENT, TimeoutError()),
    (TRANSIENT, ConnectionRefusedError()),
    (TRANSIENT, BrokenPipeError()),
    (TRANSIENT, OSError(errno.EHOSTUNREACH, "no route")),
    (TRANSIENT, OSError(errno.ENETUNREACH, "no net")),
    (TRANSIENT, socket.gaierror(-2, "unknown name")),
    (TRANSIENT, ssl.SSLEOFError()),
    *[(TRANSIENT, WithStatus(status)) for status in (408, 425, 429, 500, 503, 599)],
    (UNKNOWN, WithStatus(399)),
    (UNKNOWN, WithStatus(600)),
    (UNKNOWN, WithStatus(True)),
    (UNKNOWN, WithStatus("404")),
    (UNKNOWN, RuntimeError()),
    (UNKNOWN, FileNotFoundError(errno.ENOENT, "gone")),
    (UNKNOWN, ssl.SSLCertVerificationError()),
    (UNKNOWN, errors.TableNotHere()),
    (UNKNOWN, Rude()),
]


@pytest.mark.parametrize(("row", "exc"), ROWS, ids=repr)
def test_each_row(row: FailureClass, exc: BaseException) -> None:
    assert classify(exc) is row


@pytest.mark.parametrize("exc", [MemoryError(), errors.ProducerFenced(), OSError(errno.ENOSPC, "full")])
def test_fatal_and_engine_match_anywhere_in_the_chain(exc: BaseException) -> None:
    expected = classify(exc)
    assert classify(caused(errors.Permanent(), *[RuntimeError() for _ in range(7)], exc)) is expected
    assert classify(caused(errors.Permanent(), *[RuntimeError() for _ in range(8)], exc)) is PERMANENT


def test_a_cause_is_looked_at_and_a_context_is_not() -> None:
    assert classify(caused(errors.AgentFailed(), TimeoutError())) is TRANSIENT
    stray = RuntimeError()
    stray.__context__ = errors.Permanent()
    assert classify(stray) is UNKNOWN


def test_the_outermost_link_that_says_something_decides() -> None:
    assert classify(caused(RuntimeError(), TimeoutError(), errors.Permanent())) is TRANSIENT
    assert classify(caused(RuntimeError(), errors.Permanent(), TimeoutError())) is PERMANENT


async def test_a_timeout_of_the_handler_is_no_cancellation() -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert classify(caught.value) is TRANSIENT


def test_a_circle_of_causes_ends() -> None:
    one, two = RuntimeError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert classify(one) is UNKNOWN


def test_named_classes_win_over_status_and_built_in_ones() -> None:
    assert classify(TimeoutError(), permanent=(TimeoutError,)) is PERMANENT
    assert classify(WithStatus(404), transient=(WithStatus,)) is TRANSIENT
    assert classify(WithStatus(503), permanent=(WithStatus,)) is PERMANENT
    assert classify(KeyError(), permanent=(LookupError,), transient=(KeyError,)) is PERMANENT
    assert classify(MemoryError(), transient=(MemoryError,)) is FATAL


@given(st.lists(st.sampled_from(ROWS), min_size=1, max_size=4))
def test_a_group_takes_the_lowest_row_of_its_members(rows: Any) -> None:
    group = BaseExceptionGroup("several", [exc for _, exc in rows])
    assert classify(group) is min(row for row, _ in rows)
    assert classify(caused(RuntimeError(), BaseExceptionGroup("outer", [group]))) is min(row for row, _ in rows)


def test_a_deeply_nested_group_ends() -> None:
    exc: Exception = RuntimeError()
    for _ in range(500):
        exc = ExceptionGroup("nested", [exc])
    assert classify(exc) is UNKNOWN


# --- decisions -------------------------------------------------------------------------------------------------------


def failures(retry: Retry, exc: BaseException, *, took: Any = 0.0, rng: Any = lambda: 1.0) -> Any:
    """Fail again and again with `exc`; return the waits and the verdict."""
    state, now = RetryState(started=100.0), 100.0
    waits: list[float] = []
    while True:
        now += took
        state.attempts += 1
        decision = decide(retry, state, exc, now=now, random=rng)
        if isinstance(decision, Verdict):
            return waits, decision.reason, state
        waits.append(decision.seconds)
        now += decision.seconds


def test_transient_failures_get_four_attempts() -> None:
    waits, reason, state = failures(Retry(), TimeoutError())
    assert waits == pytest.approx([0.2, 0.4, 0.8])
    assert (reason, state.attempts) == ("retries-exhausted", 4)


def test_unknown_failures_get_two() -> None:
    assert failures(Retry(), RuntimeError())[:2] == ([0.2], "retries-exhausted")


def test_permanent_failures_get_none() -> None:
    assert failures(Retry(), errors.Permanent())[:2] == ([], "permanent")


def test_an_output_too_large_says_so() -> None:
    exc = errors.OutputRejected("too large")
    exc.too_large = True
    assert failures(Retry(), caused(RuntimeError(), exc))[:2] == ([], "oversize-output")


def after(exc: BaseException, *, attempts: int = 1, elapsed: Any = 0.0) -> Any:
    state = RetryState(started=100.0, attempts=attempts)
    return decide(Retry(), state, exc, now=100.0 + elapsed, random=lambda: 1.0)


def test_another_class_starts_no_new_budget() -> None:
    assert after(TimeoutError(), attempts=2) == Wait(0.4)
    assert after(RuntimeError(), attempts=2) == Verdict("retries-exhausted")


def test_the_budget_ends_slow_attempts() -> None:
    waits, reason, _ = failures(Retry(), TimeoutError(), took=10.0)
    assert (waits, reason) == ([0.2], "budget-exhausted")


def test_an_attempt_gets_what_is_left_of_the_budget() -> None:
    state = RetryState(started=100.0)
    assert [state.timeout(Retry(), now) for now in (100.0, 108.0, 120.0)] == [10.0, 7.0, 0.0]


def test_retry_after_replaces_the_wait() -> None:
    assert after(caused(RuntimeError(), errors.Transient(retry_after=3.0))) == Wait(3.0)
    assert after(errors.Transient(retry_after=-1.0)) == Wait(0.2)
    assert after(errors.Transient(retry_after=float("nan"))) == Wait(0.2)


def test_a_retry_after_beyond_the_budget_announces_an_outage() -> None:
    assert after(errors.Transient(retry_after=20.0), elapsed=1.0) == Verdict("budget-exhausted", outage=20.0)
    assert after(errors.Transient(retry_after=float("inf"))) == Verdict("budget-exhausted", outage=300.0)


@pytest.mark.parametrize("exc", [MemoryError(), asyncio.CancelledError(), errors.CommitRefused()])
def test_what_is_no_records_failure_is_not_decided_here(exc: BaseException) -> None:
    with pytest.raises(errors.InvariantBroken):
        after(exc)


@given(st.integers(1, 20), st.floats(0.001, 10), st.floats(1, 1e300), st.floats(0.001, 10), st.randoms())
def test_waits_stay_below_cap_and_budget(attempts: int, base: float, factor: float, cap: float, rng: Any) -> None:
    retry = Retry(attempts=attempts, base=base, factor=factor, cap=cap)
    waits, reason, _ = failures(retry, TimeoutError(), rng=rng.random)
    assert all(0 <= wait <= cap for wait in waits)
    assert sum(waits) < retry.budget
    assert len(waits) == attempts - 1 or reason == "budget-exhausted"


def test_jitter_can_be_switched_off() -> None:
    assert failures(Retry(jitter="none"), RuntimeError(), rng=random.random)[0] == [0.2]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 0}, {"attempts": 21}, {"attempts": 2.0}, {"attempts": True}, {"unknown_attempts": 0},
        {"attempts": 3, "unknown_attempts": 4}, {"base": 0}, {"base": -1}, {"base": float("nan")}, {"base": "1"},
        {"factor": 0.9}, {"factor": float("inf")}, {"cap": 16}, {"cap": 0}, {"jitter": "some"}, {"budget": 0},
        {"attempt_timeout": 0}, {"permanent": [ValueError]}, {"transient": (1,)},
    ],
    ids=str,
)  # fmt: skip
def test_a_value_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(errors.SettingInvalid, match=f"^retry {list(fields)[-1]}"):
        Retry(**fields)


def test_defaults_give_way_to_what_is_chosen() -> None:
    assert Retry(attempts=1).unknown_attempts == 1
    assert Retry(budget=5).cap == 5


def test_what_nobody_set_shrinks_with_the_transaction_timeout() -> None:
    retry = Retry().fitted(transaction_timeout=2, max_poll_interval=300)
    assert (retry.budget, retry.attempt_timeout, retry.cap) == (1, 1, 1)
    assert isinstance(retry.budget, UnsetFloat)
    fits = Retry()
    assert fits.fitted(transaction_timeout=30, max_poll_interval=300) is fits


def test_what_somebody_set_beyond_its_limit_is_refused() -> None:
    with pytest.raises(errors.SettingInvalid) as caught:
        Retry(budget=40).fitted(transaction_timeout=30, max_poll_interval=300, agent="order_processor")
    assert str(caught.value) == (
        "retry budget 40 s of agent order_processor exceeds 15 s = half of STREAMAPP_TRANSACTION_TIMEOUT (30 s)"
    )
    with pytest.raises(
        errors.SettingInvalid, match=r"^retry attempt timeout 9 s exceeds 5 s = half of STREAMAPP_MAX_POLL_INTERVAL"
    ):
        Retry(attempt_timeout=9).fitted(transaction_timeout=30, max_poll_interval=10)
