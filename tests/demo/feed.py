"""`python -m tests.demo.feed`: 600 of the demo's orders, always the same, with the trouble in them that docs/dead-letters.md mends.

On topics that are new, each record has the same partition and offset every time, so what the page shows is what its reader sees.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from tests.support.orders import Fed, OrderPlan, feed_all
from tests.support.topics import create_topic

COUNT = 600
PLAN = OrderPlan(count=COUNT, seed=7, poison=0)
TEXTS = range(17, COUNT, 60)
"""The orders whose quantity comes as a text: the shop's new release writes it so."""
NOISE = (100, 350, 520)
"""Those that are no orders at all."""
NAMELESS = 222
"""The one whose customer is missing."""


def records() -> Iterator[Fed]:
    """Yield the orders. Those of sku-7 are right: it is the worker that the page starts which fails on them."""
    for at, fed in enumerate(PLAN.records()):
        order = json.loads(fed.value or b"{}")
        if at in TEXTS:
            yield fed._replace(value=json.dumps(order | {"quantity": str(order["quantity"])}).encode(), kind="quantity as text")
        elif at in NOISE:
            yield fed._replace(value=b"GET /health HTTP/1.1", kind="not JSON")
        elif at == NAMELESS:
            del order["customer"]
            yield fed._replace(value=json.dumps(order).encode(), kind="customer missing")
        else:
            yield fed


def main() -> None:
    broker = os.environ.get("STREAMAPP_BROKER", "127.0.0.1:9092").removeprefix("kafka://")
    create_topic(broker, "orders", PLAN.partitions)
    print(f"fed {feed_all(broker, records())} orders")


if __name__ == "__main__":
    main()
