"""A `read_committed` reader that looks on while workers run: what it saw must be a prefix of what is there in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, TopicPartition

from tests.support.kafka_records import Lanes, Rec
from tests.support.ledger import PRICED, TOTALS
from tests.support.topic_reader import rec_of
from tests.support.topics import Countdown, bare_consumer, partitions_of
from tests.support.verdict import Kind, Violation


class ConcurrentReader:
    """Reads `topics` on a thread of its own from `start()` to `stop()`; waits for topics that do not exist yet."""

    def __init__(self, bootstrap: str, topics: Iterable[str] = (PRICED, "sku-demand", TOTALS, "orders-dlq")) -> None:
        self._bootstrap, self._topics = bootstrap, tuple(topics)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="concurrent-reader", daemon=True)
        self._error: Exception | None = None
        self._last = time.monotonic()
        self.seen: dict[str, Lanes] = {topic: {} for topic in self._topics}
        self.longest_silence = 0.0
        """Seconds between two arrivals, at most."""

    def start(self) -> ConcurrentReader:
        self._thread.start()
        return self

    def stop(self, deadline: float = 15.0) -> None:
        """Stop, and raise what went wrong on the thread. May be called twice."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(deadline)
            assert not self._thread.is_alive(), "the concurrent reader does not stop"
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def count(self) -> int:
        return sum(len(lane) for lanes in self.seen.values() for lane in list(lanes.values()))

    def compare(self, final: dict[str, Lanes]) -> list[Violation]:
        """Return where what was seen is no prefix of `final` (by topic). Call after stop()."""
        found: list[Violation] = []
        for topic, lanes in self.seen.items():
            for number, lane in lanes.items():
                there = final.get(topic, {}).get(number, [])
                at = _first_difference(lane, there)
                if at is not None:
                    now = there[at] if at < len(there) else "nothing"
                    found.append(Violation(Kind.NOT_A_PREFIX, f"{lane[at].place} was {lane[at]!r:.200}, now {now!r:.200}"))
        return found

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:  # a thread's edge: stop() raises it where someone sees it
            self._error = error

    def _read(self) -> None:
        while not all(partitions_of(self._bootstrap, self._topics).values()):
            if self._stop.wait(0.2):
                return
        counts = partitions_of(self._bootstrap, self._topics)
        consumer = bare_consumer(self._bootstrap)
        try:
            consumer.assign([TopicPartition(topic, number, -2) for topic, count in counts.items() for number in range(count)])
            while not self._stop.is_set():
                for message in consumer.consume(2_000, timeout=0.2):
                    error = message.error()
                    if error is None:
                        self._note(rec_of(message))
                    elif error.code() == KafkaError.OFFSET_OUT_OF_RANGE:
                        raise AssertionError(f"the log was cut under the reader: {error}")
        finally:
            consumer.close()

    def _note(self, rec: Rec) -> None:
        now = time.monotonic()
        self.longest_silence, self._last = max(self.longest_silence, now - self._last), now
        self.seen[rec.topic].setdefault(rec.partition, []).append(rec)

    def wait_for(self, records: int, deadline: float = 30.0) -> None:
        """Wait until `records` were seen in all."""
        countdown = Countdown(deadline)
        while self.count < records:
            assert not countdown.over, f"saw {self.count} of {records} records in {deadline:g} s"
            assert self._thread.is_alive(), f"the concurrent reader ended: {self._error}"
            self._stop.wait(0.05)


def _first_difference(seen: list[Rec], there: list[Rec]) -> int | None:
    for at, rec in enumerate(seen):
        if at >= len(there) or there[at] != rec:
            return at
    return None
