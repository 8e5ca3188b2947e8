"""A client that will never hear of a broker again, and how it is told from one whose broker is away.

A broker that stood still or was cut off for longer than its own session, and is the only one, answers the first questions for
metadata with no broker at all: its controller holds it for dead. librdkafka then lets go of all brokers that it knows and asks
nobody again (confluentinc/librdkafka#5301, open in 2.16). Measured: after a freeze of 7 s, workers without partitions for minutes,
until they were restarted. So whoever keeps a client for long asks here, and makes a new one.
"""

from __future__ import annotations

import socket
from typing import Final, Protocol

from confluent_kafka import KafkaException

from streamapp.clock import Clock, SystemClock

DEAF_AFTER: Final = 10.0
"""Seconds without an answer after which a client is made anew: longer than a broker's restart mostly takes."""
ASK_AFTER: Final = 4.0
"""Seconds of silence after which it is asked a question: an idle topic is silent, too."""
ASK_AGAIN: Final = 2.0
ANSWER: Final = 1.0
"""Seconds that the answer may take, and a connection to a broker."""


class Asked(Protocol):
    """What is asked of a client: something that only a broker can answer."""

    def list_topics(self, topic: str, /, *, timeout: float) -> object: ...


class Silence:
    """How long one client has heard nothing. On the thread that uses the client."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.heard()

    def heard(self) -> None:
        """A broker has answered it."""
        self._since = self._clock.monotonic()
        self._ask_at = self._since + ASK_AFTER

    def is_deaf(self, client: Asked, topic: str) -> bool:
        """Return whether it has had no answer for `DEAF_AFTER`; asks for the metadata of `topic` where nothing else was heard."""
        now = self._clock.monotonic()
        if now < self._ask_at:
            return False
        try:
            client.list_topics(topic, timeout=ANSWER)
        except KafkaException:
            now = self._clock.monotonic()
            self._ask_at = now + ASK_AGAIN
            return now - self._since >= DEAF_AFTER
        self.heard()
        return False


def is_reachable(bootstrap_servers: str) -> bool:
    """Return whether any of the brokers takes a connection; True where the names cannot be read: a new client may."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition("://")[2].rpartition(":")
        if not port.isdigit():
            return True
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER):
                return True
        except OSError:
            continue
    return False


__all__ = ["DEAF_AFTER", "Silence", "is_reachable"]
