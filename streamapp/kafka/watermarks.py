"""Where logs begin and end, for many partitions at a time: two consumers that never join the group and are never assigned anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition

from streamapp.clock import Deadline
from streamapp.errors import DeadlinePassed
from streamapp.kafka.offsets import Asking
from streamapp.ports import LogEnds
from streamapp.records import Partition

CALL: Final = 1.0
"""Longest single call, in seconds: a stop waits for no more than the one under way."""


class KafkaWatermarks:
    """A Watermarks on a `read_committed` and a `read_uncommitted` consumer. One thread; `close` it.

    Asked by `offsets_for_times` with the two times that mean begin and end: one request to each leader, where `get_watermark_offsets`
    is one for each partition, one after the other (64 partitions of one local broker: 2 ms against 80 to 240).
    """

    def __init__(self, stable_config: Mapping[str, object], high_config: Mapping[str, object]) -> None:
        self._stable = Asking(stable_config, call=CALL)
        try:
            self._high = Asking(high_config, call=CALL)
        except BaseException:
            self._stable.close()
            raise

    def ends(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, LogEnds]:
        # The stable end first: what is added between the two is then an open transaction for a moment, never the reverse.
        stable = self._ask(self._stable, partitions, OFFSET_END, deadline)
        high = self._ask(self._high, list(stable), OFFSET_END, deadline)
        return {where: LogEnds(min(stable[where], high[where]), high[where]) for where in stable if where in high}

    def starts(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, int]:
        return self._ask(self._high, partitions, OFFSET_BEGINNING, deadline)

    def close(self) -> None:
        self._stable.close()
        self._high.close()

    @staticmethod
    def _ask(asking: Asking, partitions: Sequence[Partition], when: int, deadline: Deadline) -> dict[Partition, int]:
        # By topic: one that was deleted fails its whole question.
        by_topic: dict[str, list[TopicPartition]] = {}
        for where in partitions:
            by_topic.setdefault(where.topic, []).append(TopicPartition(where.topic, where.number, when))
        found: dict[Partition, int] = {}
        for topic, rows in by_topic.items():

            def question(consumer: Consumer, timeout: float, rows: list[TopicPartition] = rows) -> list[TopicPartition]:
                return consumer.offsets_for_times(rows, timeout=timeout)

            try:
                answer = asking.answer(topic, question, deadline)
            except DeadlinePassed:
                continue  # unknown is an answer here
            found |= {Partition(row.topic, row.partition): row.offset for row in answer if row.error is None and row.offset >= 0}
        return found


__all__ = ["KafkaWatermarks"]
