"""A broker whose clients can be kept behind a proxy: it tells those of a further listener the proxy's address, and no other.

with proxied_broker(path) as line:
    OrderJob(line.direct, home, STREAMAPP_BROKER=line.proxied)
    line.proxy.cut()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamapp.broker import Broker, BrokerConfig, Profile
from streamapp.broker.ports import HOST, pick_free
from tests.support.broker import QUICK_RETURN, start_for_test
from tests.support.kafka_proxy import KafkaProxy


@dataclass(frozen=True, slots=True)
class ProxiedBroker:
    """A broker of one's own, and the proxy before a second door of it."""

    node: Broker
    proxy: KafkaProxy

    @property
    def direct(self) -> str:
        """`host:port` for a test's own readers and writers, which no fault of the proxy reaches."""
        return self.node.address

    @property
    def proxied(self) -> str:
        """`host:port` for the workers."""
        return self.proxy.address


@contextmanager
def proxied_broker(data_dir: Path) -> Iterator[ProxiedBroker]:
    """Run a broker that tells clients of its second plain listener the proxy's address, so that they stay behind it."""
    with KafkaProxy() as proxy:
        plain = pick_free({proxy.port, proxy.upstream_port})
        controller = pick_free({proxy.port, proxy.upstream_port, plain})
        listeners = f"PLAINTEXT://{HOST}:{plain},PROXIED://{HOST}:{proxy.upstream_port}"
        doors = {
            "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{plain},PROXIED://{proxy.address}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
        }
        node = start_for_test(BrokerConfig(data_dir=data_dir, port=plain, profile=Profile.TEST, properties=doors | QUICK_RETURN))
        try:
            yield ProxiedBroker(node, proxy)
        finally:
            node.reset()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedBroker]:
    """A broker of the module's own, behind a proxy."""
    with proxied_broker(tmp_path_factory.mktemp("proxied")) as made:
        yield made


__all__ = ["ProxiedBroker", "proxied_broker"]
