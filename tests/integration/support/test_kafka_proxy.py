"""The proxy between workers and broker does to their connections what each of its faults says, and lets all else pass."""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streamapp.broker import wire
from tests.support.kafka_proxy import KafkaProxy
from tests.support.ordered_faults import Api, Loss
from tests.support.proxied_broker import ProxiedBroker
from tests.support.topic_reader import read_topics
from tests.support.topics import committed_offsets, create_topic, wait_until

PATIENT = 10.0
VERSIONS = struct.pack(">ihhih", 14, Api.API_VERSIONS, 0, 7, 4) + b"test"
"""A whole request, correlation id 7, that every broker answers."""


@pytest.fixture
def topic(line: ProxiedBroker) -> str:
    name = f"proxied-{uuid4().hex[:8]}"
    create_topic(line.direct, name, 1)
    return name


def producer(line: ProxiedBroker, **more: str | int) -> Producer:
    """Return a transactional producer behind the proxy, which knows nothing of the engine's rules."""
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": line.proxied,
        "client.id": f"test-{uuid4().hex[:8]}",
        "transactional.id": f"test-{uuid4().hex[:8]}",
        "linger.ms": 0,
        "retry.backoff.ms": 500,
        "log_level": 0,
        **more,
    }
    made = Producer(options)
    made.init_transactions(PATIENT)
    return made


def write(by: Producer, topic: str, value: str) -> None:
    by.produce(topic, value)
    assert by.flush(PATIENT) == 0


def commit(by: Producer) -> float:
    """Commit, as often as it may be called; return the seconds."""
    began = time.monotonic()
    while True:
        try:
            by.commit_transaction(PATIENT)
        except KafkaException as failure:
            if not failure.args[0].retriable() or time.monotonic() - began > 3 * PATIENT:
                raise
        else:
            return time.monotonic() - began


def visible(line: ProxiedBroker, topic: str) -> list[str]:
    return [(rec.value or b"").decode() for rec in read_topics(line.direct, [topic])[topic][0]]


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_clients_that_come_through_it_stay_behind_it(line: ProxiedBroker, topic: str) -> None:
    before = line.proxy.requests[Api.PRODUCE]
    client = producer(line)
    assert {broker.port for broker in client.list_topics(timeout=PATIENT).brokers.values()} == {line.proxy.port}
    client.begin_transaction()
    write(client, topic, "one")
    assert line.proxy.open_transactions()
    commit(client)
    assert line.proxy.requests[Api.PRODUCE] > before
    assert not line.proxy.open_transactions()
    assert visible(line, topic) == ["one"]


def test_a_cut_ends_every_connection_and_clients_come_back(line: ProxiedBroker, topic: str) -> None:
    client = producer(line)
    client.begin_transaction()
    write(client, topic, "before")
    with socket.create_connection(("127.0.0.1", line.proxy.port), PATIENT) as idle:
        idle.sendall(VERSIONS)
        assert idle.recv(4096)
        cut = line.proxy.cut()
        assert ended(idle)
    assert cut >= 2, "the producer had a connection, and so had the socket"
    write(client, topic, "after")
    commit(client)
    assert visible(line, topic) == ["before", "after"]


def test_a_blackhole_takes_connections_and_answers_nothing_until_it_ends(line: ProxiedBroker) -> None:
    with socket.create_connection(("127.0.0.1", line.proxy.port), PATIENT) as known:
        known.sendall(VERSIONS)
        assert known.recv(4096)
        with line.proxy.blackhole():
            assert not wire.answers(line.proxy.port, timeout=0.3)
            known.sendall(VERSIONS)
            known.settimeout(0.3)
            with pytest.raises(TimeoutError):
                known.recv(4096)
        known.settimeout(PATIENT)
        assert struct.unpack_from(">i", known.recv(4096), 4) == (7,), "what was sent meanwhile arrives"
    assert wire.answers(line.proxy.port, timeout=PATIENT)


def test_a_slow_line_takes_its_time_for_each_chunk_and_byte(line: ProxiedBroker) -> None:
    def seconds() -> float:
        began = time.monotonic()
        assert wire.answers(line.proxy.port, timeout=PATIENT)
        return time.monotonic() - began

    with line.proxy.slow(delay=0.25):
        assert seconds() >= 0.5, "there and back"
    with line.proxy.slow(bytes_per_second=500):
        assert seconds() >= 0.4, "some 300 bytes there and back"


