"""Committed offsets and log bounds, read by clients that never join the group.

AdminClient is not for a worker's life: after a broker's restart it went on answering errors for minutes, and crashed the process
while coordinators were loading (DESIGN rule 19).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamapp.clock import Deadline
from streamapp.errors import DeadlinePassed
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka.failures import options_checked
from streamapp.ports import CommittedOffset
from streamapp.records import Partition

CALL = 5.0
"""Longest single call, in seconds."""


class KafkaOffsets:
    """An OffsetReader on two consumers: one of the group (committed offsets), one `read_uncommitted` (high watermarks)."""

    def __init__(self, group_config: Mapping[str, object], watermark_config: Mapping[str, object]) -> None:
        logger = logging.getLogger(CLIENT_LOGGER)
        with options_checked():
            self._group = Consumer(dict(group_config), logger=logger)
            self._watermarks = Consumer(dict(watermark_config), logger=logger)

    def committed(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, CommittedOffset]:
        rows = [TopicPartition(where.topic, where.number) for where in partitions]
        while True:
            try:
                self._group.poll(0)  # hands over log lines, which would pile up
                answer = self._group.committed(rows, timeout=max(0.1, deadline.slice(CALL)))
                for row in answer:
                    if row.error is not None:
                        raise KafkaException(row.error)
            except KafkaException as failure:
                if deadline.passed:
                    raise DeadlinePassed(f"committed offsets: {failure}") from failure
                continue
            return {
                Partition(row.topic, row.partition): CommittedOffset(row.offset if row.offset >= 0 else None, row.metadata or "")
                for row in answer
            }

    def bounds(self, partition: Partition, deadline: Deadline) -> tuple[int, int]:
        return self._bounds(self._watermarks, partition, deadline)

    def last_stable(self, partition: Partition, deadline: Deadline) -> int:
        # To a read_committed consumer the last stable offset is the end.
        return self._bounds(self._group, partition, deadline)[1]

    @staticmethod
    def _bounds(consumer: Consumer, partition: Partition, deadline: Deadline) -> tuple[int, int]:
        while True:
            try:
                consumer.poll(0)  # as above
                answer: tuple[int, int] | None = consumer.get_watermark_offsets(
                    TopicPartition(partition.topic, partition.number), timeout=max(0.1, deadline.slice(CALL)), cached=False
                )
            except KafkaException as failure:
                if deadline.passed:
                    raise DeadlinePassed(f"{partition}: {failure}") from failure
                continue
            if answer is None:
                if deadline.passed:
                    raise DeadlinePassed(f"{partition}: the broker did not tell its offsets in time")
                continue
            return answer

    def close(self) -> None:
        self._group.close()
        self._watermarks.close()
