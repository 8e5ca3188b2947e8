"""One face for two Kafkas, the broker and the one in memory, so that each conformance test is written once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from uuid import uuid4

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamapp.clock import Deadline
from streamapp.kafka import client_config
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.changelog import KafkaChangelogReader
from streamapp.kafka.client_config import Assignor
from streamapp.kafka.follower import KafkaFollower
from streamapp.kafka.offsets import KafkaOffsets
from streamapp.kafka.producer import KafkaProducer
from streamapp.kafka.source import KafkaSource
from streamapp.kafka.watermarks import KafkaWatermarks
from streamapp.ports import (
    Admin,
    ChangelogBatch,
    ChangelogReader,
    Fetched,
    GroupMetadata,
    OffsetReader,
    PartitionSource,
    SourceListener,
    TopicFollower,
    Watermarks,
)
from streamapp.records import Headers, Outgoing, Partition, RawRecord
from streamapp.settings import Settings, load
from streamapp.testing.memory_kafka import (
    MemoryAdmin,
    MemoryChangelogReader,
    MemoryFollower,
    MemoryHost,
    MemoryKafka,
    MemoryOffsets,
    MemoryProducer,
    MemorySource,
    MemoryWatermarks,
)
from tests.support.coordinator import open_transactions
from tests.support.topic_reader import read_topics
from tests.support.topics import PATIENCE, create_topic, delete_topics, wait_until

T = TypeVar("T")

SESSION = 3.0
"""Seconds of a member's session at the broker."""
TRANSACTION = 1.0
"""Seconds of the timeout of a transaction that is meant to time out at the broker."""


class AnyProducer(Protocol):
    """A TransactionalProducer that can also be initialised."""

    @property
    def suspect(self) -> bool: ...
    @property
    def resumed(self) -> bool: ...
    def init_transactions(self, deadline: Deadline) -> None: ...
    def begin(self) -> None: ...
    def produce(self, record: Outgoing, on_delivery: Callable[[int], None] | None = None) -> bool: ...
    def produce_changelog(
        self, partition: Partition, writes: Mapping[bytes, bytes | None], on_end: Callable[[int], None], deadline: Deadline
    ) -> None: ...
    def serve(self) -> None: ...
    def wait(self, seconds: float) -> None: ...
    def flush(self, deadline: Deadline) -> None: ...
    def send_offsets(self, offsets: Mapping[Partition, tuple[int, str]], group: GroupMetadata, deadline: Deadline) -> None: ...
    def commit(self, deadline: Deadline) -> None: ...
    def abort(self, deadline: Deadline) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as a reader sees it."""

    offset: int
    key: bytes | None
    value: bytes | None


class Kafka(Protocol):
    """What the conformance tests ask of either."""

    group: str

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic of the test's own and return its name."""
        ...

    def drop_topic(self, topic: str) -> None: ...
    def producer(self, name: str, *, init: bool = True, timeout: float = 30.0) -> AnyProducer: ...
    def left_open(self, name: str) -> bool:
        """Return whether the coordinator has a transaction of that producer that is not settled."""
        ...

    def idempotent(self, name: str) -> AnyProducer: ...
    def source(
        self, worker: str, topics: Sequence[str], listener: SourceListener, *, is_eager: bool = False
    ) -> PartitionSource: ...
    def offsets(self) -> OffsetReader: ...
    def watermarks(self) -> Watermarks: ...
    def changelogs(self) -> ChangelogReader: ...
    def follower(self) -> TopicFollower: ...
    def admin(self) -> Admin: ...
    def feed(self, topic: str, partition: int, *values: bytes | None, key: bytes | None = None) -> None: ...
    def seen(self, topic: str, partition: int = 0, *, committed_only: bool = True) -> list[Seen]: ...
    def delete_records(self, topic: str, partition: int, before: int) -> None: ...
    def compact(self, topic: str, until: Callable[[], bool]) -> None:
        """Have the log cleaner run until `until()`."""
        ...

    def expire_session(self, worker: str) -> None:
        """End the session of a member that has stopped."""
        ...

    def time_out(self, topic: str, partition: int = 0) -> None:
        """Return once the broker has aborted the transaction that is open there, for its timeout (TRANSACTION)."""
        ...

    def close(self) -> None: ...


