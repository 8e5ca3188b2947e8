"""What a worker asks of the cluster before it starts, by a client made for it and dropped (DESIGN rule 19)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]  # re-exported without __all__

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, TopologyInvalid
from streamapp.kafka.failures import error_of

CALL = 5.0
"""Longest single call, in seconds."""


class KafkaAdmin:
    """An Admin on confluent_kafka."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._client = AdminClient(dict(config))  # type: ignore[arg-type]  # callables and numbers are taken too
        self._broker = str(config.get("bootstrap.servers", ""))

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        known = self._topics(deadline)
        return {topic: known[topic] for topic in topics if topic in known}

    def _topics(self, deadline: Deadline) -> dict[str, int]:
        while True:
            try:
                listing = self._client.list_topics(timeout=max(0.2, deadline.slice(CALL)))
            except KafkaException as failure:
                if deadline.passed:
                    raise BrokerUnreachable(f"{self._broker}: no broker answered: {_text(failure)}") from failure
                continue
            return {name: len(topic.partitions) for name, topic in listing.topics.items() if topic.error is None}

    def create(self, topic: str, partitions: int, config: Mapping[str, str], replicas: int, deadline: Deadline) -> None:
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=replicas, config=dict(config))
        while True:
            future = self._client.create_topics([wanted], operation_timeout=max(0.2, deadline.slice(CALL)))[topic]
            try:
                future.result(timeout=max(0.2, deadline.slice(2 * CALL)))
            except KafkaException as failure:
                error = error_of(failure)
                if error is not None and error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return
                if error is not None and error.retriable() and not deadline.passed:
                    continue
                raise TopologyInvalid(f"topic {topic} cannot be created: {_text(failure)}") from failure
            except TimeoutError:
                if deadline.passed:
                    raise BrokerUnreachable(f"{self._broker}: creating topic {topic} was not answered") from None
                continue
            return

    def topic_ids(self, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
        found: dict[str, str] = {}
        while left := [topic for topic in topics if topic not in found]:
            answers = self._client.describe_topics(TopicCollection(left), request_timeout=max(0.2, deadline.slice(CALL)))
            for topic, answer in answers.items():
                try:
                    found[topic] = str(answer.result(timeout=max(0.2, deadline.left)).topic_id)
                except (KafkaException, TimeoutError) as failure:  # one that was created just now is not known everywhere
                    if deadline.passed:
                        raise BrokerUnreachable(f"topic {topic} was created and does not appear: {failure}") from failure
                    self._client.poll(0.05)
        return found

    def topic_configs(self, topics: Sequence[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        """Return the effective settings of these topics; a topic whose settings may not be read is absent."""
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
        found: dict[str, dict[str, str]] = {}
        for resource, answer in self._client.describe_configs(resources, request_timeout=max(0.2, deadline.slice(CALL))).items():
            with contextlib.suppress(KafkaException, TimeoutError):
                entries = answer.result(timeout=deadline.left)
                found[resource.name] = {name: entry.value for name, entry in entries.items() if entry.value is not None}
        return found


def _text(failure: KafkaException) -> str:
    error = error_of(failure)
    return f"{error.name()}: {error.str()}" if error is not None else str(failure)
