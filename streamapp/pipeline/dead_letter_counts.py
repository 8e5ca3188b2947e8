"""Which dead letters are unresolved, in the partitions of dead-letter topics that this worker owns; and which are settled at all.

Fed by whoever reads the dead-letter partitions and the status topic, each from its start and in its order. Nothing orders the one against
the other, so a row may come before its letter. Memory is bounded: unresolved ids take some 260 bytes each, up to `UNRESOLVED_BOUND` of them;
of the settled ones `SETTLED_BOUND` are kept, the newest, and what is asked beyond them has to be looked up (`wanted`) by reading the rows
again.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from streamapp.records import Partition

UNRESOLVED_BOUND: Final = 100_000
SETTLED_BOUND: Final = 100_000


class Letter(NamedTuple):
    """One dead letter's place in time."""

    id: str
    at_ms: int
    """When it was written, in milliseconds since 1970."""
    offset: int


class _Kept(NamedTuple):
    partition: Partition
    first_ms: int
    """When the first letter of its id was written."""
    last: int
    """The offset of its last letter: once the log begins behind that, nobody can replay it any more."""


class _State(Enum):
    """How much is known of a partition: reading -> [unsettled -> looking up ->] read."""

    READING = "reading"
    UNSETTLED = "unsettled"
    """Its letters are read; that some are settled may have been forgotten."""
    LOOKING_UP = "looking up"
    READ = "read"


