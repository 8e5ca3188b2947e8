"""The broker: topics, and the coordinators of transactions and groups, under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from streamapp.clock import Clock, Deadline, SystemClock
from streamapp.ports import CommittedOffset
from streamapp.records import Headers, Partition
from streamapp.testing.memory_kafka.group import GroupCoordinator, GroupState, Member, MemoryGroupMetadata
from streamapp.testing.memory_kafka.log import MemoryRecord, PartitionLog
from streamapp.testing.memory_kafka.refusals import Code, Refused
from streamapp.testing.memory_kafka.transactions import ProducerId, TransactionCoordinator

TOPIC_DEFAULTS: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    "delete.retention.ms": "86400000",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
    "retention.ms": "604800000",
}

RECORD_OVERHEAD: Final = 80
"""Bytes of a batch of one record beside key and value, roughly: what a topic's `max.message.bytes` counts too."""


@dataclass
class Topic:
    """A topic: its id tells one that was deleted and made again."""

    name: str
    logs: list[PartitionLog]
    config: dict[str, str]
    id: str = field(default_factory=lambda: str(uuid4()))


class MemoryKafka:
    """A Kafka cluster of one broker in this process. Thread-safe.

    Nothing in it happens by the clock: sessions end by `expire_session`, transactions time out by `advance`, logs are cleaned by
    `compact` and `delete_records`. Clients come from `host(name)`: what dies together.
    """

    def __init__(self, topics: Mapping[str, int] | None = None, *, clock: Clock | None = None) -> None:
        """`topics`: partition counts of topics to create. `clock`: the time that records without a timestamp get."""
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.settled: dict[tuple[str, str], frozenset[Partition]] = {}
        """(group, instance) -> what that static member had when its group had last shared out everything: as if on its disk."""
        self._clock = clock or SystemClock()
        self._now = 0.0
        self._topics: dict[str, Topic] = {}
        self._groups: dict[str, GroupCoordinator] = {}
        self._transactions = TransactionCoordinator(self.log, self.group, lambda: self._now)
        for name, count in (topics or {}).items():
            self.create_topic(name, count)

    # --- topics

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> bool:
        """Create it; False when it exists."""
        with self.changed:
            if name in self._topics:
                return False
            logs = [PartitionLog(Partition(name, number)) for number in range(partitions)]
            self._topics[name] = Topic(name, logs, {**TOPIC_DEFAULTS, **(config or {})})
            self.changed.notify_all()
            return True

    def delete_topic(self, name: str) -> None:
        """Delete it. One made again under the name has another id."""
        with self.changed:
            self._topics.pop(name, None)
            self.changed.notify_all()

    def topic(self, name: str) -> Topic | None:
        with self.lock:
            return self._topics.get(name)

    def log(self, partition: Partition) -> PartitionLog:
        """Return a partition's log; use it under `lock`. Raises Refused (UNKNOWN_TOPIC_OR_PART)."""
        topic = self._topics.get(partition.topic)
        if topic is None or not 0 <= partition.number < len(topic.logs):
            raise Refused(Code.UNKNOWN_TOPIC_OR_PART, str(partition))
        return topic.logs[partition.number]

    def partitions_of(self, topic: str) -> int:
        """Return its partition count; 0 where it does not exist."""
        with self.lock:
            found = self._topics.get(topic)
            return 0 if found is None else len(found.logs)

    def partitions(self) -> list[Partition]:
        """Return all partitions, in order."""
        with self.lock:
            return sorted(Partition(name, number) for name, topic in self._topics.items() for number in range(len(topic.logs)))

    # --- what tests and programs write and read by hand

    def feed(
        self,
        topic: str,
        partition: int,
        *values: bytes | None,
        key: bytes | None = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        """Append records outside any transaction; `timestamp` in ms, 0 is now."""
        where = Partition(topic, partition)
        with self.changed:
            log = self.log(where)
            for value in values:
                log.append(key, value, self._stamp(where, timestamp), headers)
            self.changed.notify_all()

    def records(self, topic: str, partition: int, *, committed_only: bool = True) -> list[MemoryRecord]:
        """Return what a reader from the log's start sees now."""
        with self.lock:
            log = self.log(Partition(topic, partition))
            return log.read(log.start, 1 << 60, committed_only=committed_only).records

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Move the log's start to `before`, as retention does."""
        with self.changed:
            self.log(Partition(topic, partition)).delete_before(before)
            self.changed.notify_all()

    def compact(self, topic: str, partition: int, *, tombstones: bool = False) -> None:
        """Run the log cleaner; `tombstones`: as if their `delete.retention.ms` were over, too."""
        with self.changed:
            self.log(Partition(topic, partition)).compact(tombstones=tombstones)

    # --- transactions

    def advance(self, seconds: float) -> list[str]:
        """Let time pass for transactions; return the transactional.ids whose transaction timed out: aborted and fenced."""
        with self.changed:
            self._now += seconds
            late = self._transactions.expire()
            self.changed.notify_all()
            return late

    @contextmanager
    def markers_held(self, *parts: Partition | str) -> Iterator[None]:
        """Within the block, the coordinator decides transactions without marking `parts` (partitions; names of groups)."""
        self.hold_markers(*parts)
        try:
            yield
        finally:
            self.release_markers(*parts)

    def hold_markers(self, *parts: Partition | str) -> None:
        with self.lock:
            self._transactions.held.update(parts)

    def release_markers(self, *parts: Partition | str) -> None:
        """Write them from now on, those held back first; all when none is named."""
        with self.changed:
            self._transactions.held.difference_update(parts or set(self._transactions.held))
            self._transactions.write_markers()
            self.changed.notify_all()

    def open_transactions(self) -> list[str]:
        """Return the transactional.ids that have a transaction open, or ended and not marked everywhere."""
        with self.lock:
            return self._transactions.open_transactions()

    def init_producer(self, name: str, timeout: float) -> ProducerId:
        """InitProducerId. Raises Refused (CONCURRENT_TRANSACTIONS: ask again)."""
        with self.changed:
            try:
                return self._transactions.init(name, timeout)
            finally:
                self.changed.notify_all()

    def produce_in(self, name: str, producer: ProducerId, where: Partition, record: tuple[object, ...]) -> int:
        """AddPartitions and Produce of one record (key, value, timestamp, headers); return its offset. Raises Refused."""
        key, value, timestamp, headers = record
        with self.changed:
            self.check_size(where, key, value)  # type: ignore[arg-type]  # as `record` says
            self._transactions.add_partition(name, producer, where)
            stamp = self._stamp(where, timestamp)  # type: ignore[arg-type]
            offset = self.log(where).append(key, value, stamp, headers, producer.id)  # type: ignore[arg-type]
            self.changed.notify_all()
            return offset

    def add_group(self, name: str, producer: ProducerId, group: MemoryGroupMetadata) -> None:
        """AddOffsetsToTxn, which begins the transaction if it is the first part of it. Raises Refused."""
        with self.changed:
            self._transactions.add_group(name, producer, group.group)

    def txn_offset_commit(
        self, name: str, producer: ProducerId, group: MemoryGroupMetadata, offsets: Mapping[Partition, tuple[int, str]]
    ) -> None:
        """TxnOffsetCommit; alone, what a late copy of the request does. Raises Refused."""
        with self.changed:
            self._transactions.check_ongoing(name, producer, group.group)
            self.group(group.group).add_pending(producer.id, group, offsets)
            self.changed.notify_all()

    def end_transaction(self, name: str, producer: ProducerId, *, commit: bool) -> None:
        """EndTxn: decided when it returns. Raises Refused."""
        with self.changed:
            self._transactions.end(name, producer, commit=commit)
            self.changed.notify_all()

    # --- groups

    def group(self, name: str) -> GroupCoordinator:
        """Return a group's coordinator; use it under `lock`."""
        with self.lock:
            return self._groups.setdefault(name, GroupCoordinator(name, self.partitions_of))

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the group's stable offset, whatever open transactions hold; None where it has none."""
        with self.lock:
            found = self.group(group).offsets.get(Partition(topic, partition))
        return None if found is None else found[0]

    def owners(self, group: str) -> dict[Partition, str]:
        """Return who has each partition by the last rebalance: instance ids, or member ids."""
        with self.lock:
            return {where: member.name for member in self.group(group).members.values() for where in member.held}

    def expire_session(self, group: str, member: str) -> None:
        """End a member's session, by instance id or member id: it is out, and the others share what it had."""
        with self.changed:
            found: Member | None = self.group(group).member_of(member)
            if found is not None:
                self.group(group).leave(found.id)
            self.settled.pop((group, member), None)
            self.changed.notify_all()

    def is_settled(self, group: str) -> bool:
        """Return whether no rebalance is under way: every member has fetched its share."""
        with self.lock:
            found = self.group(group)
            return found.state is not GroupState.PREPARING and all(member.share is None for member in found.members.values())

    # --- what clients share

    def wait(self, until: Callable[[], bool], deadline: Deadline, *, longest: float = 0.05) -> bool:
        """Wait until `until()`, looked at under the lock after each change; False when the deadline passed first."""
        with self.changed:
            while not until():
                if deadline.passed:
                    return False
                self.changed.wait(deadline.slice(longest))
            return True

    def bounds(self, partition: Partition) -> tuple[int, int, int]:
        """Return log start, last stable offset and high watermark. Raises Refused."""
        with self.lock:
            log = self.log(partition)
            return log.start, log.last_stable, log.high_watermark

    def stable_offsets(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, CommittedOffset]:
        """Return what the group has committed. Raises Refused (UNSTABLE_OFFSET_COMMIT: ask again)."""
        with self.lock:
            return self.group(group).committed(partitions)

    def check_size(self, where: Partition, key: bytes | None, value: bytes | None) -> None:
        """Refuse a record that its topic does not take (MSG_SIZE_TOO_LARGE)."""
        topic = self._topics.get(where.topic)
        size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD
        if topic is not None and size > int(topic.config["max.message.bytes"]):
            raise Refused(Code.MSG_SIZE_TOO_LARGE, f"{where}: {size} bytes")

    def _stamp(self, where: Partition, timestamp: int) -> tuple[int, int]:
        now = int(self._clock.wall() * 1000)
        if self._topics[where.topic].config["message.timestamp.type"] == "LogAppendTime":
            return 2, now
        return 1, timestamp or now
