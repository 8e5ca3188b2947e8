"""The broker of docker-compose.yml is the one that `streamapp broker start` starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from streamapp.broker.config import ONE_NODE, BrokerConfig, Ports, server_properties
from streamapp.broker.distribution import VERSION

COMPOSE = Path(__file__).parents[3] / "docker-compose.yml"
WHERE_DOCKER_DIFFERS = {
    # From outside the container, `ports` keeps it to this machine; and a door for the other containers.
    "listeners": "PLAINTEXT://:9092,INSIDE://:9094,CONTROLLER://127.0.0.1:9093",
    "advertised.listeners": "PLAINTEXT://127.0.0.1:9092,INSIDE://kafka:9094",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT",
    "log.dirs": "/var/lib/kafka/data",
}


@pytest.fixture
def service() -> dict[str, Any]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services["kafka"]


def properties_of(service: dict[str, Any]) -> dict[str, str]:
    """Return Kafka's properties as the image derives them: KAFKA_A_B is a.b."""
    variables: dict[str, str] = service["environment"]
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in variables.items()
        if name.startswith("KAFKA_") and not name.endswith("_OPTS")
    }


def test_the_properties_are_the_broker_modules_own(service: dict[str, Any]) -> None:
    ours = server_properties(BrokerConfig(data_dir=Path("/data")), Ports(plain=9092, controller=9093, extra={}), None)
    assert properties_of(service) == ours | WHERE_DOCKER_DIFFERS


def test_transactions_can_start_and_topics_are_not_made_by_misspelling(service: dict[str, Any]) -> None:
    assert ONE_NODE.items() <= properties_of(service).items()


def test_the_version_is_the_tested_one(service: dict[str, Any]) -> None:
    assert service["image"] == f"apache/kafka:{VERSION}"


def test_it_is_reached_from_this_machine_only(service: dict[str, Any]) -> None:
    assert service["ports"] == ["127.0.0.1:9092:9092"]


def test_it_is_health_checked_and_its_data_has_a_name(service: dict[str, Any]) -> None:
    assert service["healthcheck"]["retries"] > 0
    volume = service["volumes"][0].split(":")
    assert volume == ["kafka-data", properties_of(service)["log.dirs"]]
    assert "kafka-data" in yaml.safe_load(COMPOSE.read_text())["volumes"]


def test_every_value_is_text_so_that_yaml_cannot_read_another_meaning_into_it(service: dict[str, Any]) -> None:
    assert all(isinstance(value, str) for value in service["environment"].values())
    assert len(service["environment"]["CLUSTER_ID"]) == 22
