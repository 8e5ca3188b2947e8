"""What a worker asks of the cluster before it starts, and what commands change there, by a client made for it and dropped (DESIGN rule 19)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, TopologyInvalid
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka.failures import error_of, options_checked

CALL: Final = 5.0
"""Longest single call, in seconds."""
PAUSE: Final = 0.1
"""Seconds between two calls of which the first was refused at once."""

NOT_NOW: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.BROKER_NOT_AVAILABLE,
        # A topic that was created just now is not known everywhere.
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""Answers after which the same call may succeed. The library sets no `retriable` flag on what a broker answers per topic."""

NOT_ALLOWED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})


class KafkaAdmin:
    """An Admin on confluent_kafka."""

    def __init__(self, config: Mapping[str, object]) -> None:
        with options_checked():
            # numbers are taken too
            self._client = AdminClient(dict(config), logger=logging.getLogger(CLIENT_LOGGER))  # type: ignore[arg-type]
        self._broker = str(config.get("bootstrap.servers", ""))

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        known = self._topics(deadline)
        return {topic: known[topic] for topic in topics if topic in known}

    def _topics(self, deadline: Deadline) -> dict[str, int]:
        while True:
            try:
                listing = self._client.list_topics(timeout=max(0.2, deadline.slice(CALL)))
            except KafkaException as failure:
                self._try_on(failure, deadline, "no broker answered")
                continue
            return {name: len(topic.partitions) for name, topic in listing.topics.items() if topic.error is None}

    def create(self, topic: str, partitions: int, config: Mapping[str, str], replicas: int, deadline: Deadline) -> bool:
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=replicas, config=dict(config))
        while True:
            future = self._client.create_topics([wanted], operation_timeout=max(0.2, deadline.slice(CALL)))[topic]
            try:
                future.result(timeout=max(0.2, deadline.slice(2 * CALL)))
            except (KafkaException, TimeoutError) as failure:
                error = error_of(failure)
                if error is not None and error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return False
                if error is not None and error.code() not in NOT_NOW:
                    by_hand = "; create it, or give the app the right to" if error.code() in NOT_ALLOWED else ""
                    raise TopologyInvalid(f"topic {topic} cannot be created: {_text(failure)}{by_hand}") from failure
                self._try_on(failure, deadline, f"topic {topic} was not created")
                continue
            return True

    def delete(self, topic: str, deadline: Deadline) -> bool:
        """Delete the topic; False when there is none. Raises TopologyInvalid: it is refused. Raises BrokerUnreachable."""
        done = self._change(
            lambda: self._client.delete_topics([topic], operation_timeout=max(0.2, deadline.slice(CALL)))[topic],
            deadline,
            f"topic {topic} cannot be deleted",
            gone=KafkaError.UNKNOWN_TOPIC_OR_PART,
        )
        while done and topic in self._topics(deadline):  # it is answered before every broker has heard of it
            if deadline.passed:
                raise BrokerUnreachable(f"{self._broker}: topic {topic} is deleted and still there")
            self._client.poll(PAUSE)
        return done

    def grow(self, topic: str, partitions: int, deadline: Deadline) -> None:
        """Give the topic so many partitions, more than it has. Raises TopologyInvalid: it is refused. Raises BrokerUnreachable."""
        wanted = NewPartitions(topic, partitions)
        self._change(
            lambda: self._client.create_partitions([wanted], operation_timeout=max(0.2, deadline.slice(CALL)))[topic],
            deadline,
            f"topic {topic} cannot get {partitions} partitions",
        )

    def configure(self, topic: str, config: Mapping[str, str], deadline: Deadline) -> None:
        """Change these settings of the topic, and no others. Raises TopologyInvalid: it is refused. Raises BrokerUnreachable."""
        entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self._change(
            lambda: self._client.incremental_alter_configs([resource], request_timeout=max(0.2, deadline.slice(CALL)))[resource],
            deadline,
            f"settings of topic {topic} cannot be changed",
        )

    def _change(self, ask: Callable[[], Any], deadline: Deadline, refused: str, *, gone: int | None = None) -> bool:
        """Ask for a change until it is made; False where the topic is `gone`."""
        while True:
            try:
                ask().result(timeout=max(0.2, deadline.slice(2 * CALL)))
            except (KafkaException, TimeoutError) as failure:
                error = error_of(failure)
                if error is not None and gone is not None and error.code() == gone:
                    return False
                if error is not None and error.code() not in NOT_NOW:
                    raise TopologyInvalid(f"{refused}: {_text(failure)}") from failure
                self._try_on(failure, deadline, refused)
                continue
            return True

    def topic_ids(self, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
        def ask(left: list[str]) -> Mapping[str, Any]:
            return self._client.describe_topics(TopicCollection(left), request_timeout=max(0.2, deadline.slice(CALL)))

        described = self._each(topics, ask, deadline, "its id")
        return {topic: str(answer.topic_id) for topic, answer in described.items() if answer is not None}

    def topic_configs(self, topics: Sequence[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        def ask(left: list[str]) -> Mapping[str, Any]:
            resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in left]
            answers = self._client.describe_configs(resources, request_timeout=max(0.2, deadline.slice(CALL)))
            return {resource.name: answer for resource, answer in answers.items()}

        described = self._each(topics, ask, deadline, "its settings", may_be_hidden=True)
        return {
            topic: {name: entry.value for name, entry in entries.items() if entry.value is not None}
            for topic, entries in described.items()
            if entries is not None
        }

    def _each(
        self,
        topics: Sequence[str],
        ask: Callable[[list[str]], Mapping[str, Any]],
        deadline: Deadline,
        what: str,
        *,
        may_be_hidden: bool = False,
    ) -> dict[str, Any]:
        """Return each topic's answer, asking again for those that had none; None where `may_be_hidden` and we may not see it."""
        found: dict[str, Any] = {}
        while left := [topic for topic in dict.fromkeys(topics) if topic not in found]:
            refused: Exception | None = None
            for topic, answer in ask(left).items():
                try:
                    found[topic] = answer.result(timeout=max(0.2, deadline.slice(2 * CALL)))
                except (KafkaException, TimeoutError) as failure:
                    error = error_of(failure)
                    if error is not None and error.code() in NOT_ALLOWED:
                        if not may_be_hidden:
                            raise TopologyInvalid(f"topic {topic}: {what} may not be read: {_text(failure)}") from failure
                        found[topic] = None
                    refused = failure
            if refused is not None and len(found) < len(set(topics)):
                self._try_on(refused, deadline, f"topic {left[0]}: {what} could not be read")
        return found

    def _try_on(self, failure: Exception, deadline: Deadline, what: str) -> None:
        """Wait a moment before the next try. Raises BrokerUnreachable: the time is over."""
        if deadline.passed:
            raise BrokerUnreachable(f"{self._broker}: {what}: {_text(failure)}") from failure
        self._client.poll(min(PAUSE, deadline.left))


def _text(failure: Exception) -> str:
    error = error_of(failure)
    return f"{error.name()}: {error.str()}" if error is not None else str(failure) or "no answer in time"
