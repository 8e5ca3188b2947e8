"""Time as values: a Clock that tests can turn, a Deadline that one wait or several share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def wall(self) -> float:
        """Return seconds since 1970."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment that several waits share, so that four full timeouts in a row cannot add up."""

    at: float
    """Monotonic seconds."""
    cut: threading.Event | None = None
    """Once set, the moment has come: how a stop ends waits that run on other threads."""

    @classmethod
    def after(cls, seconds: float, cut: threading.Event | None = None) -> Deadline:
        return cls(time.monotonic() + seconds, cut)

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return 0.0 if self.cut is not None and self.cut.is_set() else max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left <= 0

    def slice(self, longest: float) -> float:
        """Return how long the next wait may take: what is left, at most `longest`."""
        return min(self.left, longest)
