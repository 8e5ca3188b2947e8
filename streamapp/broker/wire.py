"""The two requests of Kafka's protocol that say whether a broker is up and what is on it.

Written out here because the client library logs and retries for seconds where a broker that is still starting refuses.
Source: Kafka protocol guide, ApiVersions v0 and Metadata v4.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from streamapp.broker.ports import HOST

METADATA = 3
API_VERSIONS = 18
LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
"""An answer that claims more is not Kafka's: eight bytes of HTTP read as a length are over a gigabyte."""


class NotKafka(OSError):
    """Something answered, but not in Kafka's protocol."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        try:
            (value,) = struct.unpack_from(form, self._data, self._at)
        except struct.error as cause:
            raise NotKafka("answer ends too early") from cause
        self._at += size
        return int(value)

    def text(self) -> str:
        size = max(self.number(">h"), 0)
        self._at += size
        return self._data[self._at - size : self._at].decode(errors="replace")

    def numbers(self) -> list[int]:
        return [self.number(">i") for _ in range(self.number(">i"))]


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise NotKafka("connection closed before the answer")
        received += part
    return bytes(received)


def _ask(port: int, key: int, version: int, body: bytes, timeout: float) -> _Reader:
    client = b"streamapp"
    request = struct.pack(">hhih", key, version, 1, len(client)) + client + body
    with socket.create_connection((HOST, port), timeout) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _receive(connection, 4))
        if not 0 < size <= LARGEST_ANSWER_BYTES:
            raise NotKafka(f"port {port} does not speak Kafka's protocol")
        answer = _Reader(_receive(connection, size))
    answer.number(">i")  # correlation id: one request, one answer
    return answer


@dataclass(frozen=True, slots=True)
class ClusterTopics:
    """What a broker said about its cluster: the id, and the number of partitions by topic, internal topics included."""

    cluster_id: str
    partitions: dict[str, int]


def answers(port: int, *, timeout: float) -> bool:
    """Return whether a Kafka broker on the port serves requests now; False also when nobody listens."""
    try:
        answer = _ask(port, API_VERSIONS, 0, b"", timeout)
        return answer.number(">h") == 0
    except OSError:
        return False


def topics(port: int, *, timeout: float) -> ClusterTopics:
    """Return the cluster's topics. Raises OSError: nobody answered within `timeout` seconds per network call."""
    answer = _ask(port, METADATA, 4, struct.pack(">i?", -1, False), timeout)
    answer.number(">i")  # throttle time
    for _ in range(answer.number(">i")):
        answer.number(">i"), answer.text(), answer.number(">i"), answer.text()  # id, host, port, rack
    cluster_id = answer.text()
    answer.number(">i")  # controller id
    partitions: dict[str, int] = {}
    for _ in range(answer.number(">i")):
        answer.number(">h")
        name = answer.text()
        answer.number(">b")
        partitions[name] = answer.number(">i")
        for _ in range(partitions[name]):
            answer.number(">h"), answer.number(">i"), answer.number(">i"), answer.numbers(), answer.numbers()
    return ClusterTopics(cluster_id, partitions)
