"""What is kept of blocked keys (`on_error="block_key"`): the rows of an agent's table `<agent>-dlq-held`, which commands read too.

Keys are JSON, values MessagePack. A partition of the table has the rows of its topics' partitions of the same number:

    ["orders","Y3VzdC03"]   a blocked key of that topic, in base64  -> Blocked
    ["orders",1234]         a record that waits, by its offset      -> its bytes, headers and timestamp

The first kind sorts before the second, so that a start reads what is blocked without reading what waits.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

import msgspec

from streamapp.records import Headers, Partition, RawRecord

HELD_SUFFIX: Final = "-dlq-held"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLimits:
    """How much may be held per partition: what a restore and a drain have to get through. At a limit the partition stands."""

    keys: int = 1024
    records_per_key: int = 256
    total_bytes: int = 64 * 1024 * 1024
    """Of the rows of all records that wait."""


class Blocked(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A key whose records wait for what becomes of a dead letter. Kept in memory as well, where it changes."""

    head: str
    """The id of that dead letter."""
    since: int
    """When the head was dead-lettered, in milliseconds since 1970."""
    offsets: list[int] = []
    """The records that wait, in order."""
    size_bytes: int = 0
    """Of their rows."""
    settled: bool = False
    """Whether the head is resolved or discarded: what waits is being processed."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that waits, as it was read."""

    key: bytes
    value: bytes | None
    timestamp: int
    timestamp_type: int
    headers: list[tuple[str, bytes | None]] | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_row: Final = msgspec.msgpack.Decoder(Row).decode
_decode_blocked: Final = msgspec.msgpack.Decoder(Blocked).decode
_decode_name: Final = msgspec.json.Decoder(tuple[str, str | int]).decode


class HeldRecord:
    """A RawRecord that waited: all that the agent, its outputs and its dead letter see is as when it was read."""

    __slots__ = ("_offset", "_place", "_row")

    def __init__(self, place: Partition, offset: int, row: Row) -> None:
        self._place = place
        self._offset = offset
        self._row = row

    def topic(self) -> str:
        return self._place.topic

    def partition(self) -> int:
        return self._place.number

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return self._row.key

    def value(self) -> bytes | None:
        return self._row.value

    def headers(self) -> Headers | None:
        return None if self._row.headers is None else list(self._row.headers)

    def timestamp(self) -> tuple[int, int]:
        return self._row.timestamp_type, self._row.timestamp


def held_table(agent: str) -> str:
    """Return the name of the table that keeps what an agent holds."""
    return f"{agent}{HELD_SUFFIX}"


# --- rows


def blocked_prefix(topic: str) -> bytes:
    """Return what the table's keys of a topic's blocked keys begin with."""
    return msgspec.json.encode(topic).join((b"[", b',"'))


def blocked_name(topic: str, key: bytes) -> bytes:
    return msgspec.json.encode((topic, b64encode(key).decode()))


def record_name(topic: str, offset: int) -> bytes:
    return msgspec.json.encode((topic, offset))


def encode_blocked(blocked: Blocked) -> bytes:
    return _encode(blocked)


def encode_record(record: RawRecord) -> bytes:
    """Return the row of a record that has a key."""
    kind, milliseconds = record.timestamp()
    row = Row(
        key=record.key() or b"",
        value=record.value(),
        timestamp=milliseconds,
        timestamp_type=kind,
        headers=record.headers(),
    )
    return _encode(row)


def read_name(name: bytes) -> tuple[str, bytes | int]:
    """Return the topic of a row, and the key that is blocked or the offset of the record that waits."""
    topic, what = _decode_name(name)
    return topic, b64decode(what) if isinstance(what, str) else what


def read_blocked(value: bytes) -> Blocked:
    return _decode_blocked(value)


def read_record(place: Partition, offset: int, value: bytes) -> HeldRecord:
    return HeldRecord(place, offset, _decode_row(value))


__all__ = [
    "HELD_SUFFIX",
    "Blocked",
    "HeldRecord",
    "HoldLimits",
    "Row",
    "blocked_name",
    "blocked_prefix",
    "encode_blocked",
    "encode_record",
    "held_table",
    "read_blocked",
    "read_name",
    "read_record",
]
