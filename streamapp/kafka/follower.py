"""Partitions that are followed from some offset on, without a group."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.errors import BrokerUnreachable
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka.failures import error_of, options_checked
from streamapp.kafka.silence import DEAF_AFTER, Silence
from streamapp.ports import Followed
from streamapp.records import Partition, RawRecord

BATCH: Final = 500
"""Records of one read: each is looked at in Python, and the GIL is the loop's, too."""


class KafkaFollower:
    """A TopicFollower on one consumer that joins no group."""

    def __init__(self, config: Mapping[str, object]) -> None:
        with options_checked():
            self._consumer = Consumer({**config, "logger": logging.getLogger(CLIENT_LOGGER)})
        self._open: set[Partition] = set()
        self._silence = Silence()
        self._closed = False

    def open(self, partition: Partition, offset: int | None) -> None:
        self.shut(partition)
        if not self._open:
            self._silence.heard()  # a reader of nothing hears nothing
        where = TopicPartition(partition.topic, partition.number, OFFSET_BEGINNING if offset is None else offset)
        self._consumer.incremental_assign([where])
        self._open.add(partition)

    def shut(self, partition: Partition) -> None:
        if partition in self._open:
            self._open.remove(partition)
            self._consumer.incremental_unassign([TopicPartition(partition.topic, partition.number)])

    def read(self, timeout: float) -> dict[Partition, Followed]:
        # As in kafka/changelog.py: consume() alone would wait until its batch is full.
        try:
            first = self._consumer.poll(timeout)
            if first is None:
                if self._open and self._silence.is_deaf(self._consumer, next(iter(self._open)).topic):
                    raise BrokerUnreachable(f"no answer to the follower of dead letters for {DEAF_AFTER:.0f} s")
                return {}
            self._silence.heard()
            messages = [first, *self._consumer.consume(BATCH - 1, timeout=0)]
        except KafkaException as failure:
            raise _unreachable(failure) from failure
        found: dict[Partition, Followed] = {}
        for message in messages:
            self._take(message, found)
        return found

    def start_of(self, partition: Partition, timeout: float) -> int:
        where = TopicPartition(partition.topic, partition.number)
        try:
            answer = self._consumer.get_watermark_offsets(where, timeout=timeout, cached=False)
        except KafkaException as failure:
            raise _unreachable(failure) from failure
        if answer is None:
            raise BrokerUnreachable(f"{partition}: no answer for {timeout:.0f} s")
        return answer[0]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with suppress(KafkaException):
                self._consumer.close()

    def _take(self, message: Message, found: dict[Partition, Followed]) -> None:
        partition = Partition(message.topic() or "", -1 if (number := message.partition()) is None else number)
        error = message.error()
        if error is not None and error.fatal():
            raise BrokerUnreachable(error.str())
        if partition not in self._open:
            return  # shut meanwhile, or no partition's
        offset = cast("int", message.offset())
        if error is None:
            batch = found.setdefault(partition, Followed([], 0, at_end=False))
            batch.records.append(cast("RawRecord", message))
            batch.position, batch.at_end = offset + 1, False
        elif error.code() == KafkaError._PARTITION_EOF:
            batch = found.setdefault(partition, Followed([], 0, at_end=False))
            batch.position, batch.at_end = offset, True
        # The client heals all else, or the silence tells.


def _unreachable(failure: KafkaException) -> BrokerUnreachable:
    error = error_of(failure)
    return BrokerUnreachable(str(failure) if error is None else error.str())


__all__ = ["KafkaFollower"]
