"""docker-compose.yml: right by compose's own schema, and what OPERATIONS §8 says; its workers' variables are settings of ours in their ranges.

Nothing is started here: that takes a container engine. The broker has tests of its own, in tests/unit/broker/test_broker_compose.py.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Final

import pytest
import yaml

from streamapp.settings import load, values
from tests.support.documents import ROOT

FILE: Final = ROOT / "docker-compose.yml"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
WORKERS: Final = ("w-0", "w-1")


def test_compose_would_take_it() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_begins_with_what_was_not_run_and_how_to_run_it() -> None:
    head = FILE.read_text().split("\nx-worker", 1)[0]
    assert "never started" in head
    assert "docker compose up" in head


def test_there_are_a_broker_and_two_workers_and_the_rest_only_on_request() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["kafka", *WORKERS]
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "prometheus": ["observe"],
        "grafana": ["observe"],
    }


@pytest.mark.parametrize("name", WORKERS)
def test_a_workers_variables_are_settings_that_are_taken_without_a_remark(name: str) -> None:
    settings = load({"app_id": "any"}, {}, SERVICES[name]["environment"])
    assert settings.notices == ()
    given = values(settings)
    assert given["worker_id"] == name
    assert given["web_url"] == f"http://{name}:6066"
    assert given["web_peers"] == tuple(f"http://{other}:6066" for other in WORKERS if other != name)
    assert given["web_bind"] == "0.0.0.0"
    assert given["web_show_values"] is False


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_keeps_its_tables_and_waits_for_a_healthy_broker(name: str) -> None:
    service = SERVICES[name]
    assert service["volumes"] == [f"{name}:/data"]
    assert name in COMPOSE["volumes"]
    assert service["depends_on"] == {"kafka": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_can_write_nowhere_else_and_gains_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_given_the_time_that_a_clean_stop_may_take(name: str) -> None:
    attempt = load({"app_id": "any"}, {}, {}).retry.retry_attempt_timeout
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 3 * attempt


def test_workers_ask_the_broker_at_the_door_that_it_advertises_to_containers() -> None:
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    for name in WORKERS:
        assert f"INSIDE://{SERVICES[name]['environment']['STREAMAPP_BROKER']}" in advertised


def test_every_port_is_reached_from_this_machine_only_and_is_nobody_elses() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports) == len(SERVICES)
