"""Clients of the memory broker that join no group: committed offsets, changelogs, what is followed, topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, DeadlinePassed
from streamapp.ports import ChangelogBatch, ChangelogBounds, CommittedOffset, Followed, LogEnds
from streamapp.records import Partition
from streamapp.testing.memory_kafka.broker import Topic
from streamapp.testing.memory_kafka.host import Call, MemoryHost
from streamapp.testing.memory_kafka.log import OffsetOutOfRange
from streamapp.testing.memory_kafka.refusals import Refused

T = TypeVar("T")

BATCH = 2_000
"""Changelog records of one partition in one read."""


class MemoryOffsets:
    """An OffsetReader."""

    def __init__(self, host: MemoryHost, group: str) -> None:
        self._host = host
        self._broker = host.broker
        self._group = group

    def committed(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, CommittedOffset]:
        return self._host.call(
            Call.COMMITTED, lambda: self._insist(lambda: self._broker.stable_offsets(self._group, partitions), deadline)
        )

    def bounds(self, partition: Partition, deadline: Deadline) -> tuple[int, int]:
        start, _, end = self._insist(lambda: self._broker.bounds(partition), deadline)
        return start, end

    def last_stable(self, partition: Partition, deadline: Deadline) -> int:
        return self._insist(lambda: self._broker.bounds(partition), deadline)[1]

    def close(self) -> None:
        """Nothing is held."""

    def _insist(self, question: Callable[[], T], deadline: Deadline) -> T:
        while True:
            self._host.check_alive()
            with self._broker.changed:
                try:
                    return question()
                except Refused as refused:
                    if deadline.passed:
                        raise DeadlinePassed(str(refused)) from refused
                self._broker.changed.wait(deadline.slice(0.02))


class MemoryWatermarks:
    """A Watermarks. A partition that is not there is absent, at once."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._broker = host.broker

    def ends(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, LogEnds]:
        return {where: LogEnds(stable, high) for where, (_, stable, high) in self._bounds(partitions).items()}

    def starts(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, int]:
        return {where: start for where, (start, _, _) in self._bounds(partitions).items()}

    def close(self) -> None:
        """Nothing is held."""

    def _bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int, int]]:
        found = {}
        self._host.check_alive()
        with self._broker.changed:
            for where in partitions:
                try:
                    found[where] = self._broker.bounds(where)
                except Refused:
                    continue
        return found


