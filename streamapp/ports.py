"""Where the rooms meet: what the pipeline needs of Kafka and of the disk, as small Protocols.

`pipeline`, `kafka` and `state` do not import one another; `application` picks the classes that fill these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamapp.clock import Deadline
from streamapp.records import Headers, Outgoing, Partition

GroupMetadata = object
"""What a consumer hands a producer to send offsets with: opaque, of one moment."""


class TransactionalProducer(Protocol):
    """One transactional producer and its one transaction. `produce` on any thread, the rest on the transaction thread."""

    def begin(self) -> None:
        """Open a transaction. Local, does not wait."""
        ...

    def produce(self, record: Outgoing, on_delivery: Callable[[int], None] | None = None) -> bool:
        """Hand over one record; False when the local queue is full (backpressure: try again after `serve`).

        `on_delivery(offset)` is called from `serve` or `flush`, -1 when the broker told no offset.
        Raises DeliveryFailed when the record can never be sent.
        """
        ...

    def serve(self) -> None:
        """Handle what was delivered since; does not wait."""
        ...

    def flush(self, deadline: Deadline) -> None:
        """Return when every record is delivered. Raises DeliveryFailed, CommitRefused, ProducerUnusable, DeadlinePassed."""
        ...

    def send_offsets(self, offsets: Mapping[Partition, tuple[int, str]], group: GroupMetadata, deadline: Deadline) -> None:
        """Add the next offsets (and their metadata strings) to the transaction. Raises CommitRefused, ProducerUnusable."""
        ...

    def commit(self, deadline: Deadline) -> None:
        """Commit. Raises CommitRefused (it is certain that it did not commit) or OutcomeUnknown."""
        ...

    def abort(self, deadline: Deadline) -> None:
        """Abort. Raises ProducerUnusable when only a new producer can go on."""
        ...

    def close(self) -> None:
        """Destroy it without waiting for what it holds. May be called twice."""
        ...


class Store(Protocol):
    """One table partition on disk or in memory: bytes to bytes, and the changelog offset that it is current to.

    `get` and `items` may be called from any thread; `apply`, `wipe` and `close` exclude each other (the store sees to it).
    Raises StoreCorrupted when the disk's content cannot be trusted, OSError when the disk refuses (full, read-only).
    """

    @property
    def changelog_offset(self) -> int | None:
        """The next changelog offset to restore from; None when nothing was ever applied."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None where there is none."""
        ...

    def items(self, start: bytes = b"", limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order from `start` on."""
        ...

    def apply(self, writes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        """Write all of `writes` (None deletes) and the offset in one batch: after a crash, both are there or neither.

        `changelog_offset` None keeps the stored one.
        """
        ...

    def close(self) -> None:
        """Close it. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class ChangelogRecord:
    """One changelog record, as a restore reads it."""

    offset: int
    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class ChangelogBounds:
    """A changelog partition's log start, last stable offset and high watermark at one moment."""

    start: int
    last_stable: int
    high_watermark: int


class ChangelogReader(Protocol):
    """Reads changelog partitions without a group, `read_committed`. One thread."""

    def bounds(self, partition: Partition, deadline: Deadline) -> ChangelogBounds:
        """Return the partition's bounds as of now. Raises DeadlinePassed."""
        ...

    def topic_id(self, topic: str, deadline: Deadline) -> str:
        """Return the id that Kafka gave the topic: a topic that was deleted and made again has another."""
        ...

    def open(self, partition: Partition, offset: int) -> None:
        """Begin to read `partition` at `offset`; others already open go on."""
        ...

    def shut(self, partition: Partition) -> None:
        """Stop reading it."""
        ...

    def read(self, timeout: float) -> tuple[dict[Partition, Sequence[ChangelogRecord]], dict[Partition, int]]:
        """Return the records of the next batch by partition, and for partitions at their end (EOF) the offset reached."""
        ...

    def close(self) -> None: ...


class Admin(Protocol):
    """What a worker asks of the cluster before it starts. Short-lived: made, used, dropped (DESIGN rule 19)."""

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        """Return the partition count of those topics that exist. Raises BrokerUnreachable."""
        ...

    def create(self, topic: str, partitions: int, config: Mapping[str, str], replicas: int, deadline: Deadline) -> None:
        """Create the topic; one that exists meanwhile is no error. `replicas` -1 = the broker's default."""
        ...


__all__ = [
    "Admin",
    "ChangelogBounds",
    "ChangelogReader",
    "ChangelogRecord",
    "GroupMetadata",
    "Headers",
    "Store",
    "TransactionalProducer",
]
