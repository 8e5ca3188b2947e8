"""The page of a real worker tells as many unresolved dead letters as its app has."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

from tests.support.ledger import Rules
from tests.support.order_jobs import OrderJob
from tests.support.topics import wait_until
from tests.support.workers import Worker

FAILING = {"ORDER_PROCESSOR_FAIL_SKU": "sku-5", "STREAMAPP_RETRY_BASE": "0.01", "STREAMAPP_RETRY_CAP": "0.02"}


def page(worker: Worker) -> dict[str, Any]:
    with urlopen(f"http://127.0.0.1:{worker.web_port}/streamapp/dead-letters", timeout=5) as answer:
        return dict(json.load(answer))


def test_it_has_a_row_per_partition_and_no_letter_is_left_out(job: OrderJob) -> None:
    (worker,) = job.start_ready("w1", **FAILING)
    job.feed(300)
    job.caught_up()
    buried = sum(job.verdict(Rules(failing_skus=frozenset({"sku-5"}))).counts.dead_letters_by_error.values())
    assert buried > 5

    def counted() -> bool:
        rows = page(worker)["partitions"]
        return len(rows) == 8 and all(row["read"] for row in rows) and sum(row["unresolved"] for row in rows) == buried

    wait_until(counted, deadline=30, why=lambda: f"{buried} letters: {page(worker)}")
    assert page(worker)["status_topic"] == f"{job.app_id}-dlq-status"
    assert not any(row["lower_bound"] for row in page(worker)["partitions"])
