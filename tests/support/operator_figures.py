"""Status documents and engine facts made by hand, for tests of what shows them."""

from __future__ import annotations

from typing import Any

import msgspec

from streamapp.monitor.lag.verdict import Status
from streamapp.monitor.status import (
    SCHEMA,
    AgentStatus,
    Bounds,
    DlqPartition,
    GroupStatus,
    Histogram,
    PartitionStatus,
    StatusDocument,
    TableStatus,
    TransactionStatus,
    WorkerStatus,
)
from streamapp.pipeline.facts import AgentFacts, Distribution, EngineFacts, LaneFacts, TransactionFacts
from streamapp.records import Partition

NOW = 1_700_000_000.0
HANDLER_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
NOTHING = Histogram(bounds=(), counts=(0,), total=0.0)


def distribution(*counts: int, bounds: tuple[float, ...] = HANDLER_BOUNDS, total: float = 0.0) -> Distribution:
    """Return how often which value was seen: `counts` in the order of the bounds, zeros behind."""
    return Distribution(bounds=bounds, counts=(*counts, *(0 for _ in range(len(bounds) + 1 - len(counts)))), total=total)


def lane(topic: str = "orders", number: int = 0, **differing: Any) -> LaneFacts:
    facts: dict[str, Any] = {
        "partition": Partition(topic, number),
        "state": "running",
        "committed": 100,
        "committed_at": NOW - 1,
        "position": 100,
        "merged": 0,
        "unmerged": 0,
        "oldest_unmerged": None,
        "in_hand": None,
        "standstills": (),
        "stopped_at": None,
        "blocked_keys": 0,
        "held_records": 0,
        "suspect": False,
    }
    return LaneFacts(**{**facts, **differing})


def agent(name: str = "prices", **differing: Any) -> AgentFacts:
    facts: dict[str, Any] = {
        "name": name,
        "topics": ("orders",),
        "dlq": "orders-dlq",
        "on_error": "skip",
        "concurrency": 1,
        "in_hand": 0,
        "processed": 0,
        "busy_seconds": 0.0,
        "duration": distribution(),
        "batch_max": None,
        "retries": {},
        "dedupe_hits": None,
        "dead_letters": {},
        "fingerprints": 0,
        "letter_write_failures": 0,
        "replayed": {},
        "breakers": {},
    }
    return AgentFacts(**{**facts, **differing})


def transactions(**differing: Any) -> TransactionFacts:
    facts: dict[str, Any] = {
        "outcomes": {},
        "rebuilds": {},
        "open_since": None,
        "open_records": 0,
        "overlay_bytes": 0,
        "last_commit": NOW - 1,
        "duration": distribution(),
        "commit_duration": distribution(),
        "records": distribution(bounds=(1.0, 10.0, 100.0)),
        "rebalances": 0,
        "rebalance_duration": distribution(),
    }
    return TransactionFacts(**{**facts, **differing})


def facts(*, lanes: tuple[LaneFacts, ...] = (), agents: tuple[AgentFacts, ...] = (), **of_transactions: Any) -> EngineFacts:
    return EngineFacts(now=NOW, lanes=lanes, agents=agents, transactions=transactions(**of_transactions), tables=())


def partition(topic: str = "orders", number: int = 0, **differing: Any) -> PartitionStatus:
    """Return a row of which nothing is known but whose it is."""
    known = {"topic", "partition", "owner", "owner_known", "state", "status", "sentence", "lost", "loss_never"}
    fields = msgspec.structs.fields(PartitionStatus)
    row: dict[str, Any] = {field.name: None for field in fields if field.required and field.name not in known}
    row |= {
        "topic": topic,
        "partition": number,
        "owner": "w-1",
        "owner_known": True,
        "state": "running",
        "status": Status.UNKNOWN.value,
        "sentence": "",
        "lost": 0,
        "loss_never": False,
    }
    return PartitionStatus(**{**row, **differing})


def whole_partition(topic: str = "orders", number: int = 0) -> PartitionStatus:
    """Return a row of which everything is known: the worked example of OPERATIONS §3.3."""
    return partition(
        topic, number,
        status=Status.FALLING_BEHIND.value, committed=1_204_400, end=1_294_400, high_watermark=1_294_410, log_start=900_000,
        lag=90_000, raw_lag=90_000, blocked=10, age=750.0, growth=Bounds(estimate=20.0, low=16.1, high=23.9),
        utilization=0.28, produced_rate=120.0, consumed_rate=100.0, capacity=420.0, loss=513_900.0, retention=86_400.0, retention_used=0.0087, commit_age=0.2, in_flight=512,
    )  # fmt: skip


def agent_status(name: str = "prices", **differing: Any) -> AgentStatus:
    status: dict[str, Any] = {
        "name": name,
        "topics": ("orders",),
        "dlq": "orders-dlq",
        "on_error": "skip",
        "concurrency": 1,
        "in_hand": 0,
        "processed": 0,
        "busy": None,
        "duration": NOTHING,
        "p50": None,
        "p95": None,
        "p99": None,
        "retries": {},
        "dedupe_hits": None,
        "dead_letters": (),
        "fingerprints": 0,
        "letter_write_failures": 0,
        "replayed": {},
        "breakers": (),
        "blocked_keys": {},
        "held_records": {},
    }
    return AgentStatus(**{**status, **differing})


def document(
    *partitions: PartitionStatus,
    agents: tuple[AgentStatus, ...] = (),
    tables: tuple[TableStatus, ...] = (),
    dead_letters: tuple[DlqPartition, ...] = (),
    workers_needed: int | None = None,
    loop_lag: float | None = None,
    ready: bool = True,
) -> StatusDocument:
    return StatusDocument(
        schema=SCHEMA,
        at=NOW,
        app_id="shop",
        worker=WorkerStatus(
            worker="w-1",
            version="1.4.0",
            streamapp="0.1.0",
            librdkafka="2.16.0",
            guarantee="exactly_once",
            pid=1,
            started=NOW - 60,
            url=None,
            ready=ready,
            draining=False,
            failing=None,
            loop_lag=loop_lag,
        ),
        group=GroupStatus(
            group="shop",
            status=Status.OK.value,
            sentence="",
            partitions=len(partitions),
            workers=1,
            workers_needed=workers_needed,
            workers_capped=False,
        ),
        partitions=partitions,
        agents=agents,
        transactions=TransactionStatus(
            outcomes={},
            rebuilds={},
            open_age=None,
            open_records=0,
            overlay_bytes=0,
            last_commit=None,
            duration=NOTHING,
            commit_duration=NOTHING,
            commit_p50=None,
            commit_p99=None,
            records=NOTHING,
            rebalances=0,
            rebalance_duration=NOTHING,
        ),
        tables=tables,
        dead_letters=dead_letters,
        fingerprints=(),
        findings=(),
        config=(),
    )


def table(name: str = "totals", number: int = 0, **differing: Any) -> TableStatus:
    row: dict[str, Any] = {"table": name, "partition": number, "state": "running", "keys": None, "bytes": None}
    return TableStatus(**{**row, **differing})


def unresolved(topic: str = "orders-dlq", number: int = 0, **differing: Any) -> DlqPartition:
    row: dict[str, Any] = {
        "topic": topic,
        "partition": number,
        "unresolved": 0,
        "lower_bound": False,
        "oldest": None,
        "is_read": True,
        "retention": None,
        "loss": None,
    }
    return DlqPartition(**{**row, **differing})
