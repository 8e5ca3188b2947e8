"""The checker reads a real broker rightly: a right engine is green there, and what is put wrong afterwards is red.

The right engine is the hand-written loop of the benchmarks, so these tests say nothing about streamapp itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from streamapp.broker import Broker
from tests.support.concurrent_reader import ConcurrentReader
from tests.support.ledger import DEMAND, DLQ, ORDERS, PRICED, TOPICS, TOTALS, check
from tests.support.orders import OrderPlan, feed_all
from tests.support.topic_reader import caught_up, read_history, read_topics
from tests.support.topics import TookTooLong, create_topic, watermarks
from tests.support.verdict import Kind
from tests.support.workers import Worker, Workers

COUNTS = {ORDERS: 8, PRICED: 8, DEMAND: 5, TOTALS: 5, DLQ: 8}
CHANGELOGS = {"processed_orders": 8, "customer_totals": 8, "sku_totals": 5}
LOOP = (sys.executable, "-m", "tests.benchmarks.hand_written_loop", "orders")
READ_BY_THE_LOOP = (ORDERS, DEMAND)


@dataclass(frozen=True, slots=True)
class Place:
    bootstrap: str
    app_id: str
    workers: Workers

    def start(self) -> Worker:
        return self.workers.start("w1")


@pytest.fixture
def place(new_broker: Callable[..., Broker], tmp_path: Path) -> Iterator[Place]:
    """A broker of its own: the contract's topic names are fixed, so tests that use them cannot share one."""
    bootstrap, app_id = new_broker().address, f"checked-{uuid4().hex[:8]}"
    for topic, count in COUNTS.items():
        create_topic(bootstrap, topic, count)
    for table, count in CHANGELOGS.items():
        create_topic(bootstrap, f"{app_id}-{table}-changelog", count, {"cleanup.policy": "compact"})
    with Workers(bootstrap, tmp_path / "workers", command=LOOP, STREAMAPP_APP_ID=app_id) as workers:
        yield Place(bootstrap, app_id, workers)
        print(workers.tails())


def test_a_right_engine_is_green_also_across_a_kill_and_every_spoiling_is_seen(place: Place) -> None:
    bootstrap, app_id = place.bootstrap, place.app_id
    worker = place.start()
    with ConcurrentReader(bootstrap) as reader:
        assert feed_all(bootstrap, OrderPlan(count=6_000, seed=11).records()) == 6_000
        reader.wait_for(2_000, deadline=60)
        assert worker.kill() == -9
        place.start()
        caught_up(bootstrap, app_id, topics=READ_BY_THE_LOOP, deadline=60)
    history = read_history(bootstrap, app_id)
    verdict = check(history).require_ok()
    assert verdict.counts.orders == 6_000
    final = {PRICED: history.priced, DEMAND: history.demand, TOTALS: history.totals, DLQ: history.dead_letters}
    assert reader.compare(final) == []
    assert reader.count > 2_000
    assert place.workers.stop() == {"w1": 0}

    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "spoiler", "transaction.timeout.ms": 60_000})
    producer.init_transactions(10)
    twice = next(lane[0] for lane in history.priced.values() if lane)

    def send_twice() -> None:
        producer.begin_transaction()
        producer.produce(PRICED, twice.value, twice.key, twice.partition, timestamp=twice.timestamp, headers=list(twice.headers))
        producer.flush(10)

    send_twice()
    assert check(read_history(bootstrap, app_id)).kinds == {Kind.OPEN_TRANSACTION}
    producer.abort_transaction(10)
    check(read_history(bootstrap, app_id)).require_ok()
    send_twice()
    producer.commit_transaction(10)
    assert Kind.DOUBLED in check(read_history(bootstrap, app_id)).kinds


def test_not_caught_up_is_said_with_what_is_left(place: Place) -> None:
    feed_all(place.bootstrap, OrderPlan(count=50).records())
    with pytest.raises(TookTooLong, match="orders: 50 records left"):
        caught_up(place.bootstrap, place.app_id, deadline=0.5)
    history = read_history(place.bootstrap, place.app_id)
    assert check(history).kinds == {Kind.UNPROCESSED}


def test_the_feeder_feeds_what_the_plan_says_to_where_it_says(place: Place) -> None:
    plan = OrderPlan(count=1_000, seed=5, now_ms=int(time.time() * 1000))
    feed_all(place.bootstrap, plan.records())
    read = read_topics(place.bootstrap, TOPICS)[ORDERS]
    fed = list(plan.records())
    for number, lane in read.items():
        due = [(one.key, one.value, tuple(one.headers), one.timestamp) for one in fed if one.partition == number]
        assert [(rec.key, rec.value, rec.headers, rec.timestamp) for rec in lane] == due
    assert sum(high for _, high in watermarks(place.bootstrap, [ORDERS]).values()) == 1_000
