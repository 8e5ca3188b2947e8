"""Committed offsets and log bounds, read by clients that never join the group.

AdminClient is not for a worker's life: after a broker's restart it went on answering errors for minutes, and crashed the process
while coordinators were loading (DESIGN rule 19).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamapp.clock import Deadline, SystemClock
from streamapp.errors import DeadlinePassed
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka.failures import options_checked
from streamapp.kafka.silence import DEAF_AFTER
from streamapp.ports import CommittedOffset
from streamapp.records import Partition

CALL = 5.0
"""Longest single call, in seconds."""
AGAIN = 0.05
"""Seconds between two questions where the first was refused at once."""

T = TypeVar("T")


class KafkaOffsets:
    """An OffsetReader on two consumers: one of the group (committed offsets), one `read_uncommitted` (high watermarks)."""

    def __init__(self, group_config: Mapping[str, object], watermark_config: Mapping[str, object]) -> None:
        self._group = Asking(group_config)
        self._watermarks = Asking(watermark_config)

    def committed(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, CommittedOffset]:
        rows = [TopicPartition(where.topic, where.number) for where in partitions]

        def question(consumer: Consumer, timeout: float) -> list[TopicPartition]:
            answer = consumer.committed(rows, timeout=timeout)
            for row in answer:
                if row.error is not None:
                    raise KafkaException(row.error)
            return answer

        return {
            Partition(row.topic, row.partition): CommittedOffset(row.offset if row.offset >= 0 else None, row.metadata or "")
            for row in self._group.answer("committed offsets", question, deadline)
        }

    def bounds(self, partition: Partition, deadline: Deadline) -> tuple[int, int]:
        return self._bounds(self._watermarks, partition, deadline)

    def last_stable(self, partition: Partition, deadline: Deadline) -> int:
        # To a read_committed consumer the last stable offset is the end.
        return self._bounds(self._group, partition, deadline)[1]

    @staticmethod
    def _bounds(asking: Asking, partition: Partition, deadline: Deadline) -> tuple[int, int]:
        row = TopicPartition(partition.topic, partition.number)
        return asking.answer(
            str(partition), lambda consumer, timeout: consumer.get_watermark_offsets(row, timeout=timeout, cached=False), deadline
        )

    def close(self) -> None:
        self._group.close()
        self._watermarks.close()


class Asking:
    """A consumer that asks until it has an answer; made anew when all that it had for a while was errors (see `silence`)."""

    def __init__(self, config: Mapping[str, object], *, call: float = CALL) -> None:
        """`call`: seconds that one question may take at most."""
        self._config = dict(config)
        self._call = call
        self._clock = SystemClock()
        self._consumer = self._new()
        self._waiting_since: float | None = None
        """Since when the present consumer was asked without an answer; None while the last question had one."""

    def answer(self, what: str, question: Callable[[Consumer, float], T | None], deadline: Deadline) -> T:
        """Return what the broker answers to `question`, which is given the consumer and the seconds it may take. Raises DeadlinePassed."""
        while True:
            if self._waiting_since is None:
                self._waiting_since = self._clock.monotonic()
            trouble: KafkaException | None = None
            try:
                self._consumer.poll(0)  # hands over log lines, which would pile up
                answer = question(self._consumer, max(0.1, deadline.slice(self._call)))
            except KafkaException as failure:
                trouble, answer = failure, None
            if answer is not None:
                self._waiting_since = None
                return answer
            if self._clock.monotonic() - self._waiting_since >= DEAF_AFTER:
                self._consumer.close()
                self._consumer = self._new()
                self._waiting_since = None
            if deadline.passed:
                raise DeadlinePassed(f"{what}: {trouble or 'the broker did not answer in time'}") from trouble
            if trouble is not None:
                time.sleep(min(AGAIN, deadline.left))

    def _new(self) -> Consumer:
        with options_checked():
            return Consumer(dict(self._config), logger=logging.getLogger(CLIENT_LOGGER))

    def close(self) -> None:
        self._consumer.close()
