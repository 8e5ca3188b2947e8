"""The broker is stopped, killed and frozen under three workers at work: they lose and double nothing, stay, and heal unaided."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connection_scenarios import pauses, restarts
from tests.support.proxied_broker import ProxiedBroker, proxied_broker
from tests.support.proxied_run import ProxiedRun, scenario_of

ROUNDS = int(os.environ.get("STREAMAPP_TEST_FAULT_ROUNDS", "8"))
"""Faults of each scenario."""
pytestmark = pytest.mark.timeout(60 + 120 * ROUNDS)


@pytest.fixture
def own_line(tmp_path: Path) -> Iterator[ProxiedBroker]:
    """A broker of the test's own: what is done to it is no other test's affair. The proxy only looks on."""
    with proxied_broker(tmp_path / "broker") as made:
        yield made


def test_the_broker_is_stopped_and_started(own_line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(
        own_line, tmp_path / "run", scenario_of("broker stopped by SIGTERM and started, three workers", "stopped_and_started")
    ) as run:
        restarts(run, ROUNDS, own_line.node.stop)
        run.finish()


def test_the_broker_is_killed_and_started(own_line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(
        own_line, tmp_path / "run", scenario_of("broker killed by SIGKILL and started, three workers", "killed_and_started")
    ) as run:
        restarts(run, ROUNDS, own_line.node.kill)
        run.finish()


def test_the_broker_is_frozen(own_line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(
        own_line, tmp_path / "run", scenario_of("broker frozen by SIGSTOP for 0.5 to 12 s, three workers", "broker_is_frozen")
    ) as run:
        pauses(run, ROUNDS)
        run.finish()
