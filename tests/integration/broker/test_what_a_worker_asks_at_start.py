"""Before it takes a partition a worker asks who answers, which topics there are and how they are set, and has missing ones made."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

import pytest

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, BrokerUnsupported, SettingInvalid, TopologyInvalid
from streamapp.kafka import client_config, versions
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.versions import await_broker
from streamapp.settings import load
from tests.support.topics import delete_topics

SOON = 30.0


@pytest.fixture
def config(bootstrap: str) -> client_config.ClientConfig:
    return client_config.admin(load({"app_id": "asking", "broker": bootstrap}, {}, {}))


@pytest.fixture
def admin(config: client_config.ClientConfig) -> KafkaAdmin:
    return KafkaAdmin(config)


def test_a_broker_that_fences_zombies_is_taken(config: client_config.ClientConfig) -> None:
    await_broker(config, Deadline.after(SOON), fencing=True)
    # Whatever the user wants of the client's log, the versions are read.
    await_broker({**config, "log_level": 0, "debug": "broker"}, Deadline.after(SOON), fencing=True)


def test_one_that_does_not_is_refused_unless_that_does_not_matter(
    config: client_config.ClientConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "FENCING_COMMIT", 99)  # what no broker has yet
    with pytest.raises(BrokerUnsupported, match=r"2\.5 or later.*STREAMAPP_PROCESSING_GUARANTEE=at_least_once"):
        await_broker(config, Deadline.after(SOON), fencing=True)
    await_broker(config, Deadline.after(SOON), fencing=False)


def test_the_wait_for_a_silent_broker_ends_when_it_is_cut(config: client_config.ClientConfig) -> None:
    cut = threading.Event()
    deadline = Deadline.after(3600, cut)
    threading.Timer(0.3, cut.set).start()
    with pytest.raises(BrokerUnreachable, match="Connection refused"):
        await_broker({**config, "bootstrap.servers": "127.0.0.1:1"}, deadline, fencing=True)
    assert time.monotonic() < deadline.at


def test_an_option_that_the_client_does_not_know_is_refused(config: client_config.ClientConfig) -> None:
    with pytest.raises(SettingInvalid, match=r"no\.such\.option"):
        KafkaAdmin({**config, "no.such.option": "1"})


def test_a_topic_is_created_once_with_its_settings(admin: KafkaAdmin) -> None:
    name, within = f"asked-{uuid4().hex}", Deadline.after(SOON)
    assert admin.create(name, 3, {"retention.ms": "12345"}, -1, within)
    assert not admin.create(name, 5, {}, -1, within)
    # Asked at once: what was created just now need not be known everywhere.
    assert admin.topic_configs([name], within)[name]["retention.ms"] == "12345"
    assert admin.partition_counts([name, "no-such-topic"], within) == {name: 3}


def test_a_topic_made_anew_has_another_id(bootstrap: str, admin: KafkaAdmin) -> None:
    name, within = f"asked-{uuid4().hex}", Deadline.after(SOON)
    admin.create(name, 1, {}, -1, within)
    first = admin.topic_ids([name], within)[name]
    delete_topics(bootstrap, [name])
    admin.create(name, 1, {}, -1, within)
    assert admin.topic_ids([name], within)[name] != first


def test_of_no_topic_there_is_nothing_to_ask(admin: KafkaAdmin) -> None:
    assert admin.topic_configs([], Deadline.after(SOON)) == {}
    assert admin.topic_ids([], Deadline.after(SOON)) == {}


def test_a_topic_that_the_broker_will_not_make_is_refused_with_its_reason(admin: KafkaAdmin) -> None:
    with pytest.raises(TopologyInvalid, match=r"cannot be created: .*cleanup\.policy"):
        admin.create(f"asked-{uuid4().hex}", 1, {"cleanup.policy": "sometimes"}, -1, Deadline.after(SOON))
    with pytest.raises(TopologyInvalid, match="cannot be created"):
        admin.create(f"asked-{uuid4().hex}", 1, {}, 7, Deadline.after(SOON))


def test_what_never_appears_is_a_broker_that_does_not_answer(admin: KafkaAdmin) -> None:
    with pytest.raises(BrokerUnreachable, match="topic no-such-topic: its settings could not be read"):
        admin.topic_configs(["no-such-topic"], Deadline.after(0.5))
    with pytest.raises(BrokerUnreachable, match="topic no-such-topic: its id could not be read"):
        admin.topic_ids(["no-such-topic"], Deadline.after(0.5))
