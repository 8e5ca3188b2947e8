"""The producer of scripts, commands and web clients: idempotent, without transactions, each record's delivery told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.clock import Deadline
from streamapp.errors import DeliveryFailed, OutputRejected
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka.failures import options_checked
from streamapp.records import Outgoing

POLL: Final = 0.1
"""Seconds of one poll for delivery reports: how long `close` may wait for the thread."""

Told = Callable[[Exception | None, int, int], None]
"""Called once per record, on the producer's thread: the failure or None, partition, offset."""


class ScriptProducer:
    """Any thread may call; delivery reports come on a thread of its own."""

    def __init__(self, config: Mapping[str, object]) -> None:
        with options_checked():
            self._client = Producer(dict(config), logger=logging.getLogger(CLIENT_LOGGER))
        self._closing = threading.Event()
        # A daemon: a script that forgets to stop it must still end. What is unsent then is the flush at exit's business.
        self._thread = threading.Thread(target=self._poll, name="script-producer", daemon=True)
        self._thread.start()

    def produce(self, record: Outgoing, told: Told) -> None:
        """Hand over one record. Waits only while the local queue is full. Raises OutputRejected: it can never be sent."""
        topic, value, key, partition, timestamp, headers = record

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                told(_undelivered(topic, error), -1, -1)
            else:
                told(None, _number(message.partition()), _number(message.offset()))

        while True:
            try:
                self._client.produce(
                    topic,
                    value=value,
                    key=key,
                    partition=partition,
                    timestamp=timestamp,
                    headers=list(headers),
                    on_delivery=on_delivery,
                )
            except BufferError:
                self._client.poll(POLL)  # backpressure, not failure
            except KafkaException as refused:
                raise OutputRejected(f"topic {topic}: {refused}") from refused
            else:
                return

    def flush(self, deadline: Deadline) -> int:
        """Wait until every record is delivered or given up; return how many are still unsent at the deadline."""
        left = len(self._client)
        while left and not deadline.passed:
            left = self._client.flush(max(0.01, deadline.slice(0.5)))
        return left

    def close(self) -> None:
        """Stop the thread. What is unsent is dropped. May be called twice."""
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join(10 * POLL)

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._client.poll(POLL)


def _undelivered(topic: str, error: KafkaError) -> DeliveryFailed:
    hint = "; does the topic exist?" if error.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._UNKNOWN_TOPIC) else ""
    return DeliveryFailed(f"topic {topic}: {error.name()}: {error.str()}{hint}")


def _number(value: int | None) -> int:
    return -1 if value is None else value


__all__ = ["ScriptProducer"]
