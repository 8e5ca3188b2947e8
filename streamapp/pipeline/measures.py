"""What is counted while records are processed: distributions, time at work, failures by type. Nothing here costs a good record anything.

A good record pays for one reading of a clock and one count, in `Cursor.finish`; all else is counted when a run of records begins or
ends, when something fails, and when a unit is committed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from streamapp.pipeline.facts import Distribution, FingerprintFacts

DURATIONS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds in seconds; a retry's attempt ends at 10 by default."""

REBALANCES: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Bounds in seconds: a restore is part of it."""

RECORDS: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 25_000.0)
"""Bounds in records per unit; 0 where only a timer's work or an end was committed."""

QUICK: Final = DURATIONS[0]
"""Seconds up to which an attempt is only counted: the first bucket holds what no other does."""

TYPES_BOUND: Final = 100
"""Error types of a process; each is a series of several metrics."""
OTHER: Final = "other"

DISTINCT_BOUND: Final = 10_000
"""Fingerprints of an agent that are told apart: some 1 MB."""

FINGERPRINTS_BOUND: Final = 200
"""Fingerprints that the page can list; the one not seen for longest goes."""

LETTERS_KEPT: Final = 5
"""Ids of dead letters kept per fingerprint, the newest."""


class Histogram:
    """Counts of values by upper bound. One thread adds; another may read."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def told(self, *, smallest: int = 0, total: float | None = None) -> Distribution:
        """Return what was added, with `smallest` more in the first bucket; `total` in place of the sum where that is known better."""
        counts = list(self._counts)
        counts[0] += smallest
        return Distribution(self._bounds, tuple(counts), self._total if total is None else total)


class ErrorTypes:
    """Names of error classes, at most TYPES_BOUND of them in a process."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def name(self, failure: BaseException) -> str:
        name = type(failure).__name__
        if name not in self._known:
            if len(self._known) >= TYPES_BOUND:
                return OTHER
            self._known.add(name)
        return name


@dataclass(frozen=True, slots=True)
class Told:
    """What is counted of a dead letter once it is durable."""

    id: str
    fingerprint: str
    error_type: str
    reason: str
    stage: str
    at: float
    """Seconds since 1970."""


@dataclass(slots=True)
class _Kind:
    """One fingerprint of one agent."""

    newest: Told
    dlq: str
    first: float
    count: int = 0
    letters: deque[str] = field(default_factory=lambda: deque(maxlen=LETTERS_KEPT))


class Fingerprints:
    """The kinds of failure whose dead letters this worker wrote last."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}
        """By agent and fingerprint, the one seen last at the end."""

    def add(self, agent: str, dlq: str, letter: Told) -> None:
        kind = self._kinds.pop((agent, letter.fingerprint), None) or _Kind(letter, dlq, letter.at)
        self._kinds[agent, letter.fingerprint] = kind
        kind.newest = letter
        kind.count += 1
        kind.letters.appendleft(letter.id)
        if len(self._kinds) > FINGERPRINTS_BOUND:
            del self._kinds[next(iter(self._kinds))]

    def told(self) -> tuple[FingerprintFacts, ...]:
        """Return them, the one seen last first."""
        return tuple(
            FingerprintFacts(
                fingerprint=kind.newest.fingerprint,
                agent=agent,
                error_type=kind.newest.error_type,
                reason=kind.newest.reason,
                stage=kind.newest.stage,
                count=kind.count,
                first=kind.first,
                last=kind.newest.at,
                letters=tuple(kind.letters),
                dlq=kind.dlq,
            )
            for (agent, _), kind in reversed(list(self._kinds.items()))
        )


class Work:
    """One agent's attempts: how many, how long, and in which time at least one was under way. On the loop; times are perf_counter's."""

    __slots__ = ("_at_work", "_busy", "_busy_since", "_busy_until", "slow", "spent")

    def __init__(self) -> None:
        self.slow = Histogram(DURATIONS)
        """Attempts beyond QUICK."""
        self.spent = 0.0
        """Seconds of all attempts that ended in runs that ended."""
        self._at_work = 0
        self._busy = 0.0
        self._busy_since = 0.0
        self._busy_until = 0.0

    def began(self, now: float) -> None:
        """One more actor has something in hand."""
        if not self._at_work:
            self._busy_since = self._busy_until = now
        self._at_work += 1

    def ended(self, now: float) -> None:
        """One had nothing in hand from `now` on, which may lie before what was told of others."""
        self._busy_until = max(self._busy_until, now)
        self._at_work -= 1
        if not self._at_work:
            self._busy += self._busy_until - self._busy_since

    def busy(self, now: float) -> float:
        """Return in how many seconds so far at least one actor had something in hand."""
        return self._busy + (now - self._busy_since if self._at_work else 0.0)


class Counts:
    """One agent's figures since the worker started, of what is not every record's."""

    def __init__(self, types: ErrorTypes) -> None:
        self.failed = 0
        """Attempts that failed, of records and of batches."""
        self.batched = 0
        """Records of batches that ended well, save one of each: an attempt counts as one."""
        self.buried = 0
        """Records whose dead letter took the place of their attempt."""
        self.batch_max: int | None = None
        self.retries: dict[str, int] = {}
        self.letters: dict[tuple[str, str], int] = {}
        self.fingerprints: set[str] = set()
        self.letter_write_failures = 0
        self.replayed: dict[str, int] = {}
        self._types = types

    def retried(self, failure: BaseException) -> None:
        name = self._types.name(failure)
        self.retries[name] = self.retries.get(name, 0) + 1

    def settled(self, outcome: str) -> None:
        """A replayed record was resolved, or failed again."""
        self.replayed[outcome] = self.replayed.get(outcome, 0) + 1

    def took(self, records: int) -> None:
        """A batch was asked for that many records at most."""
        if self.batch_max is None or records > self.batch_max:
            self.batch_max = records

    def written(self, letter: Told) -> None:
        """A dead letter is durable. On the transaction thread."""
        at = letter.error_type, letter.reason
        self.letters[at] = self.letters.get(at, 0) + 1
        if len(self.fingerprints) < DISTINCT_BOUND:
            self.fingerprints.add(letter.fingerprint)


__all__ = [
    "DURATIONS",
    "OTHER",
    "QUICK",
    "REBALANCES",
    "RECORDS",
    "Counts",
    "ErrorTypes",
    "Fingerprints",
    "Histogram",
    "Told",
    "Work",
]
