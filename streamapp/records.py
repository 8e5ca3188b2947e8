"""What travels: partitions, positions, records in, records out. Values only, no I/O."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

Headers: TypeAlias = "list[tuple[str, bytes | None]]"
"""Record headers in order, duplicates included."""


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class Position(NamedTuple):
    """One record's place: topic, partition, offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class RawRecord(Protocol):
    """A record as the client library hands it over (confluent_kafka.Message has this shape)."""

    def topic(self) -> str | None: ...
    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> Headers | None: ...
    def timestamp(self) -> tuple[int, int]:
        """Return (type, milliseconds since 1970); type 0 = not available, 1 = create, 2 = append."""
        ...


Outgoing: TypeAlias = "tuple[str, bytes | None, bytes | None, int, int, Headers]"
"""A record to produce: topic, value, key, partition (-1 = by key), timestamp in ms (0 = now), headers.

A plain tuple, not a class: one is made per output, and a NamedTuple costs ten times as much to build.
"""

ANY_PARTITION = -1
"""`Outgoing`'s partition when murmur2 of the key decides."""
