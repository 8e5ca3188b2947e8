"""What a failure is, and whether the record gets another try: `classify` and `decide`. Pure: time and chance are given."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Literal, TypeAlias

from streamapp.errors import (
    DecodeFailed,
    Fatal,
    InvariantBroken,
    KilledWorker,
    OutputRejected,
    Permanent,
    ProducerUnusable,
    SettingInvalid,
    StateUnusable,
    Transient,
    UnitAborted,
)

Reason: TypeAlias = Literal["permanent", "retries-exhausted", "budget-exhausted", "oversize-output", "killed-worker"]
Classes: TypeAlias = "tuple[type[BaseException], ...]"


class UnsetFloat(float):
    """A default that nobody chose: it shrinks to its limit, where a chosen value would be refused."""


class UnsetInt(int):
    """As UnsetFloat."""


_UNKNOWN_ATTEMPTS: Final = UnsetInt(2)
_CAP: Final = UnsetFloat(10.0)
_BUDGET: Final = UnsetFloat(15.0)
_ATTEMPT_TIMEOUT: Final = UnsetFloat(10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how long one agent tries a failing record. Raises SettingInvalid: a value outside its range."""

    attempts: int = 4
    """Calls of the handler for a transient failure, 1 to 20: one plus three, since most blips end within a second."""
    unknown_attempts: int = _UNKNOWN_ATTEMPTS
    """Calls for a failure of unknown kind, 1 to `attempts`: a bug repeats and a blip does not, so one more tells them apart."""
    base: float = 0.2
    """Seconds of the first wait, above 0; each further one is `factor` times as long, at most `cap`."""
    factor: float = 2.0
    """At least 1."""
    cap: float = _CAP
    """Seconds, at most `budget`."""
    jitter: Literal["full", "none"] = "full"
    """`full`: wait anything from 0 to the computed wait, so that workers do not return in step."""
    budget: float = _BUDGET
    """Seconds from the start of the first attempt to the verdict; at most half of transaction timeout and max poll interval."""
    attempt_timeout: float = _ATTEMPT_TIMEOUT
    """Seconds that one call may take, never more than what is left of `budget`; same limit."""
    permanent: Classes = ()
    """Exception classes that no retry helps: dead-lettered at once."""
    transient: Classes = ()
    """Exception classes that a later try may get past."""

    def __post_init__(self) -> None:
        require("retry", "attempts", self.attempts, low=1, high=20, whole=True)
        if isinstance(self.unknown_attempts, UnsetInt):
            object.__setattr__(self, "unknown_attempts", UnsetInt(min(self.unknown_attempts, self.attempts)))
        require("retry", "unknown_attempts", self.unknown_attempts, low=1, high=self.attempts, whole=True)
        require("retry", "base", self.base, above=0)
        require("retry", "factor", self.factor, low=1)
        require("retry", "budget", self.budget, above=0)
        require("retry", "attempt_timeout", self.attempt_timeout, above=0)
        if isinstance(self.cap, UnsetFloat):
            object.__setattr__(self, "cap", UnsetFloat(min(self.cap, self.budget)))
        require("retry", "cap", self.cap, above=0, high=self.budget)
        if self.jitter not in ("full", "none"):
            raise SettingInvalid(f"retry jitter {self.jitter!r}: must be full or none")
        for name, classes in (("permanent", self.permanent), ("transient", self.transient)):
            if not isinstance(classes, tuple) or not all(isinstance(c, type) and issubclass(c, BaseException) for c in classes):
                raise SettingInvalid(f"retry {name}: must be a tuple of exception classes")

    def fitted(self, *, transaction_timeout: float, max_poll_interval: float, agent: str | None = None) -> Retry:
        """Return this policy within the worker's limits: what nobody set shrinks (compare, and log it once).

        Raises SettingInvalid: `budget` or `attempt_timeout` was set beyond its limit.
        """
        limit, setting, seconds = transaction_timeout / 2, "STREAMAPP_TRANSACTION_TIMEOUT", transaction_timeout
        if max_poll_interval < transaction_timeout:
            limit, setting, seconds = max_poll_interval / 2, "STREAMAPP_MAX_POLL_INTERVAL", max_poll_interval
        fitted: dict[str, float] = {}
        for name in ("budget", "attempt_timeout"):
            value: float = getattr(self, name)
            if value <= limit:
                continue
            if not isinstance(value, UnsetFloat):
                of_agent = f" of agent {agent}" if agent else ""
                words = name.replace("_", " ")
                raise SettingInvalid(
                    f"retry {words} {value:g} s{of_agent} exceeds {limit:g} s = half of {setting} ({seconds:g} s)"
                )
            fitted[name] = UnsetFloat(limit)
        if not fitted:
            return self
        if "budget" in fitted and isinstance(self.cap, UnsetFloat):
            fitted["cap"] = UnsetFloat(min(self.cap, limit))
        return replace(self, **fitted)  # type: ignore[arg-type]  # all of them are float fields


