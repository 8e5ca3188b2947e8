"""What is measured: each job's topics, and what its output has to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

SMALL: Final = 100
LARGE: Final = 10_000
"""Bytes of a record's value, about."""


class Output(Enum):
    """What has to come of an input record in an output topic."""

    SAME = "every field that came in, with its value; keys in their order"
    TOTALLED = "the same, with total_cents besides"
    ITS_ID = "a record with its order id; what else it holds, the ledger checks on a smaller run"


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    about: str
    sources: tuple[str, ...]
    """Read until nothing is left, in this order."""
    outputs: tuple[str, ...]
    """Each holds every order once (every record, where nothing is deduped)."""
    output: Output = Output.SAME
    task: str = ""
    """What contenders from a registry are asked for, `dedupe` or `map`; empty where they are not."""
    dedupes: bool = False
    tables: tuple[tuple[str, int], ...] = ()
    """Each with its changelog's partitions."""
    value_bytes: int = SMALL
    records_share: float = 1.0
    """Of the records that are asked for: large ones and slow calls take longer."""


DEDUPE: Final = Job(
    "dedupe",
    "orders deduped by order id in a table, sent on unchanged",
    ("orders",),
    ("bench-out",),
    task="dedupe",
    dedupes=True,
    tables=(("seen", 8),),
)
DEDUPE_LARGE: Final = Job(
    "dedupe-large",
    "the dedupe job on values of 10 kB",
    ("orders",),
    ("bench-out",),
    task="dedupe",
    dedupes=True,
    tables=(("seen", 8),),
    value_bytes=LARGE,
    records_share=0.05,
)
MAP: Final = Job(
    "map",
    "stateless: each order sent on with one more field",
    ("orders",),
    ("bench-out",),
    Output.TOTALLED,
    task="map",
)
ORDERS: Final = Job(
    "orders",
    "the whole order processor: two stages, three tables",
    ("orders", "sku-demand"),
    ("orders-priced", "sku-demand", "sku-totals"),
    Output.ITS_ID,
    dedupes=True,
    tables=(("processed_orders", 8), ("customer_totals", 8), ("sku_totals", 5)),
)
AWAIT: Final = Job(
    "await",
    "an agent with concurrency=100 that awaits 5 ms for each record",
    ("orders",),
    ("bench-out",),
    records_share=0.25,
)
AWAIT_REMOVED: Final = Job(
    "await-removed",
    "the same agent without the await",
    ("orders",),
    ("bench-out",),
    records_share=0.25,
)

JOBS: Final = {job.name: job for job in (DEDUPE, ORDERS, MAP, AWAIT, AWAIT_REMOVED, DEDUPE_LARGE)}
DAILY: Final = (DEDUPE.name, ORDERS.name)
"""What `make bench` measures; `ALL=1` takes all."""
