"""The library accepts what we tell each client, and nobody's raw options loosen what exactly-once rests on."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient

from streamapp.errors import SettingInvalid
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka import client_config
from streamapp.kafka.client_config import Assignor, ClientConfig, Isolation
from streamapp.settings import OWNED_OPTIONS, Settings, load

NOWHERE = "127.0.0.1:1"


def settings(**values: object) -> Settings:
    return load({"app_id": "shop", "broker": NOWHERE} | values, {}, {})


EXTREMES: list[dict[str, object]] = [
    {},
    {"transaction_timeout": 1, "session_timeout": 1, "max_poll_interval": 1, "commit_interval": 0.01, "producer_linger": 0.25},
    {"transaction_timeout": 900, "session_timeout": 1800, "commit_interval": 300, "producer_linger": 225},
    {"heartbeat_interval": 0.01, "max_poll_interval": 86400, "consumer_max_fetch_size": 1_000_000_000},
    {"producer_batch_size": 2_147_483_647, "producer_max_request_size": 1_000_000_000, "producer_compression": "zstd"},
    {"producer_batch_size": 1024, "producer_max_request_size": 1000, "producer_compression": "none"},
    {"producer_compression": "gzip", "group_protocol": "consumer"},
    {"producer_compression": "snappy", "broker_options": {"client.rack": "a"}, "consumer_options": {"fetch.min.bytes": 2}},
    {"security_protocol": "ssl", "ssl_endpoint_identification": "none", "ssl_ca_location": "probe"},
    {"security_protocol": "sasl_ssl", "sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": "p"},
    {"security_protocol": "sasl_plaintext", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "p"},
]


def consumers(given: Settings) -> dict[str, ClientConfig]:
    return {
        "sticky": client_config.source_consumer(given, "w1", "orders", Assignor.COOPERATIVE_STICKY, statistics_interval=1),
        "range": client_config.source_consumer(given, "w1", "orders", Assignor.RANGE),
        "committed": client_config.helper_consumer(given, "w1"),
        "watermarks": client_config.watermark_consumer(given, "w1"),
        "last stable": client_config.watermark_consumer(given, "w1", isolation=Isolation.READ_COMMITTED),
        "changelog": client_config.changelog_consumer(given, "w1"),
        "reader": client_config.reader(given, "dlq", start="latest"),
    }


def producers(given: Settings) -> dict[str, ClientConfig]:
    return {
        "transactional": client_config.transactional_producer(given, "w1"),
        "large": client_config.transactional_producer(given, "w1", max_message_bytes=2_000_000_000),
        "named": client_config.named_transactional_producer(given, "dlq-replay-orders-dlq"),
        "idempotent": client_config.idempotent_producer(given, "send", max_message_bytes=5_000_000),
    }


@pytest.fixture
def logger() -> Iterator[tuple[logging.Logger, list[str]]]:
    """A logger for the clients, and the complaints about their configuration that it heard."""
    heard: list[str] = []
    logger = logging.getLogger(CLIENT_LOGGER)
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]  # the shortest listener
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, heard
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.mark.parametrize("values", EXTREMES, ids=lambda values: ",".join(values) or "defaults")
def test_the_library_accepts_every_client_at_the_edges_of_the_ranges(
    values: dict[str, object], logger: tuple[logging.Logger, list[str]]
) -> None:
    given = settings(**values)
    for config in consumers(given).values():
        consumer = confluent_kafka.Consumer(config, logger=logger[0])
        consumer.poll(0)
        consumer.close()
    for config in producers(given).values():
        confluent_kafka.Producer(config, logger=logger[0]).poll(0)
    AdminClient(client_config.admin(given), logger=logger[0]).poll(0)
    complaints = [line for line in logger[1] if "CONFWARN" in line]
    assert not [line for line in complaints if "client.rack" not in line and "fetch.min.bytes" not in line], complaints


def test_client_certificates_are_handed_over(tmp_path: Path) -> None:
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text("")
    given = settings(
        security_protocol="ssl",
        ssl_ca_location=tmp_path / "ca",
        ssl_certificate_location=tmp_path / "cert",
        ssl_key_location=tmp_path / "key",
        ssl_key_password="hunter2",
    )
    config = client_config.admin(given)
    assert config["ssl.certificate.location"] == str(tmp_path / "cert")
    assert config["ssl.key.password"] == "hunter2"


def test_tokens_need_neither_user_nor_password() -> None:
    config = client_config.admin(settings(security_protocol="sasl_ssl", sasl_mechanism="OAUTHBEARER"))
    assert "sasl.username" not in config
    assert "sasl.password" not in config


SAFE_CONSUMER: Mapping[str, object] = {
    "group.id": "shop",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "metadata.recovery.strategy": "none",
}
SAFE_PRODUCER: Mapping[str, object] = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "retry.backoff.ms": 500,
    "metadata.recovery.strategy": "none",
}


def test_what_exactly_once_rests_on_is_in_every_client() -> None:
    given = settings()
    for name, config in consumers(given).items():
        assert config.items() >= SAFE_CONSUMER.items(), name
        assert config["auto.offset.reset"] == ("latest" if name == "reader" else "error")
        assert config["isolation.level"] == ("read_uncommitted" if name == "watermarks" else "read_committed")
    for name, config in producers(given).items():
        assert config.items() >= SAFE_PRODUCER.items(), name


def test_every_option_that_the_engine_sets_for_safety_is_refused_in_raw_form() -> None:
    overridable = {"queued.min.messages", "queued.max.messages.kbytes", "fetch.max.bytes", "fetch.queue.backoff.ms", "client.id"}
    overridable |= {
        "reconnect.backoff.max.ms",
        "topic.metadata.refresh.interval.ms",
        "socket.keepalive.enable",
        "log.connection.close",
    }
    given = settings()
    ours = {option for config in (*consumers(given).values(), *producers(given).values()) for option in config}
    assert ours - overridable <= set(OWNED_OPTIONS)


def test_raw_options_win_over_what_may_be_tuned() -> None:
    given = settings(consumer_options={"queued.min.messages": 1000}, broker_options={"reconnect.backoff.max.ms": 5})
    config = client_config.source_consumer(given, "w1", "orders", Assignor.RANGE)
    assert config["queued.min.messages"] == "1000"
    assert config["reconnect.backoff.max.ms"] == "5"


def test_the_static_profiles_have_an_instance_and_the_new_protocol_has_none() -> None:
    classic = client_config.source_consumer(settings(session_timeout=6), "w1", "orders", Assignor.COOPERATIVE_STICKY)
    assert classic["group.instance.id"] == "shop-w1-orders"
    assert classic["partition.assignment.strategy"] == "cooperative-sticky"
    assert (classic["session.timeout.ms"], classic["heartbeat.interval.ms"]) == (6000, 2000)
    new = client_config.source_consumer(settings(group_protocol="consumer"), "w1", "orders", Assignor.RANGE)
    assert new["group.remote.assignor"] == "range"
    assert not {"group.instance.id", "session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & set(new)
    assert "group.instance.id" not in client_config.helper_consumer(settings(), "w1")


def test_instance_ids_fit_the_broker_and_stay_apart() -> None:
    given = settings()
    long = [client_config.group_instance_id(given, "w" * 100, "t" * 248 + end) for end in "ab"]
    assert [len(name) for name in long] == [249, 249]
    assert long[0] != long[1]
    assert all(name.startswith(f"shop-{'w' * 100}-") for name in long)
    assert client_config.transactional_id(given, "w1") == "shop-w1"


@pytest.mark.parametrize("timeout", [1, 10, 30, 900])
def test_the_producers_waits_end_inside_the_transaction(timeout: int) -> None:
    config: dict[str, Any] = client_config.transactional_producer(settings(transaction_timeout=timeout), "w1")
    assert config["transaction.timeout.ms"] == timeout * 1000
    assert config["message.timeout.ms"] < timeout * 1000
    assert config["socket.timeout.ms"] <= timeout * 250


def test_dead_letters_may_be_larger_than_the_setting() -> None:
    given = settings()
    assert client_config.transactional_producer(given, "w1", max_message_bytes=5)["message.max.bytes"] == 1_000_000
    assert client_config.transactional_producer(given, "w1", max_message_bytes=1_114_112)["message.max.bytes"] == 1_114_112


def test_an_option_that_the_library_does_not_know_becomes_a_refusal() -> None:
    config = client_config.idempotent_producer(settings(producer_options={"no.such": 1}), "send")
    with pytest.raises(confluent_kafka.KafkaException) as caught:
        confluent_kafka.Producer(config)
    refusal = client_config.option_refused(caught.value)
    assert isinstance(refusal, SettingInvalid)
    assert 'No such configuration property: "no.such"' in str(refusal)
    assert "STREAMAPP_PRODUCER_OPTIONS" in str(refusal)
    assert "why" in str(client_config.option_refused(ValueError("why")))
    assert str(client_config.option_refused(ValueError()))
