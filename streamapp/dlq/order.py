"""In which order dead letters are sent again, and which of them something has overtaken.

Order within a key is what a dead letter breaks under `skip`: a later record of its key may have been processed meanwhile, and a
replay would then be the older word spoken last. Records without a key have no order to break; under `block_key` nothing passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Final

from streamapp.dlq.candidate import Candidate
from streamapp.pipeline.dead_letter import REPLAY_OF
from streamapp.records import Partition, Position, RawRecord

READ_AT_MOST: Final = 1_000_000
"""Records of the sources that are read for overtakers."""
READ_FOR: Final = 60.0
"""Seconds that this may take."""


def in_order(letters: Iterable[Candidate]) -> list[Candidate]:
    """Return the letters by source offset within each source partition, the partitions in turns: none waits for another's end."""
    lanes: dict[Partition, list[Candidate]] = {}
    for letter in sorted(letters, key=lambda each: each.facts.source):
        lanes.setdefault(letter.source, []).append(letter)
    return [letter for letter in chain.from_iterable(zip_longest(*lanes.values())) if letter is not None]


def latest_per_key(letters: Iterable[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Return the newest letter of each agent and key of a source partition, with all that have no key, and the others: superseded."""
    kept: list[Candidate] = []
    superseded: list[Candidate] = []
    newest: dict[tuple[Partition, str, bytes], Candidate] = {}
    for letter in sorted(letters, key=lambda each: each.facts.source):
        if letter.key is None:
            kept.append(letter)
            continue
        name = (letter.source, letter.facts.agent, letter.key)
        if (older := newest.get(name)) is not None:
            superseded.append(older)
        newest[name] = letter
    return [*kept, *newest.values()], superseded


class Overtaken:
    """Finds the letters of which a later record of the key was read; fed with the sources' records from `starts` on.

    What is in the log behind a letter is processed before its copy, so it counts also where the group has not come that far. Not
    counted: records that are dead letters themselves, and copies of the letter.
    """

    def __init__(self, letters: Iterable[Candidate], buried: Iterable[Candidate] = ()) -> None:
        """`buried`: all unresolved letters, these among them or not."""
        self.ids: set[str] = set()
        """The letters that were overtaken."""
        self._waiting: dict[Partition, dict[bytes, list[Candidate]]] = {}
        for letter in letters:
            # A key that was cut away is unknown here: such a letter is asked for again once it was fetched.
            if letter.key is not None and not letter.is_held:
                self._waiting.setdefault(letter.source, {}).setdefault(letter.key, []).append(letter)
        self._buried: set[tuple[Position, str]] = set()
        for letter in buried:
            self._buried |= {(letter.facts.source, letter.facts.agent), (letter.read_at, letter.facts.agent)}

    @property
    def starts(self) -> dict[Partition, int]:
        """Where to begin to read each source partition."""
        return {
            where: min(letter.facts.source.offset for letters in keys.values() for letter in letters) + 1
            for where, keys in self._waiting.items()
            if keys
        }

    def see(self, record: RawRecord) -> None:
        where = Partition(record.topic() or "", record.partition() or 0)
        keys, key = self._waiting.get(where), record.key()
        if keys is None or key is None or key not in keys:
            return
        offset = record.offset() or 0
        copied = _copied(record)
        left: list[Candidate] = []
        for letter in keys[key]:
            is_later = offset > letter.facts.source.offset and copied != letter.id
            if is_later and (Position(*where, offset), letter.facts.agent) not in self._buried:
                self.ids.add(letter.id)
            else:
                left.append(letter)
        if left:
            keys[key] = left
        else:
            del keys[key]

    def give_up(self, partitions: Sequence[Partition]) -> set[str]:
        """Return the letters of these that were not found overtaken: not checked to the end, they are treated as if they were."""
        return {letter.id for where in partitions for letters in self._waiting.get(where, {}).values() for letter in letters}


def _copied(record: RawRecord) -> str | None:
    for name, value in record.headers() or ():
        if name == REPLAY_OF and value is not None:
            return value.decode("utf-8", "replace")
    return None


__all__ = ["READ_AT_MOST", "READ_FOR", "Overtaken", "in_order", "latest_per_key"]
