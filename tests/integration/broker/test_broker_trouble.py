"""A broker of one's own can be paused, killed and brought back on the same ports with the same data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streamapp.broker import Broker, wire
from streamapp.broker.errors import BrokerDied, BrokerSilent
from tests.support.broker import QUICK_RETURN
from tests.support.topics import create_topic


def test_a_killed_broker_comes_back_with_its_topics_on_its_ports(new_broker: Callable[..., Broker]) -> None:
    node = new_broker(properties=QUICK_RETURN)
    before = node.address
    create_topic(before, "orders", 2)
    node.kill()
    assert node.state is None
    node.start()
    assert node.address == before
    assert node.topics()["orders"] == 2


def test_a_paused_broker_keeps_its_port_and_answers_nothing_until_resumed(new_broker: Callable[..., Broker]) -> None:
    node = new_broker()
    port = int(node.address.rpartition(":")[2])
    node.pause()
    assert not wire.answers(port, timeout=0.5)
    with pytest.raises(BrokerSilent, match="runs but does not answer"):
        node.topics(timeout=0.5)
    node.resume()
    assert wire.answers(port, timeout=10)
    node.pause()
    assert node.stop()  # a paused one can be stopped, too
    assert not node.stop()


def test_a_setting_that_kafka_refuses_is_told_with_its_last_words(new_broker: Callable[..., Broker]) -> None:
    with pytest.raises(BrokerDied, match=r"broker\.session\.timeout\.ms"):
        new_broker(properties={"broker.session.timeout.ms": "soon"})


def test_a_broker_that_dies_while_starting_leaves_no_pid_file(new_broker: Callable[..., Broker], tmp_path: Path) -> None:
    node = new_broker()
    node.stop()
    (node.data_dir / "kafka" / "meta.properties").write_text("cluster.id=another\nnode.id=7\nversion=1\n")
    with pytest.raises(BrokerDied, match="the broker ended while starting"):
        node.start()
    assert not (node.data_dir / "broker.pid").exists()
