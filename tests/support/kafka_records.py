"""A record as the checker reads it, and Kafka's default partitioner. Knows nothing of the engine under test."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Headers: TypeAlias = "tuple[tuple[str, bytes | None], ...]"


class Rec(NamedTuple):
    """One record of a topic. `timestamp` is in ms since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


Lanes: TypeAlias = "dict[int, list[Rec]]"
"""A topic's records by partition, in offset order."""


def murmur2(data: bytes) -> int:
    """Return Kafka's murmur2 of `data` as an unsigned 32-bit number (org.apache.kafka.common.utils.Utils.murmur2)."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(data)
    h = (0x9747B28C ^ length) & mask
    for at in range(0, length - length % 4, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    tail = data[length - length % 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """Return where Java's default partitioner puts `key`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def own_headers(headers: Headers) -> Headers:
    """Return the headers that are the source's own: without those that the framework may add."""
    if not headers:
        return headers
    return tuple(header for header in headers if not header[0].startswith("streamapp.") and header[0] != "traceparent")
