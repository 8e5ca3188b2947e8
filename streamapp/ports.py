"""Where the rooms meet: what the pipeline needs of Kafka and of the disk, as small Protocols.

`pipeline`, `kafka` and `state` do not import one another; `application` picks the classes that fill these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from streamapp.clock import Deadline
from streamapp.records import Headers, Outgoing, Partition, RawRecord

GroupMetadata = object
"""What a consumer hands a producer to send offsets with: opaque, of one moment."""


class InHand(Protocol):
    """What this worker's lives had in hand, tried alone, remembered for the lives that follow on this disk. Any thread."""

    def took(self, life: str, partition: Partition, offset: int) -> None:
        """Remember that life's record, before it is handed over."""
        ...

    def put_down(self, life: str) -> None:
        """Remember that life with nothing in hand."""
        ...

    def had(self, life: str, partition: Partition, offset: int) -> bool | None:
        """Return whether that life ended with this record in hand; None: nobody remembers."""
        ...


class TransactionalProducer(Protocol):
    """One transactional producer and its one transaction. `produce` on any thread, the rest on the transaction thread."""

    @property
    def suspect(self) -> bool:
        """Whether a request of the transaction that ended may still arrive, in the next one: only a new producer may begin that."""
        ...

    @property
    def resumed(self) -> bool:
        """Whether the last commit had to be called again, as its time was over before an answer came."""
        ...

    def begin(self) -> None:
        """Open a transaction. Local, does not wait."""
        ...

    def produce(self, record: Outgoing, on_delivery: Callable[[int], None] | None = None) -> bool:
        """Hand over one record; False when the local queue is full (backpressure: try again after `serve`).

        `on_delivery(offset)` is called from `serve` or `flush`, -1 when the broker told no offset.
        Raises DeliveryFailed when the record can never be sent.
        """
        ...

    def produce_changelog(
        self, partition: Partition, writes: Mapping[bytes, bytes | None], on_end: Callable[[int], None], deadline: Deadline
    ) -> None:
        """Hand over each write as a record of `partition`, in order; `on_end(offset)` tells the last one's, as `on_delivery`.

        Waits while the local queue is full. Raises DeliveryFailed, ProducerUnusable, DeadlinePassed.
        """
        ...

    def serve(self) -> None:
        """Handle what was delivered since; does not wait."""
        ...

    def wait(self, seconds: float) -> None:
        """Handle deliveries for at most `seconds`; returns at the first."""
        ...

    def flush(self, deadline: Deadline) -> None:
        """Return when every record is on its way no more. Raises DeliveryFailed, CommitRefused, ProducerUnusable, DeadlinePassed.

        Of a record in a transaction that asked for no `on_delivery`, a refusal may be told only by what ends the transaction.
        """
        ...

    def send_offsets(self, offsets: Mapping[Partition, tuple[int, str]], group: GroupMetadata, deadline: Deadline) -> None:
        """Add the next offsets (and their metadata strings) to the transaction. Raises CommitRefused, ProducerUnusable."""
        ...

    def commit(self, deadline: Deadline) -> None:
        """Commit, again and again for as long as it may be. Raises OutcomeUnknown: whatever failed, only the broker knows."""
        ...

    def abort(self, deadline: Deadline) -> None:
        """Abort. Raises ProducerUnusable when only a new producer can go on."""
        ...

    def close(self) -> None:
        """Destroy it without waiting for what it holds. May be called twice."""
        ...


class PartitionSource(Protocol):
    """One consumer of the app's group and its poll thread, which alone touches it (DESIGN rule 21).

    Every method may be called from any thread; those that return a Future post a request that the poll thread answers between
    two polls, or at the start of a rebalance callback.
    """

    def start(self) -> None:
        """Join the group and begin to poll."""
        ...

    def group_metadata(self) -> Future[GroupMetadata]:
        """Ask for the metadata of now. The future raises CommitRefused when the consumer is in no group."""
        ...

    def open(self, positions: Mapping[Partition, int]) -> Future[dict[Partition, int]]:
        """Seek each partition, give it a new lane number and let its records come; the future tells the numbers.

        A partition that is no longer assigned is left out of the answer.
        """
        ...

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> Future[None]:
        """Commit offsets without a transaction (at least once). The future raises CommitRefused."""
        ...

    def stop(self, deadline: Deadline) -> None:
        """Leave (a static member stays in the group) and end the thread. May be called twice."""
        ...


