"""Clients come in by SCRAM and by TLS with the right password and authority, and with no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from streamapp.broker import Broker, BrokerConfig, Listener, Profile
from streamapp.broker.errors import GuardRefused
from tests.support.broker import start_for_test
from tests.support.topics import create_topic, wait_until


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    config = BrokerConfig(
        data_dir=tmp_path_factory.mktemp("secure-broker"),
        port=0,
        profile=Profile.TEST,
        listeners=dict.fromkeys(Listener, 0),
        users={"ann": "s3cret", "bob": "other"},
    )
    node = start_for_test(config)
    yield node
    node.reset()


def client(address: str, settings: dict[str, str], errors: list[int]) -> AdminClient:
    """Return a client with these settings, dots as underscores."""
    options = {name.replace("_", "."): value for name, value in settings.items()}
    config: dict[str, Any] = {"bootstrap.servers": address, "log_level": 0, "error_cb": lambda error: errors.append(error.code())}
    return AdminClient(config | options)


def is_let_in(address: str, **settings: str) -> bool:
    return len(client(address, settings, []).list_topics(timeout=10).brokers) == 1


def is_refused_with(code: int, address: str, **settings: str) -> bool:
    """Return True once the client meets this error: a broken connection is told of before its reason at times."""
    errors: list[int] = []
    outside = client(address, settings, errors)

    def met() -> bool:
        outside.poll(0.1)
        return code in errors

    wait_until(met, deadline=20, why=lambda: f"the client met {errors}, not {code}")
    return True


def scram(password: str, mechanism: str = "SCRAM-SHA-256", protocol: str = "SASL_PLAINTEXT") -> dict[str, str]:
    return {"security_protocol": protocol, "sasl_mechanism": mechanism, "sasl_username": "ann", "sasl_password": password}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_right_password_is_let_in(secure: Broker, mechanism: str) -> None:
    assert is_let_in(secure.listener_address(Listener.SCRAM), **scram("s3cret", mechanism))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_not(secure: Broker, mechanism: str) -> None:
    assert is_refused_with(KafkaError._AUTHENTICATION, secure.listener_address(Listener.SCRAM), **scram("guess", mechanism))


def test_nobody_comes_in_without_a_password(secure: Broker) -> None:
    assert is_refused_with(KafkaError._ALL_BROKERS_DOWN, secure.listener_address(Listener.SCRAM))


def test_tls_with_the_brokers_authority_is_let_in_and_its_name_is_checked(secure: Broker) -> None:
    tls = {"security_protocol": "SSL", "ssl_ca_location": str(secure.ca_file), "ssl_endpoint_identification_algorithm": "https"}
    assert is_let_in(secure.listener_address(Listener.TLS), **tls)


def test_tls_without_the_brokers_authority_is_refused_by_the_client(secure: Broker) -> None:
    assert is_refused_with(KafkaError._SSL, secure.listener_address(Listener.TLS), security_protocol="SSL")


def test_scram_over_tls_needs_both(secure: Broker) -> None:
    address, tls = secure.listener_address(Listener.SCRAM_TLS), {"ssl_ca_location": str(secure.ca_file)}
    assert is_let_in(address, **scram("s3cret", protocol="SASL_SSL"), **tls)
    assert is_refused_with(KafkaError._AUTHENTICATION, address, **scram("guess", protocol="SASL_SSL"), **tls)
    assert is_refused_with(KafkaError._SSL, address, **scram("s3cret", protocol="SASL_SSL"))


def test_clients_of_all_doors_meet_on_one_broker(secure: Broker) -> None:
    create_topic(secure.address, "shared", 1)
    options = {"security.protocol": "SSL", "ssl.ca.location": str(secure.ca_file)}
    through_tls = AdminClient({"bootstrap.servers": secure.listener_address(Listener.TLS), **options})
    assert "shared" in through_tls.list_topics(timeout=10).topics


def test_the_certificate_and_password_are_not_for_others_to_read(secure: Broker) -> None:
    assert (secure.data_dir / "tls" / "password").stat().st_mode & 0o077 == 0
    assert Path(secure.data_dir / "server.properties").stat().st_mode & 0o077 == 0


def test_users_cannot_be_changed_behind_the_datas_back(secure: Broker, tmp_path: Path) -> None:
    node = start_for_test(BrokerConfig(data_dir=tmp_path / "b", port=0, listeners={Listener.SCRAM: 0}, users={"ann": "one"}))
    node.stop()
    changed = BrokerConfig(data_dir=tmp_path / "b", port=0, listeners={Listener.SCRAM: 0}, users={"ann": "two"})
    try:
        with pytest.raises(GuardRefused, match="reset --execute"):
            Broker(changed).start()
    finally:
        node.reset()
