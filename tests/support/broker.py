"""Real brokers for tests: one that all share, and brokers of a test's own to kill, pause and fill.

STREAMAPP_TEST_BROKER=host:port takes the place of the shared one. Where no broker can be had, tests that need one are skipped,
and fail where CI is set, so that a green CI is never an empty one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamapp.broker import Broker, BrokerConfig, Profile
from streamapp.broker.errors import JavaUnusable, KafkaUnavailable

QUICK_RETURN = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
"""Properties of a broker that is killed and started again: until the former registration ends, the new one waits.

With Kafka's own 9 s that makes 12 s from start to answer, with these 2 to 5. A broker that is stopped in order signs off itself.
"""


@dataclass(frozen=True, slots=True)
class SharedBroker:
    """The broker of the whole session. Tests use topics, groups and transactional ids of their own, and leave it running."""

    address: str
    node: Broker | None
    """The broker itself; None if STREAMAPP_TEST_BROKER named one."""


def start_for_test(config: BrokerConfig) -> Broker:
    """Start a broker that dies with this process; skip the test if Java or Kafka cannot be had here, fail it in CI."""
    node = Broker(config, die_with_parent=True)
    try:
        node.start()
    except (JavaUnusable, KafkaUnavailable) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no broker: {error}")
    return node


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedBroker]:
    """The session's broker, started when the first test asks for it. Its data is kept if a test failed, for a look at its log."""
    if named := os.environ.get("STREAMAPP_TEST_BROKER"):
        yield SharedBroker(named, None)
        return
    node = start_for_test(BrokerConfig(data_dir=tmp_path_factory.mktemp("broker"), port=0, profile=Profile.TEST))
    try:
        yield SharedBroker(node.address, node)
    finally:
        node.stop()
        if not request.session.testsfailed:
            node.reset()


@pytest.fixture(scope="session")
def bootstrap(broker: SharedBroker) -> str:
    """`host:port` of the shared broker."""
    return broker.address


@pytest.fixture
def new_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start brokers of the test's own: `new_broker(properties={...})`, with any field of BrokerConfig; gone after the test."""
    nodes: list[Broker] = []

    def start(**settings: Any) -> Broker:
        defaults = {"data_dir": tmp_path / f"broker-{len(nodes)}", "port": 0, "profile": Profile.TEST}
        nodes.append(start_for_test(BrokerConfig(**{**defaults, **settings})))
        return nodes[-1]

    yield start
    for node in nodes:
        node.reset()
