"""An agent that waits past the transaction timeout costs its own record, and nobody else's: no fatal exit, no rebalance, no loss."""

from __future__ import annotations

import pytest

from tests.support.fault_run import FaultRun, life_of
from tests.support.ledger import Rules
from tests.support.order_jobs import OrderJob
from tests.support.orders import order_of
from tests.support.topics import wait_until

STALLS = 6
RATE = 1_000.0
AT_MOST = 300_000
TRANSACTION = 4.0
SLOW = "slow-sku"
GO_ON = 2_000
"""Orders that the others do meanwhile."""
STALLED = {
    "STREAMAPP_TRANSACTION_TIMEOUT": f"{TRANSACTION:g}",
    "ORDER_PROCESSOR_SLOW_SKU": f"{SLOW}:{3 * TRANSACTION:g}",
    # One try each: what is looked at is the stall, not how often it is repeated.
    "STREAMAPP_RETRY_ATTEMPTS": "1",
    "STREAMAPP_RETRY_UNKNOWN_ATTEMPTS": "1",
}


@pytest.mark.timeout(900)
def test_orders_that_outlast_the_transaction_are_buried_and_the_others_go_on(faulty: OrderJob) -> None:
    faulty.start_ready("w1", "w2", **STALLED)
    with FaultRun(faulty, "an agent that awaits past the transaction timeout", rate=RATE, at_most=AT_MOST) as run:
        for number in range(STALLS):
            run.pause_between_faults(0.5, 2.0)
            before = faulty.processed(deadline=60)
            faulty.feed_these([order_of(SLOW, order_id=f"slow-{number}", customer=f"waits-{number}")])
            run.scenario.faults += 1
            wait_until(
                lambda before=before: faulty.processed(deadline=60) > before + GO_ON,  # type: ignore[misc]  # bound now
                deadline=90,
                why=lambda: f"the others stand still, too\n{faulty.workers.tails()}",
            )
        run.scenario.inside_a_transaction = None
        verdict = run.settle(Rules(tolerated_skus=frozenset({SLOW})))
    for worker in faulty.workers.all.values():
        assert worker.lives == 1
        assert "partitions lost" not in life_of(worker, 1)
    assert verdict.counts.priced > 0
