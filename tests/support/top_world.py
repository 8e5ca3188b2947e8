"""Two workers' status documents, for those who show them: one behind, one that restores, at a fixed time."""

from __future__ import annotations

from typing import Any, Final

from streamapp.monitor.status import (
    SCHEMA,
    AgentStatus,
    Bounds,
    DeadLetterCount,
    DlqPartition,
    GroupStatus,
    Histogram,
    PartitionStatus,
    Point,
    StatusDocument,
    TableStatus,
    TransactionStatus,
    WorkerStatus,
)

NOW: Final = 1_800_000_000.0
NOTHING: Final = Histogram(bounds=(0.1, 1.0), counts=(0, 0, 0), total=0.0)


def partition(number: int, **more: Any) -> PartitionStatus:
    """One that has nothing unread."""
    known: dict[str, Any] = {
        "topic": "orders", "partition": number, "owner": "w-0", "owner_known": True, "state": "running", "status": "OK", "cause": "done",
        "since": NOW - 600, "sentence": "nothing unread", "fix": None, "committed": 1_190_012, "position": 1_190_012, "end": 1_190_012,
        "high_watermark": 1_190_012, "log_start": 0, "lag": 0, "raw_lag": 0, "blocked": 0, "lost": 0, "age": None, "produced_rate": 100.0,
        "consumed_rate": 100.0, "growth": Bounds(estimate=0.0, low=-0.5, high=0.5), "drain": None, "capacity": None, "utilization": None,
        "loss": None, "loss_never": True, "loss_by": None, "retention": 86_400.0, "retention_used": None, "commit_age": 0.2,
        "in_flight": 0, "in_hand": 0,
    }  # fmt: skip
    return PartitionStatus(**(known | more))


def history(lags: list[int | None]) -> tuple[Point, ...]:
    first = NOW - 10 * len(lags)
    return tuple(
        Point(at=first + 10 * at, lag=lag, age=None, committed=None, end=None, log_start=None, position=None, high_watermark=None, merged=None, busy=None)
        for at, lag in enumerate(lags)
    )  # fmt: skip


def behind(number: int = 3) -> PartitionStatus:
    """OPERATIONS' worked example."""
    return partition(
        number, status="FALLING_BEHIND", cause=None, sentence="falling behind by 20/s (16…24); oldest unread 12m30s; loss in 5d22h",
        fix="streamapp lag --partition 3", lag=90_000, raw_lag=90_000, age=750.0, produced_rate=120.0, consumed_rate=100.0,
        growth=Bounds(estimate=20.0, low=16.1, high=23.9), loss=513_900.0, loss_never=False, utilization=1.2, in_flight=4096,
        history=history([54_000 + 200 * at for at in range(180)]),
    )  # fmt: skip


def agent(**more: Any) -> AgentStatus:
    known: dict[str, Any] = {
        "name": "order_processor", "topics": ("orders",), "dlq": "orders-dlq", "on_error": "skip", "concurrency": 1, "in_hand": 1,
        "processed": 812_000, "busy": 0.93, "duration": NOTHING, "p50": 0.004, "p95": 0.009, "p99": 0.041,
        "retries": {"TimeoutError": 12}, "dedupe_hits": 3, "dead_letters": (DeadLetterCount(error_type="KeyError", reason="permanent", count=7),),
        "fingerprints": 1, "letter_write_failures": 0, "replayed": {}, "breakers": (), "blocked_keys": {}, "held_records": {},
    }  # fmt: skip
    return AgentStatus(**(known | more))


def document(name: str = "w-0", **more: Any) -> StatusDocument:
    known: dict[str, Any] = {
        "schema": SCHEMA,
        "at": NOW,
        "app_id": "order-processor",
        "worker": WorkerStatus(
            worker=name, version="1.4.0", streamapp="0.1.0", librdkafka="2.16.1", guarantee="exactly_once", pid=7, started=NOW - 86_400,
            url=f"http://{name}:6066", ready=True, draining=False, failing=None, loop_lag=0.001,
        ),
        "group": GroupStatus(
            group="order-processor", status="FALLING_BEHIND",
            sentence="1 of 2 partitions falling behind (3); oldest unread 12m30s; loss in 5d22h; 5 workers needed, 2 run",
            partitions=2, workers=2, workers_needed=5, workers_capped=False,
        ),
        "partitions": (behind(), partition(0, history=history([0] * 180))),
        "agents": (agent(),),
        "transactions": TransactionStatus(
            outcomes={"committed": 41_233, "aborted": 3, "resumed": 1, "unknown": 0}, rebuilds={"fenced": 1}, open_age=0.12, open_records=31,
            overlay_bytes=4096, last_commit=NOW - 0.1, duration=NOTHING, commit_duration=NOTHING, commit_p50=0.006, commit_p99=0.02,
            records=NOTHING, rebalances=2, rebalance_duration=NOTHING,
        ),
        "tables": (TableStatus(table="customer_totals", partition=3, state="running", keys=20_000, bytes=3_400_000),),
        "dead_letters": (
            DlqPartition(topic="orders-dlq", partition=3, unresolved=31, lower_bound=False, oldest=NOW - 68_640, is_read=True,
                         retention=2_592_000.0, loss=2_523_360.0),
        ),
        "fingerprints": (),
        "findings": (),
        "config": (),
    }  # fmt: skip
    return StatusDocument(**(known | more))


def restoring() -> StatusDocument:
    """The second worker: it restores a table of the only partition that it owns."""
    whole = document("w-1")
    return document(
        "w-1",
        worker=WorkerStatus(
            worker="w-1", version="1.4.0", streamapp="0.1.0", librdkafka="2.16.1", guarantee="exactly_once", pid=8, started=NOW - 20,
            url=None, ready=False, draining=False, failing="restoring customer_totals/5", loop_lag=None,
        ),
        group=GroupStatus(
            group="order-processor", status="CLIFF", sentence="1 of 1 partitions restoring (5): 61 % done, 8s left",
            partitions=1, workers=2, workers_needed=None, workers_capped=False,
        ),
        partitions=(
            partition(5, owner="w-1", state="restoring", status="CLIFF", cause="restoring", sentence="restoring, 61 % done, 8s left",
                      lag=4_100, raw_lag=4_100, age=42.0, growth=None, produced_rate=None, consumed_rate=None, loss=None, loss_never=False,
                      commit_age=None),
            partition(3, owner="w-0", state=None, status="UNKNOWN", cause="few samples", sentence="not seen long enough", lag=None, age=None),
        ),
        agents=(agent(in_hand=0, processed=0, busy=None, p50=None, p99=None, retries={}, dead_letters=()),),
        transactions=TransactionStatus(
            outcomes={}, rebuilds={}, open_age=None, open_records=0, overlay_bytes=0, last_commit=None, duration=NOTHING,
            commit_duration=NOTHING, commit_p50=None, commit_p99=None, records=NOTHING, rebalances=1, rebalance_duration=NOTHING,
        ),
        tables=(
            TableStatus(table="customer_totals", partition=5, state="restoring", keys=None, bytes=None, restored=61_000, remaining=39_000,
                        rate=4_875.0, seconds_left=8.0),
        ),
        dead_letters=(),
        fingerprints=whole.fingerprints,
    )  # fmt: skip
