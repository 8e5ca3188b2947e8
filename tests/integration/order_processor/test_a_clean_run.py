"""One worker, no trouble: every order is priced, buried or dropped, once, and every poison class that the contract names is buried."""

from __future__ import annotations

import random
import time

from tests.support.order_jobs import OrderJob
from tests.support.orders import Fed
from tests.support.poison import POISON


def poison_of_every_class(first_id: int) -> list[Fed]:
    """Return one record of each class, on all partitions and with and without a key."""
    rng, now = random.Random(7), int(time.time() * 1000)
    records = []
    for at, (name, spoiled) in enumerate(POISON.items()):
        fields: dict[str, object] = {
            "order_id": f"poison-{first_id + at}", "customer": "ann", "sku": "sku-1", "quantity": 1, "unit_price_cents": 5,
        }  # fmt: skip
        key = None if rng.random() < 0.2 else b"ann"
        headers: list[tuple[str, bytes | None]] = [("hop", b"1"), ("hop", b"2")] if rng.random() < 0.5 else []
        records.append(Fed(key, spoiled(fields), headers, now, rng.randrange(8), name))
    return records


def test_every_order_and_every_poison_comes_out_once(job: OrderJob) -> None:
    worker = job.start("w1")
    job.feed(2_000, poison=0.02)
    poison = poison_of_every_class(10_000)
    job.feed_these(poison)
    job.feed(500)
    verdict = job.finish()
    assert verdict.counts.dead_letters >= len(poison)
    assert verdict.counts.duplicates > 0
    assert verdict.counts.priced > 2_000
    assert worker.exit_code == 0
