"""A steady load and a reader at its other end, each in a process of its own.

The load is open: each record is due at a moment of the wall clock, whatever became of those before. Latency counts from that
moment, so a contender (or a generator) that falls behind is charged for every record that had to wait, not for one.
Both processes and the caller read the machine's one monotonic clock.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from multiprocessing.connection import Connection
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from tests.benchmarks.checking import order_id_of
from tests.benchmarks.workload import PARTITIONS, WARM, stream_of_orders
from tests.support.topics import Countdown, TookTooLong, bare_consumer

TICK: Final = 0.001
"""Seconds that the generator sleeps at least: what is due within them goes out at once."""
START_UP: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    bootstrap: str
    first_id: int
    rate: float
    """Records a second."""
    seconds: float
    value_bytes: int
    ends_in: str
    """The topic in which each record has to appear."""
    reports: bool
    """Whether to keep when each record was readable, for the time until its commit. Costs the generator some 2 µs each."""

    @property
    def count(self) -> int:
        return max(1, round(self.rate * self.seconds))

    @property
    def ids(self) -> range:
        return range(self.first_id, self.first_id + self.count)

    def due(self, at: int, start: float) -> float:
        """Return the moment of the `at`-th record."""
        return start + at / self.rate


@dataclass(frozen=True, slots=True)
class Sent:
    late: float
    """Seconds that a record left after it was due, at most: the generator's share of the latency."""
    cpu_seconds: float
    partitions: array[int]
    offsets: array[int]
    readable: array[float]
    """Moments of the delivery reports, with partition and offset at the same index; empty without `reports`."""


@dataclass(frozen=True, slots=True)
class Read:
    moments: array[float]
    """When each record of the stream was in the reader's hand, by its number; `inf` for what did not come in time."""
    cpu_seconds: float


class Side:
    """A process at the other end of a pipe; each answer is waited for with a bound."""

    def __init__(self, work: Callable[[Connection, Stream], None], stream: Stream) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._pipe, far = spawned.Pipe()
        self._process = spawned.Process(target=work, args=(far, stream), daemon=True)
        self._process.start()
        far.close()

    def tell(self, what: float) -> None:
        self._pipe.send(what)

    def answer(self, deadline: float) -> object:
        try:
            if not self._pipe.poll(deadline):
                raise TookTooLong(f"no answer from {self._process.name} within {deadline:g} s")
            return self._pipe.recv()
        except EOFError:
            raise AssertionError("a process of the steady load ended early; its error stands above") from None

    def close(self) -> None:
        self._process.terminate()
        self._process.join(10)
        self._pipe.close()


@contextmanager
def side(work: Callable[[Connection, Stream], None], stream: Stream) -> Iterator[Side]:
    made = Side(work, stream)
    try:
        yield made
    finally:
        made.close()


def send_steadily(pipe: Connection, stream: Stream) -> None:
    """Say `ready`, take the start's moment, send each record when it is due, answer with `Sent`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle
    sent = Sent(0.0, 0.0, array("q"), array("q"), array("d"))
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)
            return
        sent.partitions.append(message.partition() or 0)
        sent.offsets.append(message.offset() or 0)
        sent.readable.append(time.monotonic())

    order = stream_of_orders(stream.first_id, stream.value_bytes)
    producer = Producer(
        {
            "bootstrap.servers": stream.bootstrap,
            "enable.idempotence": True,
            "linger.ms": 0,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )
    # The first record of a producer waits half a second for its id and the leader's connection: here, not in the figures.
    producer.produce(WARM, b"")
    producer.list_topics("orders", timeout=START_UP)
    assert not producer.flush(START_UP), "the generator does not reach the broker"
    pipe.send("ready")
    start: float = pipe.recv()
    at, late, count = 0, 0.0, stream.count
    report = {"on_delivery": delivered} if stream.reports else {}
    while at < count:
        now = time.monotonic()
        due = min(count, int((now - start) * stream.rate) + 1) if now >= start else 0
        if at < due:
            late = max(late, now - stream.due(at, start))
        while at < due:
            fed = order(stream.first_id + at)
            producer.produce("orders", fed.value, fed.key, fed.partition, **report)  # type: ignore[arg-type]
            at += 1
        producer.poll(0)
        time.sleep(max(TICK, stream.due(at, start) - time.monotonic()))
    left = producer.flush(START_UP)
    assert not left and not refused, f"{left} records not delivered, {len(refused)} refused: {refused[:1]}"
    pipe.send(Sent(late, time.process_time(), sent.partitions, sent.offsets, sent.readable))


def read_steadily(pipe: Connection, stream: Stream) -> None:
    """Say `ready` at the end of the topic, take the moment of giving up, answer with `Read` once every record came."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options: dict[str, Any] = {"enable.partition.eof": False}
    consumer = bare_consumer(stream.bootstrap, **options)
    topic = stream.ends_in
    places: list[TopicPartition] = []
    for number in range(PARTITIONS[topic]):
        marks = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=START_UP)
        assert marks is not None
        places.append(TopicPartition(topic, number, marks[1]))
    consumer.assign(places)
    moments = array("d", [inf]) * stream.count
    pipe.send("ready")
    giving_up = Countdown(pipe.recv() - time.monotonic())
    left = stream.count
    while left and not giving_up.over:
        # consume() waits for a full batch or for all of its time: wait for one record, then take what is there.
        first = consumer.poll(0.1)
        if first is None:
            continue
        batch = [first, *consumer.consume(10_000, timeout=0)]
        now = time.monotonic()
        for message in batch:
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            at = int(order_id_of(message.value() or b"")) - stream.first_id
            if 0 <= at < stream.count and moments[at] == inf:
                moments[at] = now
                left -= 1
    consumer.close()
    pipe.send(Read(moments, time.process_time()))
