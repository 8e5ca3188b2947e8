"""What Kafka is told: one node whose transactions work, on 127.0.0.1 only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamapp.broker.config import BrokerConfig, KeyStore, Listener, Ports, Profile, as_file, default_data_dir, server_properties
from streamapp.broker.errors import ConfigInvalid

PLAIN = Ports(plain=9092, controller=9093, extra={})


def properties(profile: Profile = Profile.DEV, ports: Ports = PLAIN, **settings: Any) -> dict[str, str]:
    config = BrokerConfig(data_dir=Path("/data"), profile=profile, **settings)
    return server_properties(config, ports, KeyStore(Path("/tls/broker.p12"), "word"))


def test_one_node_has_every_internal_topic_at_one_replica() -> None:
    assert properties() == {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@127.0.0.1:9093",
        "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": "PLAINTEXT://127.0.0.1:9092",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": "/data/kafka",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "auto.create.topics.enable": "false",
    }


def test_the_test_profile_is_quick_and_the_others_are_not() -> None:
    quick = {
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.cleaner.backoff.ms": "500",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        "log.segment.delete.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": "33554432",
        "log.retention.ms": "-1",
    }
    assert properties(Profile.TEST) == properties() | quick
    assert properties(Profile.BENCH) == properties()


def test_only_the_bench_profile_gives_the_compiler_and_memory_free_rein() -> None:
    assert "-XX:TieredStopAtLevel=1" in BrokerConfig(data_dir=Path("/d"), profile=Profile.TEST).jvm_options
    assert BrokerConfig(data_dir=Path("/d"), profile=Profile.BENCH).jvm_options == ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")


def test_extra_listeners_are_advertised_with_their_protocol_and_stay_on_loopback() -> None:
    found = properties(ports=Ports(plain=1, controller=2, extra={Listener.SCRAM: 3, Listener.TLS: 4, Listener.SCRAM_TLS: 5}))
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1,SCRAM://127.0.0.1:3,TLS://127.0.0.1:4,SCRAMTLS://127.0.0.1:5"
    assert found["listener.security.protocol.map"].endswith("SCRAM:SASL_PLAINTEXT,TLS:SSL,SCRAMTLS:SASL_SSL")
    assert found["listener.name.scramtls.sasl.enabled.mechanisms"] == "SCRAM-SHA-256,SCRAM-SHA-512"
    assert found["listener.name.tls.ssl.keystore.password"] == "word"
    assert "listener.name.tls.sasl.enabled.mechanisms" not in found
    assert "listener.name.scram.ssl.keystore.location" not in found


def test_ones_own_properties_win() -> None:
    assert properties(properties={"min.insync.replicas": "2"})["min.insync.replicas"] == "2"


def test_the_file_survives_a_path_with_backslash_umlaut_and_emoji() -> None:
    assert as_file({"log.dirs": "/tmp/a\\b é 🙂"}) == "log.dirs=/tmp/a\\\\b \\u00e9 \\ud83d\\ude42\n"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": 70000}, "port 70000: must be 0"),
        ({"port": 9092, "listeners": {Listener.TLS: 9092}}, "each listener needs one of its own"),
        ({"data_dir": Path("/a,b")}, "comma"),
        ({"listeners": {Listener.SCRAM: 0}}, "--user NAME:PASSWORD"),
        ({"users": {"ann": "a]b"}}, "user 'ann'"),
        ({"start_timeout": 0}, "must be 1 to 600 seconds"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_range(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigInvalid, match=says.replace("[", r"\[")):
        BrokerConfig(**{"data_dir": Path("/data"), **settings})


def test_passwords_do_not_show_in_a_repr() -> None:
    assert "s3cret" not in repr(BrokerConfig(data_dir=Path("/data"), users={"ann": "s3cret"}))
    assert "s3cret" not in repr(KeyStore(Path("/p"), "s3cret"))


def test_the_data_lies_beside_the_projects_metadata_wherever_one_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert default_data_dir(inside) == tmp_path / ".streamapp" / "broker"
