"""What `streamapp verify` and `streamapp dlq` read of a cluster: by clients that join no group and commit nothing, made for it and dropped."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, DeadlinePassed
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka import client_config
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.changelog import FETCH_WAIT
from streamapp.kafka.failures import error_of, options_checked
from streamapp.kafka.members import Membership, membership, offsets_retention
from streamapp.kafka.offsets import KafkaOffsets
from streamapp.kafka.transactions import CoordinatedTransaction, OpenProducer, coordinated, open_producers
from streamapp.records import Partition
from streamapp.settings import Settings

NAME: Final = "verify"
BATCH: Final = 2_000
"""Records handed on at once."""
PREFETCHED_KILOBYTES: Final = 16_384
"""Of records that wait in the client: a bound on memory, and far more than one batch."""
UNDECIDED: Final = 2.0
"""Seconds that the offsets of one partition may take when those of all together were not told: a transaction holds some of them."""

_GONE: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)


class LogChanged(Exception):
    """What is read has gone away under the reader: a topic deleted, records deleted, a right taken."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The cluster's topics and brokers at one moment."""

    leaders: Mapping[Partition, int]
    brokers: Mapping[int, tuple[str, int]]

    def partitions(self, topic: str) -> list[Partition]:
        return sorted(partition for partition in self.leaders if partition.topic == topic)


