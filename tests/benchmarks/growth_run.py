"""One measurement of `make growth`: the dedupe job with so many partitions, workers and keys, its cost and its memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.benchmarks.checking import OutputWrong, order_id_of
from tests.benchmarks.workload import Load, some_orders
from tests.support.kafka_records import partition_of
from tests.support.orders import Fed
from tests.support.process_cost import cpu_seconds, peak_rss_bytes
from tests.support.topic_reader import rec_of
from tests.support.topics import Countdown, TookTooLong, bare_consumer, create_topic, delete_topics
from tests.support.workers import FAUST, Worker, Workers

SOURCE: Final = "orders"
OUTPUT: Final = "bench-out"
OUTPUTS: Final = 8
"""Partitions of OUTPUT, whatever the source has."""
COMMAND: Final = (str(FAUST), "-A", "tests.benchmarks.dedupe_app", "worker", "-l", "info")
PATIENCE: Final = 300.0
"""Seconds that a chunk of records, or the restore of ten million keys before it, may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is measured."""

    keys: int = 10_000
    """In the dedupe table before the first record; they come from its changelog."""
    partitions: int = 8
    workers: int = 1
    records: int = 100_000
    """Measured, after as many as `warm_up`."""
    warm_up: int = 20_000
    chunk: int = 100_000
    """Records that become visible at once; memory is sampled behind each."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the workers, by variable, beyond the defaults."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory after so many records, of the largest worker."""

    records: int
    rss_bytes: int


@dataclass(slots=True, kw_only=True)
class Cost:
    """What it came to."""

    shape: Shape
    seconds: float
    cpu_seconds: float
    """Of all workers, from when records became visible to the last commit."""
    ready_seconds: float
    """From the start of the workers to the commit of the warm-up: starting, joining, restoring."""
    peak_rss_bytes: int
    """Of the largest worker, in its whole life."""
    samples: list[Sample] = field(default_factory=list)

    @property
    def microseconds(self) -> float:
        """CPU of a record."""
        return self.cpu_seconds / self.shape.records * 1e6

    @property
    def records_per_second(self) -> float:
        return self.shape.records / self.seconds


def measure(bootstrap: str, home: Path, shape: Shape) -> Cost:
    """Run the dedupe job once. Raises OutputWrong, TookTooLong."""
    app_id = f"growth-{time.time_ns() % 10**10}"
    changelog = f"{app_id}-seen-changelog"
    delete_topics(bootstrap, [SOURCE, OUTPUT])
    create_topic(bootstrap, SOURCE, shape.partitions)
    create_topic(bootstrap, OUTPUT, OUTPUTS)
    create_topic(bootstrap, changelog, shape.partitions, {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"})
    fill(bootstrap, changelog, shape.keys, shape.partitions)
    tally = Tally()
    made = Workers(bootstrap, home / app_id, command=COMMAND, STREAMAPP_APP_ID=app_id)
    with made as workers, _reach(bootstrap, app_id, shape) as reach:
        load = Load(bootstrap)
        began = time.monotonic()
        names = [f"w{number}" for number in range(1, shape.workers + 1)]
        running = [workers.start(name, **shape.settings) for name in names]  # type: ignore[arg-type]  # variables only
        _pass(load, tally, shape, shape.warm_up, first=0, seed=0)
        reach.wait(running)
        cost = Cost(shape=shape, seconds=0.0, cpu_seconds=0.0, ready_seconds=time.monotonic() - began, peak_rss_bytes=0)
        for done in range(0, shape.records, shape.chunk):
            count = min(shape.chunk, shape.records - done)
            load.put(list(_chunk(tally, shape, count, first=shape.warm_up + done, seed=1 + done)))
            cpu, started = sum(cpu_seconds(worker.pid) for worker in running), time.monotonic()
            load.release()
            reach.wait(running)
            cost.seconds += time.monotonic() - started
            cost.cpu_seconds += sum(cpu_seconds(worker.pid) for worker in running) - cpu
            resident = max(psutil.Process(worker.pid).memory_info().rss for worker in running)
            cost.samples.append(Sample(done + count, resident))
        cost.peak_rss_bytes = max(peak_rss_bytes(worker.pid) for worker in running)
        workers.stop()
    found = tally_of(bootstrap)
    if found != tally:
        raise OutputWrong(f"{OUTPUT} holds {found} instead of {tally}")
    return cost


@dataclass(slots=True)
class Tally:
    """Ids of orders, added up: two sets of that size with the same sums are the same set, for all that chance can do."""

    count: int = 0
    total: int = 0
    squares: int = 0

    def add(self, order_id: int) -> None:
        self.count += 1
        self.total += order_id
        self.squares += order_id * order_id


def _chunk(tally: Tally, shape: Shape, count: int, *, first: int, seed: int) -> Iterator[Fed]:
    """Yield `count` records, and note what is to come of them: each id once."""
    ids: set[bytes] = set()
    for fed in some_orders(count, seed=seed, resent=0.03, first_id=first):
        ids.add(fed.value or b"")
        yield fed._replace(partition=partition_of(fed.key or b"", shape.partitions))
    for value in ids:
        tally.add(int(order_id_of(value)))


def _pass(load: Load, tally: Tally, shape: Shape, count: int, *, first: int, seed: int) -> None:
    load.put(list(_chunk(tally, shape, count, first=first, seed=seed)))
    load.release()


def fill(bootstrap: str, changelog: str, keys: int, partitions: int) -> None:
    """Have a changelog of dedupe marks, in no order of their keys, as ids of orders come."""
    now = time.time_ns() // 1_000_000
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": f"{changelog}-fill",
            "transaction.timeout.ms": 600_000,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(keys):
        mark = b"[%d,%d,%d]" % (now, number, now)
        while True:
            try:
                producer.produce(changelog, mark, scattered(number), number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    producer.commit_transaction(120)


def scattered(number: int) -> bytes:
    """Return a key, JSON as a table's are, that is far from its neighbours' (multiplied by the golden ratio's share of 2**64)."""
    return b'"%016x"' % (number * 0x9E3779B97F4A7C15 % 2**64)


def tally_of(bootstrap: str) -> Tally:
    """Return what OUTPUT holds, `read_committed`."""
    found, waiting, countdown = Tally(), set(range(OUTPUTS)), Countdown(PATIENCE)
    consumer = bare_consumer(bootstrap)
    try:
        consumer.assign([TopicPartition(OUTPUT, number, -2) for number in waiting])
        while waiting:
            if countdown.over:
                raise TookTooLong(f"{OUTPUT} not read to its end")
            for message in consumer.consume(10_000, 0.5):
                error = message.error()
                if error is None:
                    found.add(int(order_id_of(rec_of(message).value or b"")))
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition() or 0)
    finally:
        consumer.close()
    return found


