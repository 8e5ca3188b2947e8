"""What stands between a command and the copies it would send: pure checks, each of which says what would let it pass."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from streamapp.dlq.candidate import Candidate
from streamapp.pipeline.resolution import Lock, Status

REPLAYS: Final = 3
"""Three failures after three fixes is a fourth bug, not bad luck."""
BEAT: Final = 10.0
"""Seconds between two beats of a job's lock."""
LOCK: Final = 60.0
"""Seconds after which a lock without a beat counts no more: six were missed."""

AGENT_TARGET: Final = "--to agent: needs a companion topic that follows its source's assignment; not built. --to source sends an ordinary new record"


class GuardRefused(Exception):
    """A guard refuses the command (exit 5); the text says what would let it pass."""


# --- one job per dead-letter topic -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owner:
    """Who runs a job: `ops@host/4711`."""

    operator: str
    host: str
    pid: int

    @classmethod
    def here(cls, operator: str) -> Owner:
        return cls(operator, socket.gethostname(), os.getpid())

    @classmethod
    def read(cls, text: str) -> Owner | None:
        name, slash, pid = text.rpartition("/")
        operator, at, host = name.rpartition("@")
        return cls(operator, host, int(pid)) if slash and at and pid.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.operator}@{self.host}/{self.pid}"

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine that has ended; where it cannot be known, it has not."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def require_free(dlq: str, lock: Lock | None, *, owner: Owner, now: datetime) -> None:
    """Raises GuardRefused: somebody else replays `dlq` now."""
    if lock is None or lock.owner == str(owner):
        return
    silent = (now - lock.beat).total_seconds()
    other = Owner.read(lock.owner)
    if silent >= LOCK or (other is not None and other.is_gone):
        return
    raise GuardRefused(
        f"{dlq} is being replayed by {lock.owner}, job {lock.job}, last heard of {max(0.0, silent):.0f} s ago: one job per dead-letter "
        f"topic; a dead one's lock ends in {LOCK - max(0.0, silent):.0f} s"
    )


# --- which letters may go --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sorted:
    """A selection by what the guards say of each letter."""

    free: tuple[Candidate, ...]
    parked: tuple[Candidate, ...] = ()
    """Replayed too often; they need --force."""
    under_way: tuple[Candidate, ...] = ()
    """Sent before, and not answered yet; they need --force."""
    settled: tuple[Candidate, ...] = ()
    """Resolved or discarded; they need --force or --force-reprocess."""


def sort_out(letters: Sequence[Candidate], *, force: bool, reprocess: bool) -> Sorted:
    """Return which of `letters` may be sent."""
    free: list[Candidate] = []
    parked: list[Candidate] = []
    under_way: list[Candidate] = []
    settled: list[Candidate] = []
    for letter in letters:
        if letter.status in (Status.RESOLVED, Status.DISCARDED) and not (force or reprocess):
            settled.append(letter)
        elif letter.status is Status.REPLAYING and not force:
            under_way.append(letter)
        elif letter.replays >= REPLAYS and not force:
            parked.append(letter)
        else:
            free.append(letter)
    return Sorted(tuple(free), tuple(parked), tuple(under_way), tuple(settled))


# --- who else reads the target ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OtherGroup:
    """A group, not the app's, that has committed offsets on a topic which copies go to."""

    topic: str
    group: str
    lag: int

    def __str__(self) -> str:
        return f"{self.group} (lag {self.lag})"


def require_named_target(others: Sequence[OtherGroup], *, is_named: bool) -> None:
    """Raises GuardRefused: other groups would see the records again, and `--to` was left to its default."""
    if others and not is_named:
        names = ", ".join(f"{each.topic}: {each}" for each in others)
        raise GuardRefused(
            f"other groups would see these records again ({names}): --execute needs --to source, or --to topic:NAME"
        )


# --- time ------------------------------------------------------------------------------------------------------------


def older_than(letters: Sequence[Candidate], seconds: Mapping[str, float | None], now: float) -> int:
    """Return how many letters' records are older than their source topic's (or agent's) `seconds`; None and unknown hold for ever."""
    count = 0
    for letter in letters:
        limit = seconds.get(letter.source.topic)
        count += limit is not None and letter.timestamp > 0 and now - letter.timestamp / 1000 > limit
    return count


def uncovered(letters: Sequence[Candidate], horizons: Mapping[str, float], now: float) -> int:
    """Return how many letters are older than what their agent's dedupe table remembers."""
    count = 0
    for letter in letters:
        horizon = horizons.get(letter.facts.agent)
        count += horizon is not None and now - since(letter) > horizon
    return count


def since(letter: Candidate) -> float:
    """Return when the record was made, or first failed, in seconds since 1970."""
    if letter.timestamp:
        return letter.timestamp / 1000
    first = letter.facts.first_failed_at or letter.facts.failed_at
    return (first or datetime.now(UTC)).timestamp()


__all__ = [
    "AGENT_TARGET",
    "BEAT",
    "LOCK",
    "REPLAYS",
    "GuardRefused",
    "OtherGroup",
    "Owner",
    "Sorted",
    "older_than",
    "require_free",
    "require_named_target",
    "since",
    "sort_out",
    "uncovered",
]
