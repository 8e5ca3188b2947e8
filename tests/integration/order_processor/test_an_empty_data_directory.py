"""A worker whose disk is gone restores its tables whole: sums go on where they were, and what was priced is still known."""

from __future__ import annotations

import shutil
import time

from tests.support.order_jobs import OrderJob
from tests.support.orders import OrderPlan


def test_tables_rebuilt_from_changelogs_go_on(job: OrderJob) -> None:
    now = int(time.time() * 1000)
    worker = job.start("w1")
    first = list(OrderPlan(count=1_200, seed=11, now_ms=now).records())
    fed = job.feed_these(first)
    job.caught_up()
    assert worker.stop() == 0, worker.tail()
    shutil.rmtree(worker.data_dir)

    job.start("w1")
    # The same orders again: all of them duplicates, known from the changelog alone. Then new ones of the same customers.
    job.feed_these(first)
    job.feed(600, seed=12, first_id=50_000)
    verdict = job.finish()

    assert verdict.counts.duplicates >= fed * 0.8
    restored = job.restored(worker, life=2)
    whole = {table: sum(count for (name, _), count in restored.items() if name == table) for table, _ in restored}
    assert whole["processed_orders"] >= fed * 0.8
    assert whole["customer_totals"] >= len({(one.partition, one.key) for one in first if one.kind == "order" and one.key})
    assert whole["sku_totals"] > 0