@dataclass(slots=True)
class _Ledger:
    """One owned partition."""

    open: dict[str, _Kept] = field(default_factory=dict)
    state: _State = _State.READING
    is_cut: bool = False
    """Whether letters were left out, for want of room."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """The unresolved dead letters of one partition."""

    partition: Partition
    count: int
    """By distinct id."""
    is_lower_bound: bool
    """There was no room for all of them."""
    oldest: float | None
    """Seconds since 1970 when the oldest was first written; None where there is none."""
    is_read: bool
    """False while the partition is still being read: then the count may be too low, or too high."""


class DeadLetterCounts:
    """What is known by now. Fed on one thread; asked on any."""

    def __init__(self, *, unresolved_bound: int = UNRESOLVED_BOUND, settled_bound: int = SETTLED_BOUND) -> None:
        self._unresolved_bound = unresolved_bound
        self._settled_bound = settled_bound
        self._lock = threading.Lock()
        self._ledgers: dict[Partition, _Ledger] = {}
        self._settled: dict[str, _Kept | None] = {}
        """The newest last; the letter where it was seen, so that a reopened one is counted again."""
        self._has_forgotten = False
        self._asked: set[str] = set()
        """Ids whose rows may have been forgotten, that somebody waits for."""
        self._asked_now: set[str] = set()
        """Those of them that the present look-up is for."""
        self._wanted: set[str] = set()
        """All that it is for; `_found` are those that are settled by the rows so far."""
        self._found: set[str] = set()

    # --- asked

    def settled(self, id_: str) -> bool:
        """Return whether that dead letter is known to be resolved or discarded.

        Where its row may have been forgotten the answer is False for now; it is looked up, and told with the next rows if it is.
        """
        with self._lock:
            if id_ in self._settled:
                return True
            if self._has_forgotten and not any(
                ledger.state is _State.READ and id_ in ledger.open for ledger in self._ledgers.values()
            ):
                self._asked.add(id_)
            return False

    def unresolved(self) -> list[Unresolved]:
        """Return the counts of the owned partitions, in order."""
        with self._lock:
            return [
                Unresolved(
                    partition=partition,
                    count=len(ledger.open),
                    is_lower_bound=ledger.is_cut,
                    oldest=min(kept.first_ms for kept in ledger.open.values()) / 1000 if ledger.open else None,
                    is_read=ledger.state is _State.READ,
                )
                for partition, ledger in sorted(self._ledgers.items())
            ]

    # --- fed

    def own(self, partitions: Collection[Partition]) -> None:
        """These are owned now: new ones are to be read from their start, of others nothing is kept."""
        with self._lock:
            for partition in [each for each in self._ledgers if each not in partitions]:
                del self._ledgers[partition]
            for partition in partitions:
                self._ledgers.setdefault(partition, _Ledger())

    def letters(self, partition: Partition, letters: Iterable[Letter]) -> None:
        """Take in what was read of a partition."""
        with self._lock:
            ledger = self._ledgers.get(partition)
            if ledger is None:
                return
            for id_, at_ms, offset in letters:
                known = ledger.open.get(id_) or self._settled.get(id_)
                kept = _Kept(partition, at_ms if known is None else known.first_ms, offset)
                if id_ in self._settled:
                    self._settled[id_] = kept
                else:
                    self._open(ledger, id_, kept)

    def read_to_end(self, partition: Partition) -> None:
        """The partition's end was reached."""
        with self._lock:
            ledger = self._ledgers.get(partition)
            if ledger is not None and ledger.state is _State.READING:
                ledger.state = _State.UNSETTLED if self._has_forgotten else _State.READ

    def row(self, id_: str, *, is_settled: bool) -> None:
        """Take in what the status topic says of a dead letter; later rows overrule."""
        with self._lock:
            if is_settled:
                self._settle(id_)
                return
            kept = self._settled.pop(id_, None)
            ledger = None if kept is None else self._ledgers.get(kept.partition)
            if kept is not None and ledger is not None:
                self._open(ledger, id_, kept)

    def log_starts(self, partition: Partition, offset: int) -> None:
        """The partition's log begins at `offset`: letters before it are gone."""
        with self._lock:
            ledger = self._ledgers.get(partition)
            if ledger is not None:
                for id_ in [id_ for id_, kept in ledger.open.items() if kept.last < offset]:
                    del ledger.open[id_]

    def roomy(self) -> list[Partition]:
        """Return partitions of which letters were left out and that would have room now, and begin them anew: read them again."""
        with self._lock:
            if self._count() > self._unresolved_bound // 2:
                return []
            cut = [partition for partition, ledger in self._ledgers.items() if ledger.is_cut]
            for partition in cut:
                self._ledgers[partition] = _Ledger()
            return cut

    # --- what was forgotten

    def look_up(self) -> bool:
        """Return whether all rows have to be read again, as some that were forgotten are asked for. Then `recall` each."""
        with self._lock:
            self._asked_now, self._asked = self._asked, set()
            self._wanted = set(self._asked_now)
            for ledger in self._ledgers.values():
                if ledger.state is _State.UNSETTLED:
                    ledger.state = _State.LOOKING_UP if ledger.open else _State.READ
                    self._wanted.update(ledger.open)
            return bool(self._wanted)

    def recall(self, id_: str, *, is_settled: bool) -> None:
        """Take in a row that is read again."""
        if id_ in self._wanted:
            if is_settled:
                self._found.add(id_)
            else:
                self._found.discard(id_)

    def recalled(self) -> list[str]:
        """All rows are read again: return which of those asked for are settled."""
        with self._lock:
            for ledger in self._ledgers.values():
                if ledger.state is _State.LOOKING_UP:
                    ledger.state = _State.READ
            for id_ in self._found:
                self._settle(id_)
            found = sorted(self._found & self._asked_now)
            self._asked_now, self._wanted, self._found = set(), set(), set()
            return found

    # --- under the lock

    def _open(self, ledger: _Ledger, id_: str, kept: _Kept) -> None:
        if id_ in ledger.open or self._count() < self._unresolved_bound:
            ledger.open[id_] = kept
        else:
            ledger.is_cut = True

    def _count(self) -> int:
        return sum(len(ledger.open) for ledger in self._ledgers.values())

    def _settle(self, id_: str) -> None:
        kept = self._settled.pop(id_, None)
        for ledger in self._ledgers.values():
            kept = ledger.open.pop(id_, None) or kept
        self._settled[id_] = kept
        if len(self._settled) > self._settled_bound:
            self._forget(next(iter(self._settled)))

    def _forget(self, id_: str) -> None:
        self._has_forgotten = True
        kept = self._settled.pop(id_)
        ledger = None if kept is None else self._ledgers.get(kept.partition)
        if kept is not None and ledger is not None and ledger.state is not _State.READ:
            self._open(ledger, id_, kept)  # to be looked up: a later row may say that it was reopened


__all__ = ["DeadLetterCounts", "Letter", "Unresolved"]
