"""What a read_committed reader would get from a committed offset on: commit markers and aborted records are nothing to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from streamapp.ports import LogReader
from streamapp.records import Partition, RawRecord

COUNTED: Final = 1_000
"""Unread records of a partition that are counted one by one; of more, the positions are told."""
FIRST_WINDOW: Final = 16
"""Positions that are looked at for a first record; most often it is the first of them. Each next window is as many times larger."""


@dataclass(frozen=True, slots=True)
class Unread:
    """What a read_committed reader finds from the committed offset on."""

    records: int
    """At most COUNTED."""
    first: int | None
    """The offset of the first of them."""
    to_end: bool
    """Whether that was all."""


def count_unread(reader: LogReader, partition: Partition, begin: int, stable: int) -> Unread:
    """Count what a reader finds from `begin` on, up to a bound."""
    records, first = 0, None
    reading = reader.read({partition: (begin, stable)})
    try:
        for messages, _ in reading:
            if messages and first is None:
                first = messages[0].offset()
            records += len(messages)
            if records >= COUNTED:
                return Unread(COUNTED, first, to_end=False)
    finally:
        reading.close()  # type: ignore[attr-defined]  # a generator: it lets the partition go
    return Unread(records, first, to_end=True)


def first_unread(reader: LogReader, ranges: Mapping[Partition, tuple[int, int]]) -> dict[Partition, RawRecord]:
    """Return the first record of each range of offsets; ranges in which there is none are absent."""
    found: dict[Partition, RawRecord] = {}
    left, window = dict(ranges), FIRST_WINDOW
    while left:
        looked = {where: (begin, min(begin + window, end)) for where, (begin, end) in left.items()}
        for records, _ in reader.read(looked):
            for record in records:
                where = Partition(cast("str", record.topic()), cast("int", record.partition()))
                found.setdefault(where, record)
        left = {
            where: (looked[where][1], end) for where, (_, end) in left.items() if where not in found and looked[where][1] < end
        }
        window *= FIRST_WINDOW
    return found


__all__ = ["COUNTED", "Unread", "count_unread", "first_unread"]
