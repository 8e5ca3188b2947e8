"""A record that kills its process: what is counted in the metadata of committed offsets, and what follows (OPERATIONS §1.8).

No exception handler sees an out-of-memory kill or a crashed C extension, so the next life has to be told by Kafka. Pure: offsets and time
are given; `pipeline/isolation.py` acts on it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamapp.records import Partition

METADATA_MAX_BYTES: Final = 4096
"""What a broker takes (its `offset.metadata.max.bytes`, by default)."""

TRIES: Final = 2
"""Deaths in isolation, with one record in hand, after which it is that record: a second one by chance would need the same moment."""

UNSURE: Final = 2
"""Starts and tries that it takes more where the last one was another worker's: that one may be alive, and have lost its session only.

Of a former life of its own a worker knows that it ended: two lives of one worker id do not run at a time.
"""

TURN_RECORDS: Final = 50
TURN_SECONDS: Final = 1.0
"""A suspect's turn ends at either, so that none starves."""

CLEAN_RECORDS: Final = 1000
CLEAN_SECONDS: Final = 60.0
"""A suspicion ends at either: a unit is seldom larger, and a wrong guess converges, as each life makes progress."""

_MOST_STARTS: Final = 999_999
_LIFE: Final = r"[0-9a-f]{8}\.[0-9a-f]{8}"
_OURS: Final = re.compile(
    rf"streamapp:starts=(\d{{1,6}}),tries=(\d{{1,6}})(?:@(\d{{1,19}}))?(?:,by=({_LIFE}))?(?:,tried=({_LIFE}))?(?:;(.*))?",
    re.DOTALL | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Count:
    """What stands beside a committed offset."""

    starts: int = 0
    """Lives that began here and did not advance it, the present one included."""
    tries: int = 0
    """How often the record at `offset` was handed over in isolation."""
    offset: int | None = None
    """The record's own: behind a gap in the log, compacted meanwhile, another record may be the first one by now."""
    by: str = field(default="", compare=False)
    """`life_of` who wrote it; empty where an earlier version did."""
    tried: str = field(default="", compare=False)
    """`life_of` who made the last of the tries."""


NOTHING: Final = Count()


def read(metadata: str) -> tuple[Count, str]:
    """Return what `metadata` counts, and what others wrote there: all of it where it is not ours, which counts as 0."""
    found, others = NOTHING, metadata
    while (match := _OURS.fullmatch(others)) is not None:
        if found is NOTHING:
            offset = None if match[3] is None else int(match[3])
            found = Count(int(match[1]), int(match[2]), offset, match[4] or "", match[5] or "")
        others = match[6] or ""
    return found, others


def written(count: Count, others: str) -> str:
    """Return the metadata for `count`, with what others wrote behind it; that alone where both do not fit, or nothing is counted."""
    if count == NOTHING:
        return others
    tried = f"{count.tries}" if count.offset is None else f"{count.tries}@{count.offset}"
    by, last = (f",by={count.by}" if count.by else ""), (f",tried={count.tried}" if count.tried else "")
    ours = f"streamapp:starts={min(count.starts, _MOST_STARTS)},tries={tried}{by}{last}"
    both = f"{ours};{others}" if others else ours
    return both if len(both.encode()) <= METADATA_MAX_BYTES else others


def life_of(worker_id: str) -> str:
    """Return a name for this life of a worker: its first half is the same for all lives of that worker id."""
    return f"{hashlib.sha256(worker_id.encode()).hexdigest()[:8]}.{secrets.token_hex(4)}"


def without_own(found: Count, offset: int, me: str, began: tuple[int, Count] | None) -> Count:
    """Return what was found at `offset`, but for what this very life wrote there: it goes on, so nothing of that was an end.

    `began`: where it began the last time, and what it found there.
    """
    if not me or found.by != me:
        return found
    if began is None or began[0] != offset:
        return NOTHING
    before = began[1]
    return replace(before, starts=min(before.starts, found.starts))


def _ended_for_sure(life: str, me: str) -> bool:
    return not life or not me or life.partition(".")[0] == me.partition(".")[0]


class Forgetful:
    """An InHand that remembers nothing."""

    def took(self, life: str, partition: Partition, offset: int) -> None: ...
    def put_down(self, life: str) -> None: ...
    def had(self, life: str, partition: Partition, offset: int) -> None: ...


class Life:
    """One assignment of a partition: what it found beside the committed offset, and what it may write there."""

    __slots__ = ("_cleared_at", "_found", "base", "clean", "is_counted", "is_suspect", "me", "starts", "tries")

    def __init__(
        self, base: int, found: Count, *, has_records: bool, isolate_after: int, me: str = "", was_in_hand: bool = True
    ) -> None:
        """`base`: where it begins. `has_records`: whether anything lies behind that; `isolate_after`: 0 = nothing is counted.

        `me`: `life_of` the worker, which has nothing of its own in `found` (`without_own`).
        `was_in_hand`: whether the life that made the last try may have ended with the record in hand.
        """
        self.base = base
        self.me = me
        self.starts = found.starts + 1
        self.is_counted = isolate_after == 0 or not has_records
        """Whether its start is written, or needs not be."""
        # Also where a record is tried already: its predecessors advanced the offset, and so began the count of starts anew.
        enough = isolate_after + (0 if _ended_for_sure(found.by, me) else UNSURE)
        self.is_suspect = not self.is_counted and (self.starts >= enough or found.tries > 0)
        self.clean = 0
        """Records that it survived in isolation."""
        # A try is counted before it is made, and its record is committed after it: an end between is nobody's fault.
        self.tries = found.tries if was_in_hand else max(0, found.tries - 1)
        """How often a life seems to have ended with the record in hand."""
        self._found = found
        self._cleared_at: float | None = None

    @property
    def culprit(self) -> int | None:
        """The offset of the record that ended the process each time it was tried."""
        enough = TRIES + (0 if _ended_for_sure(self._found.tried, self.me) else UNSURE)
        return self._found.offset if self.tries >= enough else None

    def read_again(self, offset: int, count: Count) -> None:
        """Committed offset and count were asked for anew: what is there already is not written again."""
        self.is_counted = self.is_counted or offset > self.base or count.starts >= self.starts

    def started(self) -> Count:
        """Return what is written before the first record."""
        return Count(self.starts, self.tries, self._found.offset, self.me, self._found.tried)

    def trying(self, record: int, upto: int) -> Count:
        """Return what is written at `upto`, the offset to commit, before `record` is handed over in isolation.

        The same for the whole life, however often a unit is dropped or a turn ends in between: only deaths add up.
        """
        before = self.tries if record == self._found.offset else 0
        return Count(0 if upto > self.base else self.starts, min(before + 1, TRIES + UNSURE), record, self.me, self.me)

    def resting(self, upto: int) -> Count:
        """Return what is written while others have their turn: nothing that a death of theirs could be read from."""
        if upto > self.base:
            return NOTHING
        starts = self.starts if self.is_counted else self._found.starts
        return Count(starts, self.tries, self._found.offset, self.me, self._found.tried)

    def released(self, upto: int) -> Count:
        """Return what a clean revoke writes: the next owner starts afresh, but knows of the tries that were deaths."""
        if upto > self.base or not self.tries:
            return NOTHING
        return Count(0, self.tries, self._found.offset, self.me, self._found.tried)

    def opened(self, now: float) -> None:
        """The partition runs: its time under suspicion begins, if it did not before."""
        if self._cleared_at is None:
            self._cleared_at = now + CLEAN_SECONDS

    def is_cleared(self, now: float) -> bool:
        """Return whether its records need not come one by one any more."""
        return self.clean >= CLEAN_RECORDS or (self._cleared_at is not None and now >= self._cleared_at)


class Turn:
    """One suspect's turn."""

    __slots__ = ("_ends", "_me", "_taken", "is_over")

    def __init__(self, now: float, me: str = "") -> None:
        self.is_over = False
        self._me = me
        self._taken = 0
        self._ends = now + TURN_SECONDS

    def left(self, now: float) -> float:
        return max(0.0, self._ends - now)

    def after(self, upcoming: int | None, now: float) -> Count:
        """A record is done: return what its commit writes. That says of `upcoming`, the next one, that it is tried; the last, nothing."""
        self._taken += 1
        if upcoming is None or self._taken >= TURN_RECORDS or now >= self._ends:
            self.is_over = True
            return NOTHING
        return Count(0, 1, upcoming, self._me, self._me)


def count_at(upto: int, committed: int | None, present: Count, told: tuple[int, Count] | None) -> Count:
    """Return what a commit of the offset `upto` writes: what it was told for it, nothing if it advances, else what is there."""
    if told is not None and told[0] == upto:
        return told[1]
    return present if committed is not None and upto <= committed else NOTHING


__all__ = [
    "NOTHING",
    "TRIES",
    "UNSURE",
    "Count",
    "Forgetful",
    "Life",
    "Turn",
    "count_at",
    "life_of",
    "read",
    "without_own",
    "written",
]
