"""Drop a record whose key was already processed: a mark per key, written in the record's own savepoint.

A mark counts against a record whose timestamp is less than the horizon after the mark's, older records included. A duplicate
does not refresh it, and a record that fails leaves none, so its replay works.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import msgspec

if TYPE_CHECKING:
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.savepoint import Savepoint
    from streamapp.pipeline.spec import DedupeSpec

_decode_mark = msgspec.json.Decoder(tuple[int, int, int]).decode


class Dedupe:
    """One agent's use of a dedupe table."""

    __slots__ = ("_encode", "_key", "hits", "horizon_ms", "table")

    def __init__(self, spec: DedupeSpec, horizon: float) -> None:
        self.table = spec.table
        self.horizon_ms = int(horizon * 1000)
        self.hits = 0
        self._key = spec.key
        self._encode = spec.encode

    def seen(self, savepoint: Savepoint, value: object) -> bool:
        """Return whether the record is a duplicate; if not, mark its key within the record's savepoint.

        A mark is JSON `[event time ms, source offset, written at ms]`. A record without a timestamp counts as of now.
        """
        key = self._encode(self._key(value))
        partition = savepoint.lane.tables[self.table]
        mark = savepoint.read(partition, key)
        now = int(time.time() * 1000)
        at = savepoint.timestamp_ms or now
        if mark is not None and at < _decode_mark(mark)[0] + self.horizon_ms:
            self.hits += 1
            return True
        savepoint.write(partition, key, b"[%d,%d,%d]" % (at, cast("int", savepoint.record.offset()), now))
        return False


class Expiry:
    """Finds a table partition's marks that can no longer count, some at a time.

    A mark is past when three clocks agree: the wall clock has passed its event time by the horizon, and has passed the moment it
    was written by the horizon, and so has the lane's event time, which is the lowest timestamp among its recent records (a
    minimum, so that one record from the future cannot move it; the wall clock where the lane has nothing to read). The third
    keeps marks that a backlog, read after a long stop, still needs.
    """

    __slots__ = ("_cursor", "_due_at_ms", "_next_due_ms", "horizon_ms", "partition")

    def __init__(self, partition: TablePartition, horizon: float) -> None:
        self.partition = partition
        self.horizon_ms = int(horizon * 1000)
        self._cursor = b""
        self._due_at_ms = 0
        self._next_due_ms: int | None = None

    def due(self, now_ms: int) -> bool:
        """Return whether a scan could find anything: after a whole scan, not before the first mark that it left is past."""
        return now_ms >= self._due_at_ms

    def past(self, now_ms: int, event_time_ms: int, *, scan: int) -> list[bytes]:
        """Look at the next `scan` stored marks and return the keys of those that are past."""
        clock = min(now_ms, event_time_ms)
        found: list[bytes] = []
        looked = 0
        for key, value in self._marks(scan):
            looked += 1
            self._cursor = key + b"\0"
            event_ms, _, written_ms = _decode_mark(value)
            due = max(event_ms, written_ms) + self.horizon_ms
            if event_ms + self.horizon_ms <= clock and written_ms + self.horizon_ms <= now_ms:
                found.append(key)
            elif self._next_due_ms is None or due < self._next_due_ms:
                self._next_due_ms = due
        if looked < scan:
            # The end: the next round begins when the earliest mark left may be past; new marks cannot be past sooner than that.
            self._cursor = b""
            self._due_at_ms = max(now_ms + 1_000, min(self._next_due_ms or now_ms + self.horizon_ms, now_ms + self.horizon_ms))
            self._next_due_ms = None
        return found

    def _marks(self, scan: int) -> Iterator[tuple[bytes, bytes]]:
        return self.partition.store.items(self._cursor, scan)
