"""One attempt at one record: what it sent and wrote, kept apart until the record is admitted."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from streamapp.errors import SavepointEnded, TableNotHere, UsageError
from streamapp.pipeline.overlay import MISSING
from streamapp.records import ANY_PARTITION, Headers, Outgoing, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Entry, Lane
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.retry import RetryState

Writes = "dict[tuple[TablePartition, bytes], bytes | None]"

ALREADY_PROCESSED = "already-processed"
"""A savepoint's `outcome`."""

DLQ_HEADER_PREFIX = "streamapp.dlq."
"""Headers of a dead letter; they never travel to what a replayed record causes."""


def travelling(headers: Headers | None) -> Headers:
    """Return the headers that travel on from a record to everything that it causes: the user's, in order."""
    if not headers:
        return []
    return [header for header in headers if not header[0].startswith(DLQ_HEADER_PREFIX)]


class Savepoint:
    """The buffer of one attempt: its sends and table writes. Admission alone moves it into the unit of work.

    `exclusive`: it runs alone on its line, so it may touch tables. `below`: savepoints of the same record by earlier agents,
    whose writes it sees.
    """

    __slots__ = (
        "below",
        "entry",
        "exclusive",
        "is_batch",
        "is_letter",
        "is_open",
        "lane",
        "mark",
        "number",
        "outcome",
        "outputs",
        "record",
        "stage",
        "tries",
        "writes",
    )
    # These five are set where they say something, and looked at with a default where that matters: none costs a normal record.
    stage: int
    """Which of the lane's agents works on the record; unset where there is one."""
    is_batch: bool
    """Set when it covers several records, of which `record` is the last."""
    is_letter: bool
    """Set when it holds the record's dead letter."""
    outcome: str | None
    """`already-processed` where the record was found to be a duplicate; unset where it was processed."""
    tries: RetryState | None
    """The record's failed attempts before this one; unset where it never failed."""

    def __init__(self, lane: Lane, record: RawRecord, exclusive: bool, entry: Entry | None = None) -> None:
        self.lane = lane
        self.number = lane.number
        self.record = record
        self.exclusive = exclusive
        self.entry = entry
        self.is_open = True
        self.outputs: list[Outgoing] | None = None
        self.mark: tuple[TablePartition, bytes, bytes] | None = None
        """Its dedupe mark while that is its only write, as for most records: cheaper than a dict of one."""
        self.writes: dict[tuple[TablePartition, bytes], bytes | None] | None = None
        self.below: list[Savepoint] | None = None

    @property
    def timestamp_ms(self) -> int:
        """The source record's timestamp, which its outputs inherit; 0 where it has none."""
        kind, milliseconds = self.record.timestamp()
        return milliseconds if kind else 0

    @property
    def headers(self) -> Headers:
        """The source record's own headers, which its outputs inherit."""
        headers = self.record.headers()
        return travelling(headers) if headers else []

    def send(self, outgoing: Outgoing) -> None:
        """Keep an output until the record is admitted. Raises SavepointEnded when it already is, or was dropped."""
        if not self.is_open:
            raise SavepointEnded(self._ended("send"))
        if self.outputs is None:
            self.outputs = [outgoing]
        else:
            self.outputs.append(outgoing)

    def send_on(self, topic: str, value: bytes | None, key: bytes | None) -> None:
        """Send with the record's own timestamp and headers. What `send` of such an output does, in one call."""
        if not self.is_open:
            raise SavepointEnded(self._ended("send"))
        record = self.record
        kind, milliseconds = record.timestamp()
        headers = record.headers()
        outgoing = (topic, value, key, ANY_PARTITION, milliseconds if kind else 0, travelling(headers) if headers else [])
        if self.outputs is None:
            self.outputs = [outgoing]
        else:
            self.outputs.append(outgoing)

    def partition_of(self, table: str, key: bytes) -> TablePartition:
        """Return the partition of `table` that belongs to this record. Raises TableNotHere, SavepointEnded, UsageError."""
        if not self.is_open:
            raise SavepointEnded(self._ended("table access"))
        if not self.exclusive:
            raise UsageError(
                f"table {table} used while records of {self.lane} overlap (concurrency > 1): "
                "give the agent concurrency=1, or send the records on to an agent of its own that keeps the table"
            )
        partition = self.lane.tables.get(table)
        if partition is None:
            raise TableNotHere(
                f"table {table} is not a table of topic {self.lane.partition.topic}: "
                f"declare it with source={self.lane.partition.topic!r}, or use it from an agent of its own topic"
            )
        return partition

    def read(self, partition: TablePartition, key: bytes) -> bytes | None:
        """Return what this attempt sees under `key`: its own writes, those of the record's earlier agents, the overlays, disk."""
        mark, writes = self.mark, self.writes
        if mark is not None and mark[0] is partition and mark[1] == key:
            return mark[2]
        if writes is not None:
            value = writes.get((partition, key), MISSING)
            if value is not MISSING:
                return value  # type: ignore[return-value]  # the sentinel is gone, which mypy cannot see through dict.get
        if self.below is not None:
            for earlier in reversed(self.below):
                if earlier.writes is not None and (partition, key) in earlier.writes:
                    return earlier.writes[partition, key]
        return partition.read(key)

    def write(self, partition: TablePartition, key: bytes, value: bytes | None) -> None:
        """Keep a table write until the record is admitted; None deletes."""
        if self.mark is not None:
            self._keep_mark()
        if self.writes is None:
            self.writes = {(partition, key): value}
        else:
            self.writes[partition, key] = value

    def all_writes(self) -> dict[tuple[TablePartition, bytes], bytes | None] | None:
        """Return its writes, the mark among them; None where there is none."""
        if self.mark is not None:
            self._keep_mark()
        return self.writes

    def written(self, partition: TablePartition) -> dict[bytes, bytes | None]:
        """Return this record's own writes to `partition`, earlier agents' first."""
        if self.mark is not None:
            self._keep_mark()
        merged: dict[bytes, bytes | None] = {}
        for savepoint in (*(self.below or ()), self):
            for (where, key), value in (savepoint.writes or {}).items():
                if where is partition:
                    merged[key] = value
        return merged

    def _keep_mark(self) -> None:
        """Turn the mark into a write among others."""
        assert self.mark is not None
        partition, key, value = self.mark
        self.writes = {(partition, key): value}
        self.mark = None

    def _ended(self, what: str) -> str:
        return (
            f"{what} for {self.lane}@{self.record.offset()} after that record was done: a task that outlives its record "
            "cannot join it; await the task before the next record, or start it without the record's context"
        )


current_savepoint: ContextVar[Savepoint | None] = ContextVar("streamapp_savepoint", default=None)
"""The savepoint that sends and table calls of this context belong to; None outside a record."""