@pytest.mark.parametrize("then", Loss, ids=lambda loss: loss.name.lower())
def test_a_lost_reply_to_end_txn_is_lost_after_the_broker_committed(line: ProxiedBroker, topic: str, then: Loss) -> None:
    client = producer(line, **{"socket.timeout.ms": 1_000})
    client.begin_transaction()
    write(client, topic, "one")
    lost = line.proxy.lose_reply(Api.END_TXN, then)
    asking = threading.Thread(target=commit, args=(client,))
    asking.start()
    lost.wait()
    assert lost.codes == [0]
    wait_until(lambda: visible(line, topic) == ["one"], why=lambda: "the broker did not commit")
    asking.join(3 * PATIENT)
    assert not asking.is_alive()
    assert lost.taken == 1, "the next reply came through"


def test_an_end_txn_that_is_held_back_ends_the_next_transaction_halfway(line: ProxiedBroker, topic: str) -> None:
    client = producer(line)
    held = line.proxy.hold_back(Api.END_TXN)
    client.begin_transaction()
    write(client, topic, "first")
    assert commit(client) >= 0.3, "the client asked again"
    assert (held.taken, held.landed) == (1, 0)
    client.begin_transaction()
    write(client, topic, "second, which nobody committed")
    held.wait()
    assert held.codes == [0], "the broker takes it for an end of this transaction"
    assert visible(line, topic) == ["first", "second, which nobody committed"]


def test_an_end_txn_that_is_held_back_is_refused_where_a_new_producer_has_begun(line: ProxiedBroker, topic: str) -> None:
    name = f"test-{uuid4().hex[:8]}"
    same = {"transactional.id": name, "client.id": name}
    held = line.proxy.hold_back(Api.END_TXN)
    client = producer(line, **same)
    client.begin_transaction()
    write(client, topic, "first")
    commit(client)
    again = producer(line, **same)
    again.begin_transaction()
    write(again, topic, "second, which is aborted")
    held.wait()
    assert held.codes != [0]
    again.abort_transaction(PATIENT)
    assert visible(line, topic) == ["first"]


def test_a_request_for_an_epoch_that_is_held_back_fences_the_producer_that_asked_again(line: ProxiedBroker, topic: str) -> None:
    name = f"test-{uuid4().hex[:8]}"
    held = line.proxy.hold_back(Api.INIT_PRODUCER_ID, where=lambda request: request.client_id == name)
    client = producer(line, **{"client.id": name})
    client.begin_transaction()
    write(client, topic, "by a producer that nobody replaced")
    held.wait()
    with pytest.raises(KafkaException, match="fenced") as refused:
        client.commit_transaction(PATIENT)
    assert refused.value.args[0].fatal()
    assert visible(line, topic) == []


def test_offsets_that_are_held_back_set_the_group_back(line: ProxiedBroker, topic: str) -> None:
    group = f"group-{uuid4().hex[:8]}"
    member = Consumer({"bootstrap.servers": line.direct, "group.id": group, "log_level": 0})
    metadata = member.consumer_group_metadata()
    client = producer(line)
    held = line.proxy.hold_back(Api.TXN_OFFSET_COMMIT)
    for offset in (100, 150):
        client.begin_transaction()
        write(client, topic, f"up to {offset}")
        client.send_offsets_to_transaction([TopicPartition(topic, 0, offset)], metadata, PATIENT)
        commit(client)
    member.close()
    assert (held.taken, held.landed) == (1, 1)
    assert committed_offsets(line.direct, group, [topic]) == {(topic, 0): 100}


def test_it_closes_what_it_opened() -> None:
    before = threading.active_count()
    with KafkaProxy() as proxy:
        port = proxy.port
        idle = socket.create_connection(("127.0.0.1", port), PATIENT)
        wait_until(lambda: threading.active_count() == before + 1, why=lambda: "one thread")
    with idle:
        assert ended(idle)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENT)
    assert threading.active_count() == before
    proxy.close()


def test_without_a_broker_its_clients_see_their_connections_end(tmp_path: Path) -> None:
    with KafkaProxy() as proxy:
        assert not wire.answers(proxy.port, timeout=PATIENT)
        wait_until(lambda: proxy.connections == 0, why=lambda: "the connection is still there")