@dataclass
class _Closing:
    """Closes in reverse order what was made."""

    made: list[Callable[[], object]] = field(default_factory=list)

    def later(self, close: Callable[[], object]) -> None:
        self.made.append(close)

    def now(self) -> None:
        for close in reversed(self.made):
            with contextlib.suppress(Exception):  # a test may have closed it
                close()


class BrokerKafka:
    """The clients of the engine, on a real broker."""

    def __init__(self, bootstrap: str) -> None:
        self.group = f"conform-{uuid4().hex[:10]}"
        self._bootstrap = bootstrap
        self._closing = _Closing()

    def _settings(self, worker: str, **settings: object) -> Settings:
        return load(
            {
                "app_id": self.group,
                "worker_id": worker,
                "broker": self._bootstrap,
                "producer_linger": 0.0,
                "session_timeout": SESSION,
                "max_poll_interval": 30.0,
                "consumer_options": {"fetch.wait.max.ms": 20},
                **settings,
            },
            {},
            {},
        )

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        whole = f"{self.group}-{name}"
        create_topic(self._bootstrap, whole, partitions, {key.replace("_", "."): value for key, value in config.items()})
        return whole

    def drop_topic(self, topic: str) -> None:
        delete_topics(self._bootstrap, [topic])

    def producer(self, name: str, *, init: bool = True, timeout: float = 30.0) -> AnyProducer:
        settings = self._settings(name, transaction_timeout=timeout, commit_interval=0.1)
        made = KafkaProducer(client_config.transactional_producer(settings, name), transactional=True)
        self._closing.later(made.close)
        if init:
            made.init_transactions(Deadline.after(PATIENCE))
        return made

    def left_open(self, name: str) -> bool:
        return bool(open_transactions(self._bootstrap, [client_config.transactional_id(self._settings(name), name)]))

    def idempotent(self, name: str) -> AnyProducer:
        made = KafkaProducer(client_config.idempotent_producer(self._settings(name), name), transactional=False)
        self._closing.later(made.close)
        return made

    def source(self, worker: str, topics: Sequence[str], listener: SourceListener, *, is_eager: bool = False) -> PartitionSource:
        assignor = Assignor.RANGE if is_eager else Assignor.COOPERATIVE_STICKY
        made = KafkaSource(
            "+".join(topics),
            topics,
            client_config.source_consumer(self._settings(worker), worker, "set", assignor),
            listener,
            incremental=not is_eager,
            lane_bound=1000,
            total_bound=10_000,
            revoke_budget=10.0,
        )
        self._closing.later(lambda: made.stop(Deadline.after(10.0)))
        return made

    def offsets(self) -> OffsetReader:
        settings = self._settings("looker")
        made = KafkaOffsets(
            client_config.helper_consumer(settings, "looker"), client_config.watermark_consumer(settings, "looker")
        )
        self._closing.later(made.close)
        return made

    def watermarks(self) -> Watermarks:
        settings = self._settings("looker")
        made = KafkaWatermarks(
            client_config.watermark_consumer(settings, "looker", isolation=client_config.Isolation.READ_COMMITTED),
            client_config.watermark_consumer(settings, "looker"),
        )
        self._closing.later(made.close)
        return made

    def changelogs(self) -> ChangelogReader:
        settings = self._settings("looker")
        made = KafkaChangelogReader(
            client_config.changelog_consumer(settings, "looker"), client_config.watermark_consumer(settings, "looker")
        )
        self._closing.later(made.close)
        return made

    def follower(self) -> TopicFollower:
        made = KafkaFollower(client_config.follower(self._settings("looker"), "looker"))
        self._closing.later(made.close)
        return made

    def admin(self) -> Admin:
        return KafkaAdmin(client_config.admin(self._settings("looker")))

    def feed(self, topic: str, partition: int, *values: bytes | None, key: bytes | None = None) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 0, "log_level": 0})
        for value in values:
            producer.produce(topic, value, key, partition)
        assert producer.flush(PATIENCE) == 0

    def seen(self, topic: str, partition: int = 0, *, committed_only: bool = True) -> list[Seen]:
        found = read_topics(self._bootstrap, [topic], committed_only=committed_only)[topic]
        return [Seen(record.offset, record.key, record.value) for record in found.get(partition, [])]

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        for gone in admin.delete_records([TopicPartition(topic, partition, before)]).values():
            gone.result(PATIENCE)

    def compact(self, topic: str, until: Callable[[], bool]) -> None:
        def cleaned() -> bool:
            self.feed(topic, 0, b"", key=b"roll")  # a segment is rolled by what follows it, and only a rolled one is cleaned
            return until()

        wait_until(cleaned, deadline=PATIENCE, why=lambda: f"{topic} was not compacted", every=0.2)

    def expire_session(self, worker: str) -> None:
        """The coordinator does it; whoever waits for what follows waits out SESSION."""

    def time_out(self, topic: str, partition: int = 0) -> None:
        """Return once the broker has done so: it looks twice a second."""
        offsets = self.offsets()
        where = Partition(topic, partition)

        def over() -> bool:
            deadline = Deadline.after(5.0)
            return offsets.last_stable(where, deadline) == offsets.bounds(where, deadline)[1]

        wait_until(over, deadline=PATIENCE, why=lambda: "the transaction did not time out")

    def close(self) -> None:
        self._closing.now()


