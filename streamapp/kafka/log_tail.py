"""Reads one partition from its start and goes on as it grows: `read_committed`, without a group. For commands."""

from __future__ import annotations

import logging
import time
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, DeadlinePassed
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka import client_config
from streamapp.kafka.failures import error_of, options_checked
from streamapp.kafka.offsets import KafkaOffsets
from streamapp.records import Partition
from streamapp.settings import Settings

BATCH: Final = 2_000
"""Records handed on at once."""

_HEALED: Final = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
"""What the client goes on from by itself."""


class LogTail:
    """One thread. `close` it."""

    def __init__(self, settings: Settings, name: str, partition: Partition, timeout: float) -> None:
        self._partition = partition
        self._timeout = timeout
        self._position = 0
        self._address = settings.broker.broker
        self._offsets = KafkaOffsets(
            client_config.helper_consumer(settings, name), client_config.watermark_consumer(settings, name)
        )
        # An answer is waited for: an empty fetch is not to stand at the broker for half a second.
        config = client_config.reader(settings, name) | {"fetch.wait.max.ms": 50}
        try:
            with options_checked():
                self._reader = Consumer(config, logger=logging.getLogger(CLIENT_LOGGER))
        except BaseException:
            self._offsets.close()
            raise
        self._reader.assign([TopicPartition(partition.topic, partition.number, 0)])

    def poll(self, seconds: float) -> list[Message]:
        """Return what came within `seconds`; the first ends the wait. Raises BrokerUnreachable: it can never be read."""
        try:
            first = self._reader.poll(seconds)
            batch = [] if first is None else [first, *self._reader.consume(BATCH - 1, timeout=0)]
        except KafkaException as failure:
            raise self._silent(failure) from failure
        records = []
        for message in batch:
            error = message.error()
            if error is None:
                records.append(message)
                self._position = cast("int", message.offset()) + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # Behind control records and aborted ones too.
                self._position = max(self._position, cast("int", message.offset()))
            elif error.code() not in _HEALED and not error.retriable():
                raise BrokerUnreachable(f"{self._partition}: {error.name()}: {error.str()}; {self._address}")
        return records

    def catch_up(self, *, stable: bool = False) -> list[Message]:
        """Return all up to what is written now, and wait for what is open there to end. Raises BrokerUnreachable: no progress in time.

        `stable`: only up to what can be seen now. That may lie before rows that are committed, while another's transaction is open.
        """
        try:
            start, end = self._offsets.bounds(self._partition, Deadline.after(self._timeout))
            if stable:
                end = self._offsets.last_stable(self._partition, Deadline.after(self._timeout))
        except DeadlinePassed as failure:
            raise BrokerUnreachable(str(failure)) from failure
        self._position = max(self._position, start)
        records: list[Message] = []
        heard, stood = time.monotonic(), self._position
        while self._position < end:
            records += self.poll(0.1)
            if self._position > stood:
                heard, stood = time.monotonic(), self._position
            elif time.monotonic() - heard > self._timeout:
                raise BrokerUnreachable(
                    f"{self._partition}: at {self._position} of {end} for {self._timeout:g} s: a transaction is open there, or the "
                    f"broker is silent; {self._address}"
                )
        return records

    def close(self) -> None:
        self._reader.close()
        self._offsets.close()

    def _silent(self, failure: KafkaException) -> BrokerUnreachable:
        error = error_of(failure)
        return BrokerUnreachable(f"{self._address}: {error.str() if error is not None else failure}")


__all__ = ["LogTail"]
