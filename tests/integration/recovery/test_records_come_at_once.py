"""A partition that was restored has its first records at once, not at the client's next look around."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from streamapp.clock import Deadline
from streamapp.kafka import client_config
from streamapp.kafka.client_config import Assignor
from streamapp.kafka.source import KafkaSource
from streamapp.ports import Fetched, PartitionSource
from streamapp.records import Partition
from streamapp.settings import load
from tests.support.orders import OrderPlan, feed_all
from tests.support.topics import create_topic

LOOK_AROUND = 1.0
"""Seconds between two looks of a client's idle thread."""
EMPTY_FETCH = 0.5
"""Seconds that a broker holds a fetch that has nothing to bring."""
ROUNDS = 5


class FirstRecords:
    """A SourceListener that knows when it was given partitions and when their first records came."""

    def __init__(self) -> None:
        self.given = threading.Event()
        self.came = threading.Event()
        self.partitions: list[Partition] = []

    def assigned(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None:
        self.partitions = list(numbers)
        self.given.set()

    def fetched(self, source: PartitionSource, batches: Sequence[Fetched]) -> None:
        if any(batch.records for batch in batches):
            self.came.set()

    def revoking(self, source: PartitionSource, partitions: Sequence[Partition]) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def revoked(self, source: PartitionSource, partitions: Sequence[Partition]) -> None: ...
    def lost(self, source: PartitionSource, partitions: Sequence[Partition]) -> None: ...
    def numbered(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None: ...
    def out_of_range(self, source: PartitionSource, partition: Partition) -> None: ...
    def broken(self, source: PartitionSource, failure: Exception) -> None:
        logging.getLogger(__name__).error("broken: %s", failure)

    def waiting(self) -> int:
        return 0

    def crowded(self, partition: Partition) -> int:
        return 0


def test_an_opened_partition_does_not_wait_for_the_clients_next_look_around(bootstrap: str, tmp_path: Path) -> None:
    topic = f"orders-{uuid4().hex[:8]}"
    create_topic(bootstrap, topic, 8)
    feed_all(bootstrap, OrderPlan(count=400).records(), topic=topic)
    took = [_from_open_to_first_record(bootstrap, topic) for _ in range(ROUNDS)]
    # The median: now and then the client happens to be awake. Almost a whole look around, as a busy machine takes its time, too.
    assert statistics.median(took) < 0.95 * LOOK_AROUND, took


def _from_open_to_first_record(bootstrap: str, topic: str) -> float:
    with _given(bootstrap, topic) as (source, listener):
        began = time.monotonic()
        source.open(dict.fromkeys(listener.partitions, 0)).result(30)
        assert listener.came.wait(30)
        return time.monotonic() - began


def test_partitions_opened_one_after_another_do_not_wait_out_each_others_empty_fetches(bootstrap: str) -> None:
    topic = f"orders-{uuid4().hex[:8]}"
    create_topic(bootstrap, topic, 8)
    took = [_from_first_open_to_last(bootstrap, topic) for _ in range(3)]
    assert min(took) < 8 * EMPTY_FETCH / 2, took


def _from_first_open_to_last(bootstrap: str, topic: str) -> float:
    with _given(bootstrap, topic) as (source, listener):
        began = time.monotonic()
        for opened in [source.open({partition: 0}) for partition in listener.partitions]:
            opened.result(30)
        source.open({}).result(30)  # answered between later polls
        return time.monotonic() - began


@contextmanager
def _given(bootstrap: str, topic: str) -> Iterator[tuple[KafkaSource, FirstRecords]]:
    """Join as the only member of a new group, and leave at the end."""
    settings = load({"app_id": f"first-{uuid4().hex[:8]}"}, {}, {"STREAMAPP_BROKER": bootstrap})
    config = client_config.source_consumer(settings, "w1", topic, Assignor.COOPERATIVE_STICKY)
    listener = FirstRecords()
    source = KafkaSource(
        topic, [topic], config, listener, incremental=True, lane_bound=1_000, total_bound=10_000, revoke_budget=5.0
    )  # fmt: skip
    source.start()
    try:
        assert listener.given.wait(30)
        yield source, listener
    finally:
        source.stop(Deadline.after(30))
