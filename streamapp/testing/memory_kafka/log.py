"""One partition's log: records and control markers at offsets, and what each isolation level shows of them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from streamapp.records import Headers, Partition


class OffsetOutOfRange(Exception):
    """The log does not have this offset, or does not have it yet."""


@dataclass(slots=True)
class OpenRange:
    """One transaction's part of one log: undecided until its marker is there."""

    first: int
    committed: bool | None = None


class MemoryRecord:
    """A RawRecord in a log."""

    __slots__ = ("_headers", "_key", "_offset", "_place", "_timestamp", "_value", "range")

    def __init__(
        self,
        place: Partition,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        timestamp: tuple[int, int],
        headers: Headers | None,
        part_of: OpenRange | None = None,
    ) -> None:
        self._place = place
        self._offset = offset
        self._key = key
        self._value = value
        self._timestamp = timestamp
        self._headers = headers or None
        self.range = part_of
        """The transaction's part that it belongs to; None for a record outside any."""

    def topic(self) -> str:
        return self._place.topic

    def partition(self) -> int:
        return self._place.number

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Headers | None:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return self._timestamp

    @property
    def is_aborted(self) -> bool:
        return self.range is not None and self.range.committed is False

    def __repr__(self) -> str:
        return f"<{self._place}/{self._offset} {self._key!r}={self._value!r}>"


@dataclass(frozen=True, slots=True)
class Marker:
    """A control record: the end of a transaction's part. It takes an offset and no reader sees it."""

    at: int
    committed: bool

    def offset(self) -> int:
        return self.at


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one read brought."""

    records: list[MemoryRecord]
    position: int
    """The next offset to read: behind control records and aborted ones."""
    at_end: bool
    """Whether nothing more is to be seen at `position` now."""


@dataclass(slots=True)
class PartitionLog:
    """Not thread-safe: the broker's lock is around every call."""

    place: Partition
    start: int = 0
    high_watermark: int = 0
    _entries: list[MemoryRecord | Marker] = field(default_factory=list)
    _open: dict[int, OpenRange] = field(default_factory=dict)
    """By producer id."""

    @property
    def last_stable(self) -> int:
        """The first offset of an open transaction, or the end: where read_committed ends."""
        return min((part.first for part in self._open.values()), default=self.high_watermark)

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        timestamp: tuple[int, int],
        headers: Headers | None,
        producer: int | None = None,
    ) -> int:
        """Add a record and return its offset; `producer`: the id whose open transaction it belongs to."""
        offset = self.high_watermark
        part = None if producer is None else self._open.setdefault(producer, OpenRange(offset))
        self._entries.append(MemoryRecord(self.place, offset, key, value, timestamp, headers, part))
        self.high_watermark += 1
        return offset

    def mark(self, producer: int, *, committed: bool) -> None:
        """End a producer's part of the log. Kafka writes the marker also where the part holds no record."""
        part = self._open.pop(producer, None)
        if part is not None:
            part.committed = committed
        self._entries.append(Marker(self.high_watermark, committed))
        self.high_watermark += 1

    def read(self, position: int, limit: int, *, committed_only: bool) -> Chunk:
        """Return at most `limit` records from `position` on. Raises OffsetOutOfRange."""
        if not self.start <= position <= self.high_watermark:
            raise OffsetOutOfRange(f"{self.place}: {position} is not in {self.start}..{self.high_watermark}")
        end = self.last_stable if committed_only else self.high_watermark
        records: list[MemoryRecord] = []
        at = self._index(position)
        while at < len(self._entries) and self._entries[at].offset() < end and len(records) < limit:
            entry = self._entries[at]
            position = entry.offset() + 1
            if isinstance(entry, MemoryRecord) and not (committed_only and entry.is_aborted):
                records.append(entry)
            at += 1
        if at >= len(self._entries) or self._entries[at].offset() >= end:
            position = max(position, end)  # compaction may have left a hole before the end
        return Chunk(records, position, position >= end)

    def delete_before(self, offset: int) -> None:
        """Move the log's start, as retention and DeleteRecords do."""
        self.start = max(self.start, min(offset, self.high_watermark))
        del self._entries[: self._index(self.start)]

    def compact(self, *, tombstones: bool) -> None:
        """Keep the last committed record of each key; `tombstones`: their time is over, too.

        What an open transaction may yet change is left alone, and so is the last entry: the active segment is never cleaned.
        The start stays, and offsets leave holes.
        """
        stable = self.last_stable
        last: dict[bytes | None, int] = {}
        for entry in self._entries:
            if isinstance(entry, MemoryRecord) and entry.offset() < stable and not entry.is_aborted:
                last[entry.key()] = entry.offset()
        self._entries = [
            entry
            for entry in self._entries
            if entry.offset() >= min(stable, self.high_watermark - 1) or self._survives(entry, last, tombstones=tombstones)
        ]

    @staticmethod
    def _survives(entry: MemoryRecord | Marker, last: dict[bytes | None, int], *, tombstones: bool) -> bool:
        if isinstance(entry, Marker):
            return False
        if entry.is_aborted or last.get(entry.key()) != entry.offset():
            return False
        return not (tombstones and entry.value() is None)

    def _index(self, offset: int) -> int:
        return bisect_left(self._entries, offset, key=lambda entry: entry.offset())
