"""A broker too old to fence a group's zombies is refused by name, and one that does not answer is told apart from it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, BrokerUnsupported, ConfigurationError
from streamapp.kafka import versions
from streamapp.kafka.versions import await_broker

CONFIG = {"bootstrap.servers": "broker:9092"}


class Answers:
    """An AdminClient whose broker tells these API versions, in the words of librdkafka's debug log."""

    def __init__(self, *lines: str, failures: int = 0) -> None:
        self.lines = lines
        self.failures = failures
        self.asked = 0

    def __call__(self, config: dict[str, Any], *, logger: logging.Logger) -> Answers:
        assert config["debug"] == "feature"
        self.logger = logger
        return self

    def list_topics(self, timeout: float) -> None:
        assert timeout > 0
        self.asked += 1
        if self.asked <= self.failures:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "connection refused"))

    def poll(self, timeout: float) -> None:
        for line in self.lines:
            self.logger.debug("%s", f"APIVERSION [thrd:broker:9092/1]: broker:9092/1:   {line}")


def told(monkeypatch: pytest.MonkeyPatch, *lines: str, failures: int = 0) -> Answers:
    answers = Answers(*lines, failures=failures)
    monkeypatch.setattr(versions, "AdminClient", answers)
    return answers


def test_kafka_2_5_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, "ApiKey Produce (0) Versions 0..8", "ApiKey TxnOffsetCommit (28) Versions 0..3")
    await_broker(CONFIG, Deadline.after(5), fencing=True)


def test_kafka_2_4_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, "ApiKey Produce (0) Versions 0..8", "ApiKey TxnOffsetCommit (28) Versions 0..2")
    with pytest.raises(BrokerUnsupported, match=r"broker:9092.* 2\.5 .*STREAMAPP_PROCESSING_GUARANTEE=at_least_once"):
        await_broker(CONFIG, Deadline.after(5), fencing=True)


def test_a_broker_without_transactions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, "ApiKey Produce (0) Versions 0..2")
    with pytest.raises(BrokerUnsupported):
        await_broker(CONFIG, Deadline.after(5), fencing=True)


def test_a_refused_connection_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = told(monkeypatch, "ApiKey TxnOffsetCommit (28) Versions 0..4", failures=2)
    await_broker(CONFIG, Deadline.after(5), fencing=True)
    assert answers.asked == 3


def test_a_broker_that_never_answers_is_unreachable_and_not_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, failures=1_000_000)
    with pytest.raises(BrokerUnreachable, match="broker:9092"):
        await_broker(CONFIG, Deadline.after(0.01), fencing=True)


def test_being_too_old_is_a_matter_of_configuration() -> None:
    assert issubclass(BrokerUnsupported, ConfigurationError), "exit 2"
