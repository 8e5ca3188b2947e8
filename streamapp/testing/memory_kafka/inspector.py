"""What commands read of the memory broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streamapp.records import Partition, RawRecord
from streamapp.testing.memory_kafka.broker import MemoryKafka


class MemoryInspector:
    """A LogReader."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka

    def partitions(self) -> list[Partition]:
        return self._kafka.partitions()

    def topic_configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        return {topic: dict(found.config) for topic in topics if (found := self._kafka.topic(topic)) is not None}

    def assigned(self, group: str) -> frozenset[Partition] | None:
        return frozenset(self._kafka.owners(group))

    def ends(self, partition: Partition) -> tuple[int, int, int]:
        return self._kafka.bounds(partition)

    def read(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[tuple[Sequence[RawRecord], int]]:
        for partition, (start, end) in sorted(ranges.items()):
            seen = self._kafka.records(partition.topic, partition.number)
            yield [record for record in seen if start <= record.offset() < end], end - start