def require(
    policy: str,
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    whole: bool = False,
) -> None:
    """Refuse a policy's field outside its range. Raises SettingInvalid."""
    right_kind = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if right_kind and math.isfinite(value) and low <= value <= high and value > above:
        return
    if above > -math.inf:
        allowed = f"above {above:g}" + (f", at most {high:g}" if high < math.inf else "")
    else:
        allowed = f"{low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
    raise SettingInvalid(f"{policy} {name} {value!r}: must be {'a whole number, ' if whole else ''}{allowed}")


# --- what a failure is -----------------------------------------------------------------------------------------------


class FailureClass(IntEnum):
    """The rows of OPERATIONS §1.1; the lower the number, the more it binds."""

    FATAL = 1
    """The worker stops; never a dead letter."""
    ENGINE = 2
    """The engine aborts, rewinds or rebuilds; never counts as the record's failure."""
    PERMANENT = 3
    TRANSIENT = 4
    UNKNOWN = 5


_LINKS = 8
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NETWORK = frozenset(
    {errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENOBUFS}
)
_RETRIED_STATUS = frozenset({408, 425, 429})


def classify(exc: BaseException, *, permanent: Classes = (), transient: Classes = ()) -> FailureClass:
    """Return the row that decides about `exc`, looking down its `__cause__` chain.

    Fatal and engine match anywhere in the chain, else the outermost link that is permanent or transient decides. A group
    counts as its member with the lowest row. CancelledError counts as the engine's: an agent's task is cancelled by nobody else.
    """
    return _classify(exc, permanent, transient, _LINKS)


def _classify(exc: BaseException, permanent: Classes, transient: Classes, depth: int) -> FailureClass:
    # Outermost only: `asyncio.timeout` raises TimeoutError *from* CancelledError, and that is the handler's own timeout.
    if isinstance(exc, asyncio.CancelledError):
        return FailureClass.ENGINE
    if not isinstance(exc, Exception | BaseExceptionGroup):
        return FailureClass.FATAL
    decided = FailureClass.UNKNOWN
    for link in chain(exc):
        row = _row(link, permanent, transient, depth)
        if row <= FailureClass.ENGINE:
            return row
        if decided is FailureClass.UNKNOWN:
            decided = row
    return decided


def chain(exc: BaseException, links: int = _LINKS) -> Iterator[BaseException]:
    """Yield the exception and the causes behind it, at most `links` of them."""
    link: BaseException | None = exc
    for _ in range(links + 1):
        if link is None:
            return
        yield link
        link = link.__cause__


def _row(exc: BaseException, permanent: Classes, transient: Classes, depth: int) -> FailureClass:
    """Return the row of one link by itself."""
    if isinstance(exc, MemoryError | SystemExit | KeyboardInterrupt | Fatal) or _errno(exc) in _DISK_FULL:
        return FailureClass.FATAL
    if isinstance(exc, UnitAborted | ProducerUnusable | StateUnusable):
        return FailureClass.ENGINE
    members = FailureClass.UNKNOWN
    if isinstance(exc, BaseExceptionGroup) and depth:
        members = min(_classify(member, permanent, transient, depth - 1) for member in exc.exceptions)
        if members <= FailureClass.ENGINE:
            return members
    # Named classes before status codes and built-in ones.
    if isinstance(exc, (*permanent, Permanent)):
        return FailureClass.PERMANENT
    if isinstance(exc, (*transient, Transient)):
        return FailureClass.TRANSIENT
    status = _status(exc)
    if isinstance(exc, DecodeFailed | OutputRejected) or (400 <= status <= 499 and status not in _RETRIED_STATUS):
        return FailureClass.PERMANENT
    if 500 <= status <= 599 or status in _RETRIED_STATUS or _is_network(exc):
        return FailureClass.TRANSIENT
    return members


def _is_network(exc: BaseException) -> bool:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return False  # the same certificate is wrong again
    return (
        isinstance(exc, TimeoutError | ConnectionError | socket.gaierror | socket.herror | ssl.SSLError)
        or _errno(exc) in _NETWORK
    )


