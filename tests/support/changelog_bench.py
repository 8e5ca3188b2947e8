"""A changelog on the real broker, written to by transactions, and a restorer for it."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamapp.clock import Deadline
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.changelog import KafkaChangelogReader
from streamapp.ports import ChangelogReader, Store
from streamapp.records import Partition
from streamapp.state.budget import RocksBudget
from streamapp.state.recovery import Restorer
from streamapp.state.restore import RestoreOutcome, RestoreProgress, RestoreTask
from streamapp.state.rocksdb import RocksStores
from streamapp.state.stores import Stores
from tests.support.topics import create_topic, wait_until, watermarks

Writes = Mapping[bytes, bytes | None]

TOPIC = {
    "cleanup.policy": "compact,delete",  # the engine's are `compact`, of which the broker deletes no records on request
    "retention.ms": "-1",
    "message.timestamp.type": "LogAppendTime",
}

READER: dict[str, object] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "fetch.queue.backoff.ms": 20,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.max.bytes": 4_194_304,
    "reconnect.backoff.max.ms": 500,
}


class Changelog:
    """One changelog topic of two partitions, the stores of its table, and a running restorer."""

    def __init__(self, bootstrap: str, data_dir: Path) -> None:
        self.bootstrap = bootstrap
        self.data_dir = data_dir
        self.topic = f"shop-totals-changelog-{uuid4().hex[:8]}"
        self.producers: list[Producer] = []
        self.outcomes: queue.Queue[RestoreOutcome] = queue.Queue()
        self.stores = Stores("shop", RocksStores(data_dir, RocksBudget(16 * 1024 * 1024)))
        self.restorer = Restorer(self.reader)
        self.create()
        self.restorer.start()

    def create(self) -> None:
        create_topic(self.bootstrap, self.topic, 2, TOPIC)
        self.topic_id = KafkaAdmin(self.admin_config).topic_ids([self.topic], Deadline.after(20))[self.topic]

    @property
    def admin_config(self) -> dict[str, object]:
        return {"bootstrap.servers": self.bootstrap}

    def reader(self) -> ChangelogReader:
        shared = READER | {"bootstrap.servers": self.bootstrap, "group.id": f"g-{uuid4()}"}
        return KafkaChangelogReader(shared, shared | {"isolation.level": "read_uncommitted"})

    def partition(self, number: int = 0) -> Partition:
        return Partition(self.topic, number)

    def producer(self) -> Producer:
        """Return a producer with a transaction begun."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "transactional.id": f"t-{uuid4()}",
                "linger.ms": 5,
                "compression.type": "lz4",
                "logger": logging.getLogger("tests.librdkafka"),
            }
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        self.producers.append(producer)
        return producer

    def send(self, producer: Producer, writes: Writes, number: int = 0) -> None:
        """Have `writes` in the log, undecided."""
        for key, value in writes.items():
            while True:
                try:
                    producer.produce(self.topic, key=key, value=value, partition=number)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(30) == 0

    def commit(self, writes: Writes, number: int = 0, *, settle: bool = True) -> None:
        producer = self.producer()
        self.send(producer, writes, number)
        producer.commit_transaction(30)
        if settle:
            self.settle(number)

    def settle(self, number: int = 0) -> None:
        """Return when no transaction is open in the partition: a commit is answered before its markers are written."""

        def settled() -> bool:
            stable, high = watermarks(self.bootstrap, [self.topic])[self.topic, number]
            return stable == high

        wait_until(settled, every=0.01, why=lambda: f"a transaction is open in {self.partition(number)}")

    def abort(self, writes: Writes, number: int = 0) -> None:
        producer = self.producer()
        self.send(producer, writes, number)
        producer.abort_transaction(30)
        self.settle(number)

    def delete_records(self, before: int, number: int = 0) -> None:
        row = TopicPartition(self.topic, number, before)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # named: dropped earlier, it would never answer
        for answer in admin.delete_records([row], request_timeout=20).values():
            answer.result(20)

    def begin(self, number: int = 0, topic_id: str | None = None) -> RestoreTask:
        changelog_id = topic_id or self.topic_id
        task = RestoreTask(
            changelog=self.partition(number),
            open=lambda: self.stores.open("totals", number, changelog_id),
            delete_retention=86_400.0,
        )
        self.restorer.restore(task, self.outcomes.put)
        return task

    def outcome(self) -> RestoreOutcome:
        return self.outcomes.get(timeout=60)

    def restore(self, number: int = 0, topic_id: str | None = None) -> RestoreOutcome:
        self.begin(number, topic_id)
        return self.outcome()

    def store(self, number: int = 0) -> Store:
        return self.stores.open("totals", number, self.topic_id).store

    def content(self, number: int = 0) -> dict[bytes, bytes]:
        return dict(self.store(number).items())

    def until(self, what: Callable[[RestoreProgress], bool]) -> RestoreProgress:
        found: list[RestoreProgress] = []

        def look() -> bool:
            found[:] = [progress for progress in self.restorer.progress() if what(progress)]
            return bool(found)

        wait_until(look, every=0.01, why=lambda: str(self.restorer.progress()))
        return found[0]

    def close(self) -> None:
        self.restorer.stop()
        self.stores.close_all()
        for producer in self.producers:
            with suppress(KafkaException):
                producer.abort_transaction(5)
