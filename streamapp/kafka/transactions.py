"""Who holds a partition's transaction open: three requests of Kafka's protocol that the client library does not make.

Over a plain connection only; where the cluster asks for TLS or SASL, or a broker before 3.0 answers, nothing is told.
Source: Kafka protocol guide, DescribeProducers v0, ListTransactions v0, DescribeTransactions v0 (KIP-664).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from streamapp.records import Partition

DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, LIST_TRANSACTIONS = 61, 65, 66
LARGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024
_CLIENT: Final = b"streamapp-verify"

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class OpenProducer:
    """A producer with an open transaction in a partition, as the partition's leader has it."""

    producer_id: int
    epoch: int
    start: int
    """The transaction's first offset in the partition."""
    last_timestamp_ms: int


@dataclass(frozen=True, slots=True)
class CoordinatedTransaction:
    """A transactional id's transaction, as its coordinator has it."""

    transactional_id: str
    producer_id: int
    epoch: int
    state: str
    timeout_ms: int
    start_ms: int
    """-1: none is open."""


class NotTold(OSError):
    """The broker answered with a refusal, or not in this protocol."""


class _Writer:
    """Builds a flexible request: compact arrays and strings, empty tagged fields."""

    def __init__(self) -> None:
        self.data = bytearray()

    def unsigned(self, number: int) -> None:
        while number > 0x7F:
            self.data.append(number & 0x7F | 0x80)
            number >>= 7
        self.data.append(number)

    def fixed(self, form: str, *numbers: int) -> None:
        self.data += struct.pack(form, *numbers)

    def text(self, text: str) -> None:
        raw = text.encode()
        self.unsigned(len(raw) + 1)
        self.data += raw

    def no_tags(self) -> None:
        self.data.append(0)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fixed(self, form: str) -> int:
        size = struct.calcsize(form)
        try:
            (value,) = struct.unpack_from(form, self._data, self._at)
        except struct.error as cause:
            raise NotTold("the answer ends too early") from cause
        self._at += size
        return int(value)

    def unsigned(self) -> int:
        number = shift = 0
        while True:
            part = self.fixed(">B")
            number |= (part & 0x7F) << shift
            if part < 0x80:
                return number
            shift += 7

    def text(self) -> str:
        size = max(self.unsigned() - 1, 0)
        self._at += size
        return self._data[self._at - size : self._at].decode(errors="replace")

    def count(self) -> int:
        return max(self.unsigned() - 1, 0)

    def tags(self) -> None:
        for _ in range(self.unsigned()):
            self.unsigned()
            self._at += self.unsigned()


def open_producers(leader: Address, partitions: Iterable[Partition], timeout: float) -> dict[Partition, list[OpenProducer]]:
    """Return the open transactions of partitions that `leader` leads, the oldest first. Raises OSError."""
    topics: dict[str, list[int]] = {}
    for partition in partitions:
        topics.setdefault(partition.topic, []).append(partition.number)
    body = _Writer()
    body.unsigned(len(topics) + 1)
    for topic, numbers in topics.items():
        body.text(topic)
        body.unsigned(len(numbers) + 1)
        for number in numbers:
            body.fixed(">i", number)
        body.no_tags()
    body.no_tags()
    answer = _ask(leader, DESCRIBE_PRODUCERS, body, timeout)
    answer.fixed(">i")  # throttle time
    found: dict[Partition, list[OpenProducer]] = {}
    for _ in range(answer.count()):
        topic = answer.text()
        for _ in range(answer.count()):
            partition = Partition(topic, answer.fixed(">i"))
            refused = answer.fixed(">h")
            answer.text()  # what the refusal says
            producers = [_open_producer(answer) for _ in range(answer.count())]
            answer.tags()
            if not refused:
                found[partition] = sorted((each for each in producers if each.start >= 0), key=lambda each: each.start)
        answer.tags()
    return found