class SourceListener(Protocol):
    """What a PartitionSource tells. All of it is called on the poll thread."""

    def assigned(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None:
        """These are ours now, under these lane numbers, paused until `open`."""
        ...

    def revoking(self, source: PartitionSource, partitions: Sequence[Partition]) -> Future[None]:
        """These are to be given back; the poll thread answers requests until the future is done, or its time is over."""
        ...

    def revoked(self, source: PartitionSource, partitions: Sequence[Partition]) -> None:
        """These are given back."""
        ...

    def lost(self, source: PartitionSource, partitions: Sequence[Partition]) -> None:
        """These are somebody else's already; nothing of them may be committed."""
        ...

    def numbered(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None:
        """These lanes begin anew under these numbers; called between two polls, with the seek, before the future of `open` is done."""
        ...

    def fetched(self, source: PartitionSource, batches: Sequence[Fetched]) -> None:
        """Records came."""
        ...

    def waiting(self) -> int:
        """Return how many fetched records wait in the worker; large ones count for several (`Lane.load`)."""
        ...

    def crowded(self, partition: Partition) -> int:
        """Return how many fetched records of `partition` wait, counted likewise."""
        ...

    def out_of_range(self, source: PartitionSource, partition: Partition) -> None:
        """The position of an open partition is not in its log (any more)."""
        ...

    def broken(self, source: PartitionSource, failure: Exception) -> None:
        """The consumer cannot go on (fenced twice, or out of luck)."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one partition, in offset order, under the lane number in force when the poll was called."""

    partition: Partition
    number: int
    records: list[RawRecord]
    end: int | None
    """The end of the partition that was seen behind them (PARTITION_EOF), commit markers included."""
    size_bytes: int = 0
    """Of all their values."""


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """What the group has committed for a partition: offset None where nothing."""

    offset: int | None
    metadata: str


class OffsetReader(Protocol):
    """Committed offsets and log bounds, by clients that never join the group. One thread."""

    def committed(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, CommittedOffset]:
        """Return what the group has to process next. Waits out an undecided transaction (KIP-447). Raises DeadlinePassed."""
        ...

    def bounds(self, partition: Partition, deadline: Deadline) -> tuple[int, int]:
        """Return log start and high watermark. Raises DeadlinePassed."""
        ...

    def last_stable(self, partition: Partition, deadline: Deadline) -> int:
        """Return the end of what read_committed readers see: the first offset of an open transaction. Raises DeadlinePassed."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LogEnds:
    """Where a partition ends, for those who see only what is committed and for all."""

    stable: int
    """The last stable offset: at most `high`."""
    high: int


class Watermarks(Protocol):
    """Reads where logs begin and end. One thread; every call waits for the broker, at most until its deadline."""

    def ends(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, LogEnds]:
        """Return the ends of those partitions of which they are told in time; the others are absent."""
        ...

    def starts(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, int]:
        """Return the offsets of the oldest records, in the same way."""
        ...

    def close(self) -> None: ...


class Frozen(Protocol):
    """A table partition as it stood at one moment, data and offset of the same apply."""

    @property
    def changelog_offset(self) -> int | None:
        """As Store's."""
        ...

    @property
    def current_at(self) -> float | None:
        """As Store's."""
        ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order. Raises TableNotHere when the store is closed meanwhile, StoreCorrupted, OSError."""
        ...


class Store(Protocol):
    """One table partition on disk or in memory: bytes to bytes, and the changelog offset that it is current to.

    `get` and `items` may be called from any thread; `apply`, `wipe` and `close` exclude each other (the store sees to it).
    Raises StoreCorrupted when the disk's content cannot be trusted, OSError when the disk refuses (full, read-only), and
    TableNotHere once it is closed.
    """

    @property
    def changelog_offset(self) -> int | None:
        """The next changelog offset to restore from; None when none was ever applied."""
        ...

    @property
    def current_at(self) -> float | None:
        """Seconds since 1970 when the store last equalled its changelog's end; None when it never held anything.

        Tombstones written since are missing from it, and Kafka keeps those for delete.retention.ms only.
        """
        ...

    @property
    def usable(self) -> bool:
        """False once it is closed, or a read or write failed: a store that may be half broken is opened anew, not used on."""
        ...

    def estimate(self) -> tuple[int, int] | None:
        """Return about how many keys it has and how many bytes they take; None where that is not known. Any thread, within a millisecond."""
        ...

    @property
    def corrupt(self) -> str | None:
        """Why its content cannot be trusted, as a read or write found: opened anew it would be no better, so it has to be wiped.

        None while nothing was found.
        """
        ...

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None where there is none."""
        ...

    def items(self, start: bytes = b"", limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order from `start` on. No snapshot: what is applied meanwhile may or may not be seen."""
        ...

    def frozen(self) -> AbstractContextManager[Frozen]:
        """Return what it holds now, to be read while it is written on. A close or wipe ends the reading, and waits for 1 ms of it."""
        ...

    def apply(
        self, writes: Mapping[bytes, bytes | None], changelog_offset: int | None, *, current_at: float | None = None
    ) -> None:
        """Write all of `writes` (None deletes) and the offset in one batch: after a crash, both are there or neither.

        `changelog_offset` None keeps the stored one. `current_at` None is now, right for the partition's owner, whose own
        writes are all there is; only a restore, which runs behind the end, passes an older moment.
        """
        ...

    def wipe(self) -> None:
        """Drop everything it holds: it is then as new, and open."""
        ...

    def close(self) -> None:
        """Close it. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class ChangelogBounds:
    """A changelog partition's log start and high watermark at one moment."""

    start: int
    high_watermark: int
    """The end of what is written, open transactions included: not the last stable offset (DESIGN §5)."""


@dataclass(slots=True)
class ChangelogBatch:
    """What one read brought of one partition: the last value of each key, not each record.

    Not a list of records: building 300 k objects a second costs more than all the rest of a restore.
    """

    writes: dict[bytes, bytes | None]
    records: int
    """Records read, overwritten ones included."""
    position: int
    """The next offset; behind control records and aborted ones where the end was seen."""
    at_end: bool
    """Whether `position` is the end of what read_committed shows now."""
    truncated: bool
    """Whether the broker refused the position: the log no longer has it, or does not have it yet."""
    format: int = 1
    """The newest format that the batch's format records name; 1 where it has none."""


class ChangelogReader(Protocol):
    """Reads changelog partitions without a group, `read_committed`. One thread."""

    def bounds(self, partition: Partition, timeout: float) -> ChangelogBounds:
        """Return the partition's bounds as of now. Raises BrokerUnreachable."""
        ...

    def open(self, partition: Partition, offset: int) -> None:
        """Begin to read `partition` at `offset`; others already open go on."""
        ...

    def shut(self, partition: Partition) -> None:
        """Stop reading it; nothing of it comes from `read` afterwards. One that is not open is no error."""
        ...

    def read(self, timeout: float) -> dict[Partition, ChangelogBatch]:
        """Return the next batches; empty when nothing came in `timeout`.

        What the client heals by itself is not raised but told by `trouble`. Raises BrokerUnreachable when only a new reader
        can go on.
        """
        ...

    def trouble(self) -> str | None:
        """Return what keeps the broker from answering, as far as the client knows; None since records came again."""
        ...

    def close(self) -> None:
        """Close it. May be called twice."""
        ...


@dataclass(slots=True)
class Followed:
    """What one read brought of one partition, in offset order."""

    records: list[RawRecord]
    position: int
    """The next offset; behind control records and aborted ones where the end was seen."""
    at_end: bool
    """Whether `position` is the end of what read_committed shows now."""


class TopicFollower(Protocol):
    """Reads partitions without a group, `read_committed`, and goes on behind their ends. One thread."""

    def open(self, partition: Partition, offset: int | None) -> None:
        """Begin to read `partition` at `offset`, None and what is not in its log any more: where the log starts.

        One that is being read begins anew there; others go on.
        """
        ...

    def shut(self, partition: Partition) -> None:
        """Stop reading it; nothing of it comes from `read` afterwards. One that is not open is no error."""
        ...

    def read(self, timeout: float) -> dict[Partition, Followed]:
        """Return what came, empty when nothing did in `timeout`. Raises BrokerUnreachable when only a new follower can go on."""
        ...

    def start_of(self, partition: Partition, timeout: float) -> int:
        """Return where the partition's log starts. Raises BrokerUnreachable."""
        ...

    def close(self) -> None:
        """Close it. May be called twice."""
        ...


class Admin(Protocol):
    """What a worker asks of the cluster before it starts. Short-lived: made, used, dropped (DESIGN rule 19)."""

    def topic_ids(self, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
        """Return the ids that Kafka gave these topics: one deleted and made again has another. Raises BrokerUnreachable."""
        ...

    def topic_configs(self, topics: Sequence[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        """Return the effective settings of these topics; one that we have no right to look at is absent. Raises BrokerUnreachable."""
        ...

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        """Return the partition count of those topics that exist. Raises BrokerUnreachable."""
        ...

    def create(self, topic: str, partitions: int, config: Mapping[str, str], replicas: int, deadline: Deadline) -> bool:
        """Create the topic; False when it exists meanwhile, as somebody else wanted it. `replicas` -1 = the broker's default.

        Raises TopologyInvalid: the broker refuses it. Raises BrokerUnreachable.
        """
        ...


class LogReader(Protocol):
    """What commands read of a cluster, without a group. One thread. Every call raises BrokerUnreachable: no answer in time."""

    def partitions(self) -> list[Partition]:
        """Return all of the cluster, in order."""
        ...

    def topic_configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the settings of existing topics; those that may not be seen are absent."""
        ...

    def assigned(self, group: str) -> frozenset[Partition] | None:
        """Return the partitions that the group's members hold now; None where that may not be told."""
        ...

    def ends(self, partition: Partition) -> tuple[int, int, int]:
        """Return log start, last stable offset and high watermark."""
        ...

    def read(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[tuple[Sequence[RawRecord], int]]:
        """Yield batches of the committed records of each range of offsets, with the positions passed since the last batch.

        No range may go beyond the last stable offset.
        """
        ...


__all__ = [
    "Admin",
    "ChangelogBatch",
    "ChangelogBounds",
    "ChangelogReader",
    "CommittedOffset",
    "Fetched",
    "Followed",
    "Frozen",
    "GroupMetadata",
    "Headers",
    "LogEnds",
    "LogReader",
    "OffsetReader",
    "PartitionSource",
    "SourceListener",
    "Store",
    "TopicFollower",
    "TransactionalProducer",
    "Watermarks",
]