class Inspector:
    """One thread. `close` it. Calls raise BrokerUnreachable when nothing is answered for `timeout` seconds."""

    def __init__(self, settings: Settings, timeout: float, *, name: str = NAME) -> None:
        """`name`: of the command, in the clients' ids."""
        self._settings = settings
        self._timeout = timeout
        self._name = name
        self._offsets = KafkaOffsets(
            client_config.helper_consumer(settings, name), client_config.watermark_consumer(settings, name)
        )
        config = client_config.reader(settings, name, start="error") | {
            "queued.min.messages": 4 * BATCH,
            "queued.max.messages.kbytes": PREFETCHED_KILOBYTES,
            "fetch.wait.max.ms": round(FETCH_WAIT * 1000),
        }
        try:
            with options_checked():
                self._reader = Consumer(config, logger=logging.getLogger(CLIENT_LOGGER))
        except BaseException:
            self._offsets.close()
            raise

    def layout(self) -> Layout:
        try:
            listing = self._client().list_topics(timeout=self._timeout)
        except KafkaException as failure:
            raise self._silent(failure) from failure
        leaders = {
            Partition(name, number): partition.leader
            for name, topic in listing.topics.items()
            if topic.error is None
            for number, partition in topic.partitions.items()
        }
        return Layout(leaders, {number: (str(broker.host), broker.port) for number, broker in listing.brokers.items()})

    def partitions(self) -> list[Partition]:
        """Return all of the cluster, in order."""
        return sorted(self.layout().leaders)

    def topic_configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the settings of existing topics; those that we may not see are absent."""
        admin = KafkaAdmin(client_config.admin(self._settings, self._name))
        return admin.topic_configs(topics, self._deadline()) if topics else {}

    def membership(self, group: str) -> Membership | None:
        """Return who is in the group; None where that may not be told."""
        return membership(self._client(), group, self._timeout)

    def assigned(self, group: str) -> frozenset[Partition] | None:
        """Return the partitions that the group's members hold now; None where that may not be told."""
        found = self.membership(group)
        return None if found is None else frozenset(each for member in found.members for each in member.partitions)

    def offsets_retention(self, layout: Layout) -> float | None:
        """Return the seconds after which the offsets of an empty group expire; None where that may not be told."""
        broker = min(layout.brokers, default=None)
        return None if broker is None else offsets_retention(self._client(), broker, self._timeout)

    def ends(self, partition: Partition) -> tuple[int, int, int]:
        """Return log start, last stable offset and high watermark; the stable one first, as the end moves on."""
        try:
            stable = self._offsets.last_stable(partition, self._deadline())
            start, high = self._offsets.bounds(partition, self._deadline())
        except DeadlinePassed as failure:
            raise BrokerUnreachable(str(failure)) from failure
        return start, min(stable, high), high

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """Return the group's next offsets, None where it has none; those that an undecided transaction holds are absent."""
        try:
            return self._committed(partitions, Deadline.after(min(UNDECIDED, self._timeout)))
        except DeadlinePassed:
            found: dict[Partition, int | None] = {}
            for partition in partitions:
                try:
                    found.update(self._committed([partition], Deadline.after(0.5)))
                except DeadlinePassed:
                    continue
            return found

    def _committed(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, int | None]:
        return {where: answer.offset for where, answer in self._offsets.committed(partitions, deadline).items()}

    def read(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[tuple[list[Message], int]]:
        """Yield batches of visible records of each range of offsets, with the positions passed since the last batch.

        Each end has to be stable. Raises LogChanged.
        """
        left = {partition: [start, end] for partition, (start, end) in ranges.items() if start < end}
        self._reader.incremental_assign([TopicPartition(each.topic, each.number, start) for each, (start, _) in left.items()])
        try:
            heard = time.monotonic()
            while left:
                messages = self._poll()
                before = sum(start for start, _ in left.values())
                ended = self._advance(left, messages)
                passed = sum(start for start, _ in left.values()) - before
                if passed:
                    inside = [each for each in messages if each.error() is None and _place(each) in left]
                    yield [each for each in inside if cast("int", each.offset()) < left[_place(each)][1]], passed
                    self._forget(left, ended)
                    heard = time.monotonic()
                elif time.monotonic() - heard > self._timeout:
                    names = ", ".join(map(str, sorted(left)))
                    raise BrokerUnreachable(f"{names}: no records for {self._timeout:g} s; {self._address}")
        finally:
            self._forget(left, list(left))

    def owners(self, layout: Layout, partitions: Iterable[Partition]) -> dict[Partition, list[OpenProducer]]:
        """Return the producers with a transaction open, the oldest first; partitions whose leader does not tell are absent."""
        found: dict[Partition, list[OpenProducer]] = {}
        by_leader: dict[int, list[Partition]] = {}
        for partition in partitions:
            by_leader.setdefault(layout.leaders[partition], []).append(partition)
        for leader, led in by_leader.items():
            if leader in layout.brokers and self._is_plain:
                try:
                    found.update(open_producers(layout.brokers[leader], led, self._timeout))
                except OSError:
                    continue  # unknown is an answer here
        return found

    def transactions(self, layout: Layout, producer_ids: Iterable[int]) -> dict[int, CoordinatedTransaction]:
        """Return what coordinators tell of these producers."""
        if not self._is_plain:
            return {}
        try:
            return coordinated(list(layout.brokers.values()), producer_ids, self._timeout)
        except OSError:
            return {}

    def close(self) -> None:
        self._reader.close()
        self._offsets.close()

    @property
    def _is_plain(self) -> bool:
        return self._settings.broker.security_protocol == "plaintext"

    @property
    def _address(self) -> str:
        return self._settings.broker.broker

    def _client(self) -> AdminClient:
        with options_checked():
            return AdminClient(dict(client_config.admin(self._settings, self._name)), logger=logging.getLogger(CLIENT_LOGGER))

    def _deadline(self) -> Deadline:
        return Deadline.after(self._timeout)

    def _poll(self) -> list[Message]:
        # As in kafka/changelog.py: consume() alone would wait until its batch is full.
        try:
            first = self._reader.poll(0.2)
            return [] if first is None else [first, *self._reader.consume(BATCH - 1, timeout=0)]
        except KafkaException as failure:
            raise self._silent(failure) from failure

    @staticmethod
    def _advance(left: dict[Partition, list[int]], messages: Iterable[Message]) -> list[Partition]:
        """Move the positions on, none beyond its end; return those that have reached it."""
        for message in messages:
            error = message.error()
            if error is not None and error.code() in _GONE:
                raise LogChanged(f"{message.topic()}/{message.partition()}: {error.str()}")
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                continue  # the client heals it, or the silence tells
            if (place := left.get(_place(message))) is not None:
                position = cast("int", message.offset()) + (error is None)
                place[0] = max(place[0], min(position, place[1]))
        return [partition for partition, (position, end) in left.items() if position >= end]

    def _forget(self, left: dict[Partition, list[int]], ended: Iterable[Partition]) -> None:
        rows = [TopicPartition(partition.topic, partition.number) for partition in ended]
        for partition in ended:
            del left[partition]
        if rows:
            self._reader.incremental_unassign(rows)

    def _silent(self, failure: KafkaException) -> BrokerUnreachable:
        error = error_of(failure)
        return BrokerUnreachable(f"{self._address}: {error.str() if error is not None else failure}")


def _place(message: Message) -> Partition:
    return Partition(cast("str", message.topic()), cast("int", message.partition()))


__all__ = ["Inspector", "Layout", "LogChanged"]
