"""`streamapp broker` from the first start to reset, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient

from streamapp.broker import Broker, BrokerConfig
from streamapp.broker.ports import pick_free
from streamapp.broker.processes import Process
from tests.support.broker import SharedBroker
from tests.support.topics import create_topic

ROOT = Path(__file__).parents[3]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]
NO_NETWORK = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
COMMAND = [sys.executable, "-W", "error", "-c", "from streamapp.cli import main; main(prog_name='streamapp')", "broker"]


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "broker"
    Broker(BrokerConfig(data_dir=tmp_path / "broker")).reset()


@pytest.fixture
def cli(data_dir: Path) -> Cli:
    def call(verb: str, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, verb, "--data-dir", str(data_dir), *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return call


def commit_one_abort_one(address: str) -> list[bytes]:
    """Produce one record in a committed and one in an aborted transaction; return what a read_committed reader sees."""
    topic = f"broker-{uuid4().hex}"
    create_topic(address, topic, 1)
    producer = Producer({"bootstrap.servers": address, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(10)
    producer.abort_transaction(10)
    producer.begin_transaction()
    producer.produce(topic, b"committed")
    producer.commit_transaction(10)
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.subscribe([topic])
    seen = []
    try:
        while (message := consumer.poll(20)) is not None:
            if (error := message.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF
                break
            value = message.value()
            assert value is not None
            seen.append(value)
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    return seen


def test_the_shared_broker_commits_and_aborts_transactions(bootstrap: str) -> None:
    assert commit_one_abort_one(bootstrap) == [b"committed"]


def test_a_topic_is_never_made_by_a_misspelling(broker: SharedBroker) -> None:
    if broker.node is None:
        pytest.skip("a cluster of the user's own has its own rules")
    AdminClient({"bootstrap.servers": broker.address}).list_topics("misspelt", timeout=10)
    assert "misspelt" not in broker.node.topics()


def test_from_start_to_reset_with_no_network_after_the_first_start(cli: Cli, data_dir: Path) -> None:
    started = cli("start", "--port", "0")
    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith("Kafka 4.2.0 listens on 127.0.0.1:")

    facts = json.loads(cli("status", "--json").stdout)
    assert (facts["answers"], facts["version"], facts["profile"]) == (True, "4.2.0", "dev")
    again = cli("start")
    assert (again.returncode, again.stdout) == (0, started.stdout)
    assert facts["address"] in cli("status").stdout
    create_topic(facts["address"], "orders", 3)

    assert cli("stop").stdout == "Stopped.\n"
    assert cli("stop").returncode == 0
    assert cli("status").returncode == 3

    offline = cli("start", "--port", "0", env=NO_NETWORK)
    assert offline.returncode == 0, offline.stderr
    assert "downloading" not in offline.stderr
    assert {"name": "orders", "partitions": 3} in json.loads(cli("status", "--json").stdout)["topics"]
    assert "Kafka Server started" in cli("logs", "-n", "1000").stdout

    preview = cli("reset")
    assert preview.stdout.startswith("Would stop the broker and delete")
    assert cli("status").returncode == 0
    assert cli("reset", "--execute").returncode == 0
    assert not data_dir.exists()


def test_a_first_start_without_network_says_what_it_needs(cli: Cli, tmp_path: Path) -> None:
    refused = cli("start", "--port", "0", env={**NO_NETWORK, "XDG_CACHE_HOME": str(tmp_path / "cache"), "KAFKA_HOME": ""})
    assert refused.returncode == 2
    assert "cannot download Kafka" in refused.stderr
    assert "connect to the network" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_taken_port_is_named(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", port := pick_free())):
        refused = cli("start", "--port", str(port))
    assert refused.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken by another process" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_port_of_another_kafka_is_named_as_such(cli: Cli, bootstrap: str) -> None:
    refused = cli("start", "--port", bootstrap.rpartition(":")[2])
    assert refused.returncode == 2
    assert "is taken by another Kafka broker" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_shows_the_log_and_stops_clean_when_told(data_dir: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "run", "--port", "0", "--data-dir", str(data_dir)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        assert "listens on 127.0.0.1:" in first, running.stderr
        kafka = Process.of(int(first.partition("pid ")[2].partition(",")[0]))
        assert kafka is not None
        running.send_signal(number)
        _, errors = running.communicate(timeout=40)
    assert not kafka.is_alive()
    assert "Traceback" not in errors
    assert "shut down completed" in (data_dir / "logs" / "server.log").read_text()
    assert (data_dir / "kafka" / ".kafka_cleanshutdown").exists()
    assert running.returncode == 0, errors


def test_run_that_is_killed_takes_its_broker_along(data_dir: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "run", "--port", "0", "--data-dir", str(data_dir)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout is not None
        kafka = Process.of(int(running.stdout.readline().partition("pid ")[2].partition(",")[0]))
        assert kafka is not None
        running.kill()
    assert kafka.gone_within(20)
