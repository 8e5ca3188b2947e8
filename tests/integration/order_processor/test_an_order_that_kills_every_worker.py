"""An order that kills every worker it meets is buried after at most five deaths, once, and nobody else is; kills by chance bury nothing."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.support.ledger import ORDERS, Rules
from tests.support.order_jobs import OrderJob
from tests.support.orders import OrderPlan, order_of

SKU = "kill-9"
TRAP = {"ORDER_PROCESSOR_KILL_SKU": SKU}
DEATHS_AT_MOST = 5


@pytest.mark.timeout(180)
def test_it_is_buried_alone_and_the_orders_around_it_are_priced_once(job: OrderJob) -> None:
    worker = job.start("w1", **TRAP)
    before = job.feed(60, poison=0.0)
    job.wait_processed(before)
    around = list(OrderPlan(count=60, seed=2, first_id=60, poison=0.0).records())
    fed = job.feed_these([*around[:30], order_of(SKU, order_id="last straw", now_ms=around[29].timestamp), *around[30:]])
    deaths = 0
    while True:
        job.wait_for_progress(worker, beyond=fed - 1)
        if worker.alive:
            break
        assert worker.exit_code == -9
        deaths += 1
        assert deaths <= DEATHS_AT_MOST
        job.start("w1", **TRAP)
    assert deaths > 1
    verdict = job.finish(Rules(failing_skus=frozenset({SKU})))
    assert verdict.counts.dead_letters_by_error == {("streamapp.errors.KilledWorker", "process"): 1}


@pytest.mark.timeout(180)
def test_workers_killed_by_chance_bury_nothing(job: OrderJob) -> None:
    """Lives that ended without progress made suspects, and two more end in the middle of a suspect's turn: each at another record."""
    commit_starts(job, 2)
    fed = job.feed(60, poison=0.0, customers=1, without_key=0.0)  # one partition, so that each kill meets another record
    for crash_at in ("after-send-offsets:8", "after-commit:9"):
        worker = job.start("w1", crash_at=crash_at)
        assert worker.wait(90) == -9
    job.start("w1")
    job.wait_processed(fed)
    assert "is a suspect" in job.workers["w1"].log_text()
    verdict = job.finish()
    assert verdict.counts.dead_letters == 0


def commit_starts(job: OrderJob, starts: int) -> None:
    """Have the group's offsets say that so many lives ended at the beginning of each partition of `orders`."""
    consumer = Consumer({"bootstrap.servers": job.bootstrap, "group.id": job.app_id, "enable.auto.commit": False, "log_level": 0})
    told = [TopicPartition(ORDERS, number, 0, f"streamapp:starts={starts},tries=0") for number in range(8)]
    consumer.commit(offsets=told, asynchronous=False)
    consumer.close()
