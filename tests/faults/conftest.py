"""The broker of the fault rig: as everyone's, but its sessions of the consumer protocol may be short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamapp.broker import BrokerConfig, Profile
from tests.support.broker import start_for_test
from tests.support.order_jobs import OrderJob

SHORT_SESSIONS = {
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
}
"""With the consumer protocol the session is the broker's, and a killed member's partitions wait for its end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take longest begin first: all are done when the last one is."""
    if all("/faults/" in item.nodeid for item in items):
        items.sort(key=_at_most, reverse=True)


def _at_most(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return 0.0 if mark is None else float(mark.args[0])


@pytest.fixture(scope="session")
def fault_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data_dir = tmp_path_factory.mktemp("fault-broker")
    node = start_for_test(BrokerConfig(data_dir=data_dir, port=0, profile=Profile.TEST, properties=SHORT_SESSIONS))
    try:
        yield node.address
    finally:
        node.stop()
        node.reset()


@pytest.fixture
def faulty(fault_broker: str, tmp_path: Path) -> Iterator[OrderJob]:
    """An order processor on the fault rig's broker."""
    with OrderJob(fault_broker, tmp_path / "workers") as made:
        yield made
