"""Transactions that nobody will end, made as a broker with KAFKA-20734 leaves them: open in a partition, and over for its coordinator.

A broker that does not verify partitions with the coordinator (`unverified`) takes a transactional batch from anybody who names a
producer: one that no coordinator knows, or one whose transaction its coordinator has ended.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder  # type: ignore[import-untyped]  # it has none
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]  # re-exported without __all__

from streamapp.kafka.transactions import ENDED, CoordinatedTransaction, described
from tests.support.topics import PATIENCE, Place, wait_until

VERIFICATION: Final = "transaction.partition.verification.enable"
_NAME: Final = b"left-open"
_NOT_YET: Final = frozenset({3, 6})
"""Refusals of a partition whose broker has not heard yet that it leads it."""


@contextmanager
def unverified(bootstrap: str) -> Iterator[None]:
    """Have the cluster's brokers take such batches for a while."""
    _configure(bootstrap, ConfigEntry(VERIFICATION, "false", incremental_operation=AlterConfigOpType.SET))
    try:
        yield
    finally:
        _configure(bootstrap, ConfigEntry(VERIFICATION, None, incremental_operation=AlterConfigOpType.DELETE))


def _configure(bootstrap: str, entry: ConfigEntry) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for number in admin.list_topics(timeout=PATIENCE).brokers:
        broker = ConfigResource(ResourceType.BROKER, str(number), incremental_configs=[entry])
        admin.incremental_alter_configs([broker])[broker].result(PATIENCE)


def open_in(
    bootstrap: str,
    places: Mapping[str, Sequence[int]],
    *,
    producer_id: int,
    epoch: int = 0,
    sequence: int = 0,
    values: Sequence[bytes] = (b"left open",),
    at_ms: int = 1,
) -> None:
    """Leave a transaction of this producer open in the partitions. `at_ms`: its records' time, long ago by default."""
    left = {topic: list(numbers) for topic, numbers in places.items()}
    batch = _batch(producer_id, epoch, sequence, values, at_ms)

    def all_written() -> bool:
        refused = {place: code for place, code in _produce(bootstrap, left, batch).items() if code}
        assert set(refused.values()) <= _NOT_YET, f"Kafka's errors: {refused}"
        left.clear()
        for topic, number in refused:
            left.setdefault(topic, []).append(number)
        return not left

    wait_until(all_written, why=lambda: f"no leader yet: {left}")


def _produce(bootstrap: str, places: Mapping[str, Sequence[int]], batch: bytes) -> dict[Place, int]:
    """Write the batch into each partition (Produce v7), and return Kafka's error codes."""
    host, port = bootstrap.split(":")
    body = struct.pack(">h", len(_NAME)) + _NAME + struct.pack(">hii", -1, 30_000, len(places))
    for topic, numbers in places.items():
        body += struct.pack(">h", len(topic)) + topic.encode() + struct.pack(">i", len(numbers))
        for number in numbers:
            body += struct.pack(">ii", number, len(batch)) + batch
    request = struct.pack(">hhih", 0, 7, 1, -1) + body
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _exactly(connection, 4))
        answer = _exactly(connection, size)
    codes, at = {}, 8
    for _ in range(struct.unpack_from(">i", answer, 4)[0]):
        (length,) = struct.unpack_from(">h", answer, at)
        topic = answer[at + 2 : at + 2 + length].decode()
        at += 2 + length
        (count,) = struct.unpack_from(">i", answer, at)
        at += 4
        for _ in range(count):
            number, code = struct.unpack_from(">ih", answer, at)
            codes[topic, number] = code
            at += 30
    return codes


def ended_transaction(bootstrap: str, transactional_id: str, topic: str, *, commits: bool) -> tuple[int, int]:
    """Have a transaction of one record in partition 0 ended; return its producer id and epoch. The next record's sequence is 1."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "log_level": 0})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    producer.produce(topic, b"ended", partition=0)
    assert producer.flush(PATIENCE) == 0
    if commits:
        producer.commit_transaction(PATIENCE)
    else:
        producer.abort_transaction(PATIENCE)
    host, port = bootstrap.split(":")
    told: list[CoordinatedTransaction] = []

    def over() -> bool:
        # EndTxn is answered before the partitions have their markers.
        told[:] = described((host, int(port)), [transactional_id], PATIENCE)
        return told[0].state in ENDED

    wait_until(over, why=lambda: f"not ended: {told}")
    return told[0].producer_id, told[0].epoch


def _batch(producer_id: int, epoch: int, sequence: int, values: Sequence[bytes], at_ms: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, True, producer_id, epoch, sequence, 1_000_000)
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=at_ms, key=None, value=value, headers=[])
    return bytes(builder.build())


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        assert part, "the broker hung up"
        received += part
    return received