def _open_producer(answer: _Reader) -> OpenProducer:
    producer_id, epoch = answer.fixed(">q"), answer.fixed(">i")
    answer.fixed(">i")  # last sequence
    last_timestamp_ms = answer.fixed(">q")
    answer.fixed(">i")  # coordinator's epoch
    start = answer.fixed(">q")
    answer.tags()
    return OpenProducer(producer_id, epoch, start, last_timestamp_ms)


def coordinated(brokers: Sequence[Address], producer_ids: Iterable[int], timeout: float) -> dict[int, CoordinatedTransaction]:
    """Return the transactions of these producers; one whose coordinator does not tell is absent. Raises OSError: no broker told."""
    wanted = sorted(set(producer_ids))
    found: dict[int, CoordinatedTransaction] = {}
    failure: OSError | None = None
    for broker in brokers:  # each tells the transactions that it coordinates
        try:
            ids = _ids_of(broker, wanted, timeout)
            found.update({each.producer_id: each for each in described(broker, ids, timeout)} if ids else {})
        except OSError as refused:
            failure = refused
    if failure is not None and not found:
        raise failure
    return found


def _ids_of(broker: Address, producer_ids: Sequence[int], timeout: float) -> list[str]:
    body = _Writer()
    body.unsigned(1)  # any state
    body.unsigned(len(producer_ids) + 1)
    for producer_id in producer_ids:
        body.fixed(">q", producer_id)
    body.no_tags()
    answer = _ask(broker, LIST_TRANSACTIONS, body, timeout)
    answer.fixed(">i")
    if refused := answer.fixed(">h"):
        raise NotTold(f"ListTransactions was refused with {refused}")
    for _ in range(answer.count()):
        answer.text()  # states that the broker does not know
    ids = []
    for _ in range(answer.count()):
        ids.append(answer.text())
        answer.fixed(">q")  # producer id
        answer.text()  # state
        answer.tags()
    return ids


def described(broker: Address, ids: Sequence[str], timeout: float) -> Iterator[CoordinatedTransaction]:
    """Yield the transactions of those ids that `broker` coordinates and tells of. Raises OSError."""
    body = _Writer()
    body.unsigned(len(ids) + 1)
    for transactional_id in ids:
        body.text(transactional_id)
    body.no_tags()
    answer = _ask(broker, DESCRIBE_TRANSACTIONS, body, timeout)
    answer.fixed(">i")
    for _ in range(answer.count()):
        refused, transactional_id, state = answer.fixed(">h"), answer.text(), answer.text()
        timeout_ms, start_ms = answer.fixed(">i"), answer.fixed(">q")
        producer_id, epoch = answer.fixed(">q"), answer.fixed(">h")
        for _ in range(answer.count()):
            answer.text()
            for _ in range(answer.count()):
                answer.fixed(">i")
            answer.tags()
        answer.tags()
        if not refused:
            yield CoordinatedTransaction(transactional_id, producer_id, epoch, state, timeout_ms, start_ms)


def _ask(broker: Address, key: int, body: _Writer, timeout: float) -> _Reader:
    # Header v2: the client's name is not compact, whatever the rest is.
    header = struct.pack(">hhih", key, 0, 1, len(_CLIENT)) + _CLIENT + b"\x00"
    request = header + bytes(body.data)
    with socket.create_connection(broker, timeout) as connection:
        connection.settimeout(timeout)
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _receive(connection, 4))
        if not 0 < size <= LARGEST_ANSWER_BYTES:
            raise NotTold(f"{broker[0]}:{broker[1]} does not speak Kafka's protocol")
        answer = _Reader(_receive(connection, size))
    answer.fixed(">i")  # correlation id: one request, one answer
    answer.tags()
    return answer


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise NotTold("the broker closed the connection: it does not know the request, or asks for TLS or SASL")
        received += part
    return bytes(received)


__all__ = ["CoordinatedTransaction", "NotTold", "OpenProducer", "coordinated", "described", "open_producers"]
