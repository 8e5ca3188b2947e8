"""The circuit breaker: when an agent stops dead-lettering a partition, because the fault is not the records'. Pure: time is given.

closed -> open    so many verdicts in a row, or too large a share of the last records; or an outage that the dependency announced
open -> open      every `probe_interval` the record at the head gets one attempt, which fails
open -> closed    it succeeds

Permanent failures never count, and interrupt no run either: bad data says nothing about a dependency.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streamapp.errors import SettingInvalid
from streamapp.pipeline.retry import FailureClass, UnsetInt, require

_MINIMUM = UnsetInt(50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When one agent's breaker opens on a partition. Raises SettingInvalid: a value outside its range."""

    transient: int = 10
    """Verdicts in a row, all transient, that open it, from 1: ten records that each failed four times is an outage."""
    consecutive: int = 50
    """Verdicts in a row, transient or unknown, that open it, from 1: a handler that fails on everything."""
    ratio: float = 0.20
    """Share of the last `last` records that opens it when it is exceeded, above 0, up to 1."""
    last: int = 500
    """Records that `ratio` looks back on, from 1."""
    window: float = 60.0
    """Seconds that `ratio` looks back, above 0."""
    minimum: int = _MINIMUM
    """Verdicts below which `ratio` does not count, 1 to `last`: no small samples."""
    probe_interval: float = 30.0
    """Seconds between attempts while it is open, above 0: spares a sick dependency."""
    enabled: bool = True

    def __post_init__(self) -> None:
        require("breaker", "transient", self.transient, low=1, whole=True)
        require("breaker", "consecutive", self.consecutive, low=1, whole=True)
        require("breaker", "ratio", self.ratio, above=0, high=1)
        require("breaker", "last", self.last, low=1, whole=True)
        require("breaker", "window", self.window, above=0)
        if isinstance(self.minimum, UnsetInt):
            object.__setattr__(self, "minimum", UnsetInt(min(self.minimum, self.last)))
        require("breaker", "minimum", self.minimum, low=1, high=self.last, whole=True)
        require("breaker", "probe_interval", self.probe_interval, above=0)
        if not isinstance(self.enabled, bool):
            raise SettingInvalid(f"breaker enabled {self.enabled!r}: must be True or False")


LOOK_EVERY = 1.0
"""Seconds between two marks of where the partition is."""


class BreakerState:
    """One agent's breaker on one partition, for as long as this owner has it. Times are monotonic seconds.

    How many records a share is of is told by offsets, so that no record has to be counted: those without a record (commit
    markers) make the breaker a little slower.
    """

    __slots__ = ("_marks", "_policy", "_run", "_transient", "_verdicts", "last_error", "opened_at", "probe_at")

    def __init__(self, policy: Breaker) -> None:
        self.opened_at: float | None = None
        """None while it is closed."""
        self.probe_at = 0.0
        """When the next attempt is due, while it is open."""
        self.last_error = ""
        self._policy = policy
        self._run: set[int] = set()
        """Offsets of the verdicts since the last success. A record that is judged again, after an abort, counts once."""
        self._transient = 0
        self._verdicts: dict[int, float] = {}
        self._marks: deque[tuple[float, int]] = deque()

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    @property
    def listens(self) -> bool:
        """Whether it has to be told of successes."""
        return bool(self._run) or self.is_open

    def mark(self, position: int, now: float) -> None:
        """The partition has come to offset `position`. Called about as often as LOOK_EVERY says."""
        marks = self._marks
        if marks and now - marks[-1][0] < LOOK_EVERY:
            return
        marks.append((now, position))
        while len(marks) > 1 and marks[1][0] <= now - self._policy.window:
            marks.popleft()

    def verdict(self, offset: int, failure: FailureClass, now: float) -> str | None:
        """Count a record's verdict; return why the breaker opens by it, None when it does not."""
        if failure not in (FailureClass.TRANSIENT, FailureClass.UNKNOWN) or self.is_open:
            return None
        if offset not in self._run:
            self._run.add(offset)
            self._transient = self._transient + 1 if failure is FailureClass.TRANSIENT else 0
        self._verdicts[offset] = now
        why = self._why(offset, now)
        if why is not None:
            self.open(now, self._policy.probe_interval)
        return why

    def _why(self, offset: int, now: float) -> str | None:
        policy = self._policy
        if self._transient >= policy.transient:
            return f"{self._transient} verdicts in a row, all transient"
        if len(self._run) >= policy.consecutive:
            return f"{len(self._run)} verdicts in a row"
        oldest, since = offset - policy.last, now - policy.window
        self._verdicts = {at: when for at, when in self._verdicts.items() if at > oldest and when > since}
        count = len(self._verdicts)
        before = self._marks[0][1] if self._marks else min(self._verdicts)
        records = max(count, min(policy.last, offset + 1 - before))
        if count >= policy.minimum and count > policy.ratio * records:
            return f"{count} verdicts on the last {records} records"
        return None

    def succeeded(self) -> None:
        """A record was done: the run ends."""
        self._run.clear()
        self._transient = 0

    def open(self, now: float, seconds: float) -> None:
        """Open it, or leave it open: the next attempt is due in `seconds`."""
        if self.opened_at is None:
            self.opened_at = now
        self.probe_at = now + seconds

    def close(self) -> None:
        """A probe succeeded: everything is counted anew."""
        self.opened_at = None
        self.succeeded()
        self._verdicts.clear()


__all__ = ["Breaker", "BreakerState"]
