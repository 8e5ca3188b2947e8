"""What the doctor asks of a cluster: by clients that join no group and commit nothing, made for it and dropped (DESIGN rule 19)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AclOperation,
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, NotAllowed
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka import client_config
from streamapp.kafka.admin import NOT_ALLOWED, KafkaAdmin
from streamapp.kafka.cluster_wire import clock_ahead, newest_metadata_version
from streamapp.kafka.failures import error_of, options_checked
from streamapp.kafka.wire import Access, Address, NotTold, access_of
from streamapp.records import Partition
from streamapp.settings import Settings

T = TypeVar("T")

NAME: Final = "doctor"
_REFUSED: Final = NOT_ALLOWED | {KafkaError.GROUP_AUTHORIZATION_FAILED}


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """A topic as it exists."""

    partitions: int
    replicas: int
    """Of the partition that has fewest."""


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """One member of a group."""

    id: str
    client_id: str
    instance_id: str | None
    host: str
    assigned: frozenset[Partition]


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A group as its coordinator describes it."""

    state: str
    assignor: str
    members: tuple[MemberSeen, ...]


class _Refused(BrokerUnreachable):
    """The broker answered, and not with what was asked for."""

    def __init__(self, message: str, code: int, told: str) -> None:
        super().__init__(message)
        self.code = code
        self.told = told