class _Reach:
    """How far the group is, asked with consumers that stay, so that asking costs little."""

    def __init__(self, group: Consumer, ends: Consumer, shape: Shape) -> None:
        self._group, self._ends = group, ends
        self._parts = [TopicPartition(SOURCE, number) for number in range(shape.partitions)]

    def wait(self, workers: Sequence[Worker]) -> None:
        """Return when the group has committed the source to its end. The engine commits control records away, too."""
        countdown = Countdown(PATIENCE)
        while (left := self._left()) > 0:
            for worker in workers:
                if not worker.alive:
                    raise AssertionError(f"{worker.id} ended with {worker.exit_code}\n{worker.tail()}")
            if countdown.over:
                raise TookTooLong(f"{SOURCE} lacks {left} offsets after {PATIENCE:g} s\n{workers[0].tail()}")
            time.sleep(0.02)

    def _left(self) -> int:
        left = 0
        for part in self._group.committed(self._parts, timeout=10):
            marks = self._ends.get_watermark_offsets(TopicPartition(SOURCE, part.partition), timeout=10)
            assert marks is not None
            left += max(0, marks[1] - max(part.offset, 0))
        return left


@contextmanager
def _reach(bootstrap: str, app_id: str, shape: Shape) -> Iterator[_Reach]:
    group, ends = bare_consumer(bootstrap, group=app_id), bare_consumer(bootstrap, committed_only=False)
    try:
        yield _Reach(group, ends, shape)
    finally:
        group.close()
        ends.close()
