"""A SIGKILL inside an open transaction: nothing of it is ever seen, nothing is lost, and the next life restores only the tail."""

from __future__ import annotations

from tests.support.ledger import PRICED
from tests.support.order_jobs import OrderJob
from tests.support.topics import wait_until, watermarks

SLOW_COMMITS = {"STREAMAPP_COMMIT_INTERVAL": "5"}
"""So that a transaction is open for seconds, and the kill cannot come between two."""


def open_transactions(job: OrderJob) -> int:
    """Return how many partitions of the output hold records that a read_committed reader may not see yet."""
    return sum(stable < high for stable, high in watermarks(job.bootstrap, [PRICED]).values())


def test_a_kill_in_an_open_transaction_loses_and_doubles_nothing(job: OrderJob) -> None:
    worker = job.start("w1", **SLOW_COMMITS)
    first = job.feed(1_000)
    job.wait_processed(first)

    job.feed(1_000)
    wait_until(lambda: open_transactions(job) > 0, deadline=60, why=lambda: f"no transaction opened\n{worker.tail()}")
    assert worker.kill() == -9
    assert open_transactions(job) > 0, "the kill hit no open transaction"
    assert job.processed() == first

    job.start("w1")
    job.feed(500)
    verdict = job.finish()

    tail = sum(job.restored(worker, life=2).values())
    assert tail < verdict.counts.priced / 4, f"{tail} changelog records restored for {verdict.counts.priced} priced orders"


def test_an_order_that_kills_its_worker_is_priced_by_the_next_life(job: OrderJob) -> None:
    worker = job.start("w1", ORDER_PROCESSOR_KILL_SKU="sku-3")
    job.feed(1_200)
    assert worker.wait(90) == -9
    job.start("w1")
    job.finish()