class InMemoryKafka:
    """The clients of streamapp.testing.memory_kafka."""

    def __init__(self) -> None:
        self.group = "conform"
        self.kafka = MemoryKafka()
        self._closing = _Closing()

    def _host(self, name: str) -> MemoryHost:
        return MemoryHost(self.kafka, name)

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        self.kafka.create_topic(name, partitions, {key.replace("_", "."): value for key, value in config.items()})
        return name

    def drop_topic(self, topic: str) -> None:
        self.kafka.delete_topic(topic)

    def producer(self, name: str, *, init: bool = True, timeout: float = 30.0) -> AnyProducer:
        made = MemoryProducer(self._host(name), name, transaction_timeout=timeout)
        if init:
            made.init_transactions(Deadline.after(PATIENCE))
        return made

    def left_open(self, name: str) -> bool:
        return name in self.kafka.open_transactions()

    def idempotent(self, name: str) -> AnyProducer:
        return MemoryProducer(self._host(name))

    def source(self, worker: str, topics: Sequence[str], listener: SourceListener, *, is_eager: bool = False) -> PartitionSource:
        made = MemorySource(self._host(worker), self.group, topics, listener, instance=worker, is_eager=is_eager)
        self._closing.later(lambda: made.stop(Deadline.after(10.0)))
        return made

    def offsets(self) -> OffsetReader:
        return MemoryOffsets(self._host("looker"), self.group)

    def watermarks(self) -> Watermarks:
        return MemoryWatermarks(self._host("looker"))

    def changelogs(self) -> ChangelogReader:
        return MemoryChangelogReader(self._host("looker"))

    def follower(self) -> TopicFollower:
        return MemoryFollower(self._host("looker"))

    def admin(self) -> Admin:
        return MemoryAdmin(self._host("looker"))

    def feed(self, topic: str, partition: int, *values: bytes | None, key: bytes | None = None) -> None:
        self.kafka.feed(topic, partition, *values, key=key)

    def seen(self, topic: str, partition: int = 0, *, committed_only: bool = True) -> list[Seen]:
        found = self.kafka.records(topic, partition, committed_only=committed_only)
        return [Seen(record.offset(), record.key(), record.value()) for record in found]

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        self.kafka.delete_records(topic, partition, before)

    def compact(self, topic: str, until: Callable[[], bool]) -> None:
        self.kafka.feed(topic, 0, b"", key=b"roll")
        self.kafka.compact(topic, 0)
        assert until()

    def expire_session(self, worker: str) -> None:
        self.kafka.expire_session(self.group, worker)

    def time_out(self, topic: str, partition: int = 0) -> None:
        self.kafka.advance(TRANSACTION)

    def close(self) -> None:
        self._closing.now()


@pytest.fixture(params=["memory", "broker"])
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A Kafka with topics, group and ids of the test's own: first the one in memory, then the broker."""
    made: Kafka = InMemoryKafka() if request.param == "memory" else BrokerKafka(request.getfixturevalue("bootstrap"))
    yield made
    made.close()


# --- a member that tests look at