def _errno(exc: BaseException) -> int | None:
    return exc.errno if isinstance(exc, OSError) else None


def _status(exc: BaseException) -> int:
    """Return the HTTP status that the exception carries, 0 when none."""
    response = _attribute(exc, "response")
    for owner, name in ((exc, "status"), (exc, "status_code"), (response, "status"), (response, "status_code")):
        status = _attribute(owner, name)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return 0


def _attribute(owner: object, name: str) -> object:
    try:
        return getattr(owner, name, None)
    except Exception:  # a foreign property: some clients' raise where there was no response
        return None


# --- whether there is another try ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """No further try."""

    reason: Reason
    outage: float | None = None
    """Seconds of an outage that the dependency announced (`retry_after` beyond the budget, at most 300).

    With a breaker there is no verdict yet: it opens for that long and the record waits as its probe.
    """


@dataclass(slots=True)
class RetryState:
    """One record's tries of one agent by this owner of its partition. Lives until success, verdict or revoke."""

    started: float
    """Monotonic seconds, start of the first attempt: the budget counts from here."""
    attempts: int = 0
    """Calls of the handler that failed so far; decoding is none."""
    first_failed_at: float | None = None
    """Seconds since 1970."""
    earlier: int = 0
    """Calls that failed before, while the breaker was open: told in the dead letter, and no part of this budget."""
    trace_id: str | None = None
    """Of the call, where calls are traced."""

    @property
    def calls(self) -> int:
        """All calls of the handler that failed."""
        return self.earlier + self.attempts

    def timeout(self, retry: Retry, now: float) -> float:
        """Return how long the attempt that starts now may take."""
        return max(0.0, min(retry.attempt_timeout, self.started + retry.budget - now))


_LONGEST_OUTAGE: Final = 300.0


def decide(retry: Retry, state: RetryState, exc: BaseException, *, now: float, random: Callable[[], float]) -> Wait | Verdict:
    """Return what follows the failed call number `state.attempts`; `now` is monotonic, `random` uniform in 0…1.

    Raises InvariantBroken for a fatal or engine failure: those are no record's failure, and `classify` says so first.
    """
    failure = classify(exc, permanent=retry.permanent, transient=retry.transient)
    if failure <= FailureClass.ENGINE:
        raise InvariantBroken(f"{type(exc).__name__} is no record's failure")
    if failure is FailureClass.PERMANENT:
        if isinstance(exc, KilledWorker):
            return Verdict("killed-worker")
        return Verdict("oversize-output" if is_oversize(exc) else "permanent")
    if state.attempts >= (retry.attempts if failure is FailureClass.TRANSIENT else retry.unknown_attempts):
        return Verdict("retries-exhausted")
    left = state.started + retry.budget - now
    asked = _retry_after(exc)
    if asked is not None and asked >= left:
        return Verdict("budget-exhausted", outage=min(asked, _LONGEST_OUTAGE))
    seconds = _backoff(retry, state.attempts, random) if asked is None else asked
    # An attempt that could only start when the budget is spent would be cut off at once.
    return Verdict("budget-exhausted") if seconds >= left else Wait(seconds)


def is_oversize(exc: BaseException) -> bool:
    """Return whether the record failed because an output of it is too large for its topic."""
    return any(isinstance(link, OutputRejected) and getattr(link, "too_large", False) for link in chain(exc))


def _backoff(retry: Retry, attempts: int, random: Callable[[], float]) -> float:
    try:
        wait = min(retry.cap, retry.base * retry.factor ** (attempts - 1))
    except OverflowError:
        wait = retry.cap
    return wait * random() if retry.jitter == "full" else wait


def announced_outage(exc: BaseException) -> float | None:
    """Return for how many seconds the dependency asked to be left alone, at most 300; None where it did not."""
    asked = _retry_after(exc)
    return None if asked is None else min(asked, _LONGEST_OUTAGE)


def _retry_after(exc: BaseException) -> float | None:
    for link in chain(exc):
        if isinstance(link, Transient) and link.retry_after is not None:
            seconds = link.retry_after
            return seconds if seconds >= 0 else None  # NaN compares false
    return None


__all__ = [
    "FailureClass",
    "Reason",
    "Retry",
    "RetryState",
    "UnsetFloat",
    "UnsetInt",
    "Verdict",
    "Wait",
    "announced_outage",
    "chain",
    "classify",
    "decide",
    "is_oversize",
    "require",
]