class Examiner:
    """One thread. `close` it. Calls raise BrokerUnreachable: no answer in time, and NotAllowed: this user lacks a right."""

    def __init__(self, settings: Settings, timeout: float, *, name: str = NAME) -> None:
        self._settings = settings
        self._timeout = timeout
        self._name = name
        with options_checked():
            self._client = AdminClient(dict(client_config.admin(settings, name)), logger=logging.getLogger(CLIENT_LOGGER))
        self._consumer: Consumer | None = None

    # --- the cluster

    def layout(self) -> tuple[dict[int, Address], dict[str, TopicSeen]]:
        """Return brokers and topics."""
        try:
            listing = self._client.list_topics(timeout=self._timeout)
        except KafkaException as failure:
            raise self._translated(failure, "which topics there are") from failure
        topics = {
            name: TopicSeen(len(topic.partitions), min(len(partition.replicas) for partition in topic.partitions.values()))
            for name, topic in listing.topics.items()
            if topic.error is None and topic.partitions
        }
        return {number: (str(broker.host), broker.port) for number, broker in listing.brokers.items()}, topics

    def topic_configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the settings of existing topics; those that we may not see are absent."""
        admin = KafkaAdmin(client_config.admin(self._settings, self._name))
        return admin.topic_configs(topics, Deadline.after(self._timeout)) if topics else {}

    def broker_config(self, broker: int) -> dict[str, str]:
        """Return the settings of one broker."""
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        entries: Mapping[str, Any] = self._answer(
            self._client.describe_configs([resource], request_timeout=self._timeout)[resource], "the broker's settings"
        )
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def metadata_version(self, brokers: Iterable[Address]) -> int:
        """Return the newest metadata.version that every broker knows."""
        return min(self._by_wire(newest_metadata_version, broker) for broker in brokers)

    def clock_ahead(self, broker: Address) -> float:
        """Return the seconds that the controller's clock is ahead of ours."""
        return self._by_wire(clock_ahead, broker)

    def _by_wire(self, ask: Callable[[Address, float, Access], T], broker: Address) -> T:
        try:
            return ask(broker, self._timeout, access_of(self._settings.broker))
        except NotTold as refused:
            raise NotAllowed(str(refused)) from refused
        except OSError as failure:
            raise BrokerUnreachable(f"{broker[0]}:{broker[1]}: {failure}") from failure

    # --- rights

    def may_write(self, topics: Sequence[str]) -> dict[str, bool]:
        """Return whether this user may write to these topics; those of which the broker does not tell are absent."""
        if not topics:
            return {}
        asked = self._client.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=self._timeout
        )
        found: dict[str, bool] = {}
        for topic, answer in asked.items():
            try:
                operations = self._answer(answer, f"what may be done to {topic}").authorized_operations
            except NotAllowed:
                found[topic] = False  # who may not even describe it may not write to it: writing implies it
                continue
            if operations is not None:
                found[topic] = AclOperation.WRITE in operations
        return found

    def why_not_created(self, topic: str, partitions: int, config: Mapping[str, str]) -> str | None:
        """Return why the broker would refuse to create the topic; None: it would. Nothing is created."""
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=-1, config=dict(config))
        try:
            self._answer(
                self._client.create_topics([wanted], validate_only=True, request_timeout=self._timeout)[topic], f"topic {topic}"
            )
        except NotAllowed as refused:
            return str(refused)
        except _Refused as refused:
            return refused.told
        return None

    # --- the group

    def committed(self, group_topics: Mapping[str, int]) -> dict[Partition, int]:
        """Return the group's next offsets on these topics, as last settled; partitions without are absent."""
        rows = [TopicPartition(topic, number) for topic, count in group_topics.items() for number in range(count)]
        if not rows:
            return {}
        deadline = Deadline.after(self._timeout)
        while True:
            try:
                answer = self._reader().committed(rows, timeout=max(0.2, deadline.left))
                failed = next((row.error for row in answer if row.error is not None), None)
                if failed is None:
                    return {Partition(row.topic, row.partition): row.offset for row in answer if row.offset >= 0}
                raise KafkaException(failed)
            except KafkaException as failure:
                error = error_of(failure)
                if deadline.passed or (error is not None and error.code() in _REFUSED):
                    raise self._translated(failure, "committed offsets") from failure
                time.sleep(min(0.05, deadline.left))

    def group(self, group_topics: Mapping[str, int]) -> GroupSeen:
        """Return the app's group; `group_topics`: the topics that it reads, with their partitions.

        The library's call has ended the process while a coordinator was loading. Committed offsets are asked for first: their
        answer waits until the group's coordinator is there.
        """
        self.committed(group_topics or {"__none": 1})
        group = self._settings.identity.app_id
        try:
            told = self._answer(
                self._client.describe_consumer_groups([group], request_timeout=self._timeout)[group], f"group {group}"
            )
        except _Refused as refused:
            # From Kafka 4 on, a group that nobody has joined for long is an error; unknown is an answer here.
            if refused.code == KafkaError.GROUP_ID_NOT_FOUND:
                return GroupSeen("dead", "", ())
            raise
        members = tuple(
            MemberSeen(
                member.member_id,
                member.client_id,
                member.group_instance_id,
                str(member.host).lstrip("/"),
                frozenset(
                    Partition(row.topic, row.partition)
                    for row in (member.assignment.topic_partitions if member.assignment is not None else ())
                ),
            )
            for member in told.members
        )
        return GroupSeen(told.state.name.lower(), str(told.partition_assignor), members)

    # --- logs

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int, int]]:
        """Return log start, last stable offset and high watermark; the stable one before the end, which moves on."""
        # The library's class has no types.
        earliest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        starts = self._offsets(partitions, earliest)
        stable = self._offsets(partitions, latest, committed_only=True)
        high = self._offsets(partitions, latest)
        return {each: (starts[each], stable[each], high[each]) for each in partitions}

    def offsets_at(self, partitions: Sequence[Partition], at: float) -> dict[Partition, int]:
        """Return the first offset whose record is no older than `at` (seconds since 1970); -1: none is."""
        return self._offsets(partitions, OffsetSpec.for_timestamp(round(at * 1000)))

    def _offsets(
        self, partitions: Sequence[Partition], spec: OffsetSpec, *, committed_only: bool = False
    ) -> dict[Partition, int]:
        if not partitions:
            return {}
        level = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
        asked = self._client.list_offsets(
            {TopicPartition(each.topic, each.number): spec for each in partitions},
            isolation_level=level,
            request_timeout=self._timeout,
        )
        return {
            Partition(row.topic, row.partition): self._answer(answer, f"{row.topic}/{row.partition}").offset
            for row, answer in asked.items()
        }

    # --- what they share

    def close(self) -> None:
        """Close it. May be called twice."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            consumer.close()

    def _reader(self) -> Consumer:
        if self._consumer is None:
            with options_checked():
                # What an open transaction decides on is not waited for: it may be a dead predecessor's, which this start is to end.
                config = client_config.helper_consumer(
                    self._settings, self._name, isolation=client_config.Isolation.READ_UNCOMMITTED
                )
                self._consumer = Consumer(dict(config), logger=logging.getLogger(CLIENT_LOGGER))
        return self._consumer

    def _answer(self, future: Future[T], what: str) -> T:
        try:
            return future.result(self._timeout + 1)
        except TimeoutError as failure:
            raise BrokerUnreachable(f"{self._settings.broker.broker}: {what}: no answer in time") from failure
        except KafkaException as failure:
            error = error_of(failure)
            translated = self._translated(failure, what)
            if (
                error is None
                or isinstance(translated, NotAllowed)
                or error.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)
            ):
                raise translated from failure
            raise _Refused(str(translated), error.code(), f"{error.name()}: {error.str()}") from failure

    def _translated(self, failure: KafkaException, what: str) -> NotAllowed | BrokerUnreachable:
        error = error_of(failure)
        if error is not None and error.code() in _REFUSED:
            return NotAllowed(f"{what}: {error.str()}")
        return BrokerUnreachable(f"{self._settings.broker.broker}: {what}: {error.str() if error is not None else failure}")


__all__ = ["Examiner", "GroupSeen", "MemberSeen", "TopicSeen"]