class MemoryChangelogReader:
    """A ChangelogReader. To a dead process it says that no broker answers: its restore thread then ends in order."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._broker = host.broker
        self._positions: dict[Partition, int] = {}
        self._told: dict[Partition, int] = {}
        """The end last told of each partition: it is told once."""
        self._refused: set[Partition] = set()

    def bounds(self, partition: Partition, timeout: float) -> ChangelogBounds:
        self._answered()

        def ask() -> ChangelogBounds:
            try:
                start, _, end = self._broker.bounds(partition)
            except Refused as refused:
                raise BrokerUnreachable(str(refused)) from refused
            return ChangelogBounds(start, end)

        return self._host.call(Call.CHANGELOG_BOUNDS, ask)

    def open(self, partition: Partition, offset: int) -> None:
        self.shut(partition)
        self._positions[partition] = offset

    def shut(self, partition: Partition) -> None:
        self._positions.pop(partition, None)
        self._told.pop(partition, None)
        self._refused.discard(partition)

    def read(self, timeout: float) -> dict[Partition, ChangelogBatch]:
        self._answered()
        return self._host.call(Call.CHANGELOG_READ, lambda: self._read(Deadline.after(timeout)))

    def trouble(self) -> str | None:
        return None

    def close(self) -> None:
        for partition in list(self._positions):
            self.shut(partition)

    def _read(self, deadline: Deadline) -> dict[Partition, ChangelogBatch]:
        with self._broker.changed:
            while True:
                batches = {}
                for partition in self._positions:
                    if (batch := self._batch(partition)) is not None:
                        batches[partition] = batch
                if batches or deadline.passed:
                    return batches
                self._broker.changed.wait(deadline.left)

    def _batch(self, partition: Partition) -> ChangelogBatch | None:
        if partition in self._refused:
            return None
        try:
            chunk = self._broker.log(partition).read(self._positions[partition], BATCH, committed_only=True)
        except (OffsetOutOfRange, Refused):
            self._refused.add(partition)
            return ChangelogBatch(writes={}, records=0, position=-1, at_end=False, truncated=True)
        is_news = chunk.at_end and self._told.get(partition) != chunk.position
        if not chunk.records and not is_news:
            return None
        if is_news:
            self._told[partition] = chunk.position
        writes = {key: record.value() for record in chunk.records if (key := record.key()) is not None}
        self._positions[partition] = chunk.position
        return ChangelogBatch(
            writes=writes, records=len(chunk.records), position=chunk.position, at_end=chunk.at_end, truncated=False
        )

    def _answered(self) -> None:
        if not self._host.is_alive:
            raise BrokerUnreachable(f"{self._host.name} is dead")


class MemoryFollower:
    """A TopicFollower. To a dead process it says that no broker answers, as the reader of changelogs does."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._broker = host.broker
        self._positions: dict[Partition, int | None] = {}
        self._told: dict[Partition, int] = {}

    def open(self, partition: Partition, offset: int | None) -> None:
        self.shut(partition)
        self._positions[partition] = offset

    def shut(self, partition: Partition) -> None:
        self._positions.pop(partition, None)
        self._told.pop(partition, None)

    def read(self, timeout: float) -> dict[Partition, Followed]:
        deadline = Deadline.after(timeout)
        with self._broker.changed:
            while True:
                self._answered()
                found = {partition: batch for partition in self._positions if (batch := self._batch(partition)) is not None}
                if found or deadline.passed:
                    return found
                self._broker.changed.wait(deadline.left)

    def start_of(self, partition: Partition, timeout: float) -> int:
        self._answered()
        try:
            return self._broker.bounds(partition)[0]
        except Refused as refused:
            raise BrokerUnreachable(str(refused)) from refused

    def close(self) -> None:
        self._positions.clear()

    def _batch(self, partition: Partition) -> Followed | None:
        position = self._positions[partition]
        try:
            start, _, end = self._broker.bounds(partition)
            if position is None or not start <= position <= end:
                position = start
            chunk = self._broker.log(partition).read(position, BATCH, committed_only=True)
        except Refused:
            return None  # a topic that is yet to come
        is_news = chunk.at_end and self._told.get(partition) != chunk.position
        if not chunk.records and not is_news:
            return None
        if is_news:
            self._told[partition] = chunk.position
        self._positions[partition] = chunk.position
        return Followed(list(chunk.records), chunk.position, chunk.at_end)

    def _answered(self) -> None:
        if not self._host.is_alive:
            raise BrokerUnreachable(f"{self._host.name} is dead")


class MemoryAdmin:
    """An Admin."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._broker = host.broker

    def topic_ids(self, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
        return {topic: self._topic(topic, deadline).id for topic in topics}

    def topic_configs(self, topics: Sequence[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        return {topic: dict(self._topic(topic, deadline).config) for topic in topics}

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        self._host.check_alive()
        return {topic: count for topic in topics if (count := self._broker.partitions_of(topic)) > 0}

    def create(self, topic: str, partitions: int, config: Mapping[str, str], replicas: int, deadline: Deadline) -> bool:
        self._host.check_alive()
        return self._broker.create_topic(topic, partitions, config)

    def _topic(self, topic: str, deadline: Deadline) -> Topic:
        """Return the topic, waiting for one that was made just now. Raises BrokerUnreachable."""
        self._host.check_alive()
        self._broker.wait(lambda: self._broker.topic(topic) is not None, deadline)
        found = self._broker.topic(topic)
        if found is None:
            raise BrokerUnreachable(f"topic {topic} does not exist")
        return found
