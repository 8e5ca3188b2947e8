"""Dedupe marks that can no longer count are deleted: from the changelog by tombstones, and so from the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from streamapp.clock import Clock
from streamapp.errors import StateUnusable
from streamapp.records import RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.admission import Admission
    from streamapp.pipeline.group import Group
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.spec import TableSpec
    from streamapp.pipeline.ticks import Ticks

_decode_mark = msgspec.json.Decoder(tuple[int, int, int]).decode

EXPIRY_SCAN = 2_000
"""Marks looked at in one step: some 3 ms of the loop."""


class Sweeper:
    """Expires the marks of this worker's dedupe tables, a step at a time. On the loop."""

    def __init__(self, admission: Admission, group: Group, ticks: Ticks, clock: Clock) -> None:
        self._admission = admission
        self._group = group
        self._ticks = ticks
        self._clock = clock
        self._expiries: dict[tuple[str, int], Expiry] = {}

    def opened(self, lane: Lane, tables: Sequence[TableSpec]) -> None:
        """A lane runs: its dedupe tables are swept from now on."""
        for spec in tables:
            if spec.horizon is not None and spec.name in lane.tables:
                partition = lane.tables[spec.name]
                swept = self._expiries.get((spec.name, partition.number))
                if swept is None or swept.partition is not partition:  # each restore makes a new one
                    self._expiries[spec.name, partition.number] = Expiry(partition, spec.horizon)

    def gone(self, lane: Lane) -> None:
        for partition in lane.tables.values():
            self._expiries.pop((partition.table, partition.number), None)

    def step(self) -> None:
        """Write tombstones for marks that can no longer count: some of one table partition, alone on its line."""
        now_ms = int(self._clock.wall() * 1000)
        for expiry in self._expiries.values():
            if not expiry.due(now_ms):
                continue
            partition = expiry.partition
            lane = next((lane for lane in self._group.lanes.values() if lane.running and partition in lane.tables.values()), None)
            if lane is None or lane.line.holder is not None or lane.in_hand:
                continue
            event_time = _event_time(lane, now_ms)
            if event_time is None:
                continue
            try:
                keys = expiry.past(now_ms, event_time, scan=EXPIRY_SCAN)
            except StateUnusable:
                return  # the engine was told; it is swept again once it is restored
            fresh = [key for key in keys if key not in partition.open and key not in partition.committing]
            if fresh:
                savepoint = self._ticks.savepoint("expiry", [lane])
                for key in fresh:
                    savepoint.write(partition, key, None)
                self._admission.admit_tick(savepoint, list(savepoint.numbers.items()), None)
                savepoint.release()
            return


def _event_time(lane: Lane, now_ms: int) -> int | None:
    """Return the lowest timestamp among the records that come next; the wall clock at the end of the log; None if unknown."""
    coming = [item for inlet in lane.inlets for item in list(inlet.queue)[:200]]
    if not coming:
        return now_ms if lane.end_seen and lane.end_seen <= lane.next_offset else None
    records = [getattr(item, "record", item) for item in coming]
    return min(cast("RawRecord", record).timestamp()[1] for record in records)


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
        return self.partition.stored_items(self._cursor, scan)
