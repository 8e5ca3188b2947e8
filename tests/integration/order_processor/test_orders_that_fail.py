"""Orders on which the agent keeps raising are buried whole, once, also when the worker is killed beside them."""

from __future__ import annotations

from tests.support.ledger import Rules
from tests.support.order_jobs import OrderJob

FAILING = {"ORDER_PROCESSOR_FAIL_SKU": "sku-5"}
QUICK_RETRIES = {"STREAMAPP_RETRY_BASE": "0.01", "STREAMAPP_RETRY_CAP": "0.02"}


def test_failing_orders_are_buried_once_through_a_kill(job: OrderJob) -> None:
    worker = job.start("w1", crash_at="after-flush:3", **FAILING, **QUICK_RETRIES)
    while worker.alive:
        fed = job.feed(500)
        job.wait_for_progress(worker, beyond=fed - 1)
    assert worker.wait(90) == -9
    job.start("w1", **FAILING, **QUICK_RETRIES)
    verdict = job.finish(Rules(failing_skus=frozenset({"sku-5"})))
    assert verdict.counts.dead_letters_by_error["builtins.RuntimeError", "handler"] > 5