@dataclass
class Heard:
    """A SourceListener that writes down what it is told, in order, and gives back at once unless `holds`."""

    told: list[tuple[str, list[int]]] = field(default_factory=list)
    """What happened, with the partitions' numbers."""
    numbers: dict[int, list[int]] = field(default_factory=dict)
    """The lane numbers that each partition had, in order."""
    records: dict[int, list[RawRecord]] = field(default_factory=dict)
    under: dict[int, list[int]] = field(default_factory=dict)
    """The lane number of each record."""
    ends: dict[int, list[int]] = field(default_factory=dict)
    strays: list[int] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    holds: bool = False
    held: list[Future[None]] = field(default_factory=list)

    def assigned(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None:
        self._number(numbers)
        self.told.append(("assigned", sorted(where.number for where in numbers)))

    def revoking(self, source: PartitionSource, partitions: Sequence[Partition]) -> Future[None]:
        self.told.append(("revoking", sorted(where.number for where in partitions)))
        done: Future[None] = Future()
        if self.holds:
            self.held.append(done)
        else:
            done.set_result(None)
        return done

    def revoked(self, source: PartitionSource, partitions: Sequence[Partition]) -> None:
        self.told.append(("revoked", sorted(where.number for where in partitions)))

    def lost(self, source: PartitionSource, partitions: Sequence[Partition]) -> None:
        self.told.append(("lost", sorted(where.number for where in partitions)))

    def numbered(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None:
        self._number(numbers)

    def fetched(self, source: PartitionSource, batches: Sequence[Fetched]) -> None:
        for batch in batches:
            at = batch.partition.number
            self.records.setdefault(at, []).extend(batch.records)
            self.under.setdefault(at, []).extend([batch.number] * len(batch.records))
            if batch.end is not None:
                self.ends.setdefault(at, []).append(batch.end)

    def waiting(self) -> int:
        return 0

    def crowded(self, partition: Partition) -> int:
        return 0

    def out_of_range(self, source: PartitionSource, partition: Partition) -> None:
        self.strays.append(partition.number)

    def broken(self, source: PartitionSource, failure: Exception) -> None:
        self.failures.append(failure)

    # --- what tests ask

    @property
    def holding(self) -> set[int]:
        """Return the partitions that it has by now."""
        held: set[int] = set()
        for what, partitions in list(self.told):
            if what == "assigned":
                held.update(partitions)
            elif what in ("revoked", "lost"):
                held.difference_update(partitions)
        return held

    @property
    def shares(self) -> int:
        """Return how often the group has given it a share, an empty or unchanged one too: once in each round of a rebalance."""
        return [what for what, _ in self.told].count("assigned")

    def values(self, partition: int = 0) -> list[bytes | None]:
        return [record.value() for record in self.records.get(partition, [])]

    def _number(self, numbers: Mapping[Partition, int]) -> None:
        for where, number in numbers.items():
            self.numbers.setdefault(where.number, []).append(number)


@contextlib.contextmanager
def member(kafka: Kafka, worker: str, topic: str, *, partitions: int = 1) -> Iterator[tuple[PartitionSource, Heard]]:
    """A member that has joined and holds `partitions` partitions."""
    heard = Heard()
    source = kafka.source(worker, [topic], heard)
    source.start()
    try:
        settle(lambda: len(heard.holding) == partitions, heard)
        yield source, heard
    finally:
        source.stop(Deadline.after(10.0))


def settle(what: Callable[[], object], heard: Heard | None = None) -> None:
    """Wait until `what()`."""
    wait_until(lambda: bool(what()), deadline=PATIENCE, why=lambda: repr(heard), every=0.005)


def read_until(reader: ChangelogReader, partition: Partition, what: Callable[[ChangelogBatch], bool]) -> ChangelogBatch:
    """Read on until `what` holds of all that came of `partition`, put together."""
    whole = ChangelogBatch(writes={}, records=0, position=-1, at_end=False, truncated=False)
    end = time.monotonic() + PATIENCE
    while not what(whole):
        assert time.monotonic() < end, whole
        batch = reader.read(0.1).get(partition)
        if batch is not None:
            whole.writes.update(batch.writes)
            whole.records += batch.records
            whole.position, whole.at_end = batch.position, batch.at_end
            whole.truncated = whole.truncated or batch.truncated
    return whole


def record(
    topic: str, value: bytes | None, key: bytes | None = None, partition: int = 0, headers: Headers | None = None
) -> Outgoing:
    return (topic, value, key, partition, 0, headers or [])


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(seconds)
