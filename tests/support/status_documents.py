"""Status documents to show: an order processor in trouble, one that is well, and as many partitions as one likes."""

from __future__ import annotations

import math
from typing import Any, Final

from streamapp.monitor.status import (
    SCHEMA,
    AgentStatus,
    Bounds,
    ConfigRow,
    DeadLetterCount,
    DlqPartition,
    FindingStatus,
    Fingerprint,
    GroupStatus,
    Histogram,
    Mark,
    PartitionStatus,
    Point,
    Standing,
    StatusDocument,
    TableStatus,
    TransactionStatus,
    WorkerStatus,
)

NOW: Final = 1_795_780_800.0
"""2026-11-27 12:00:00 UTC."""
DAY: Final = 86_400.0
HISTOGRAM: Final = Histogram(bounds=(0.005, 0.01, 0.05, 0.1, 1.0), counts=(10, 400, 500, 80, 10, 0), total=31.4)


def history(
    lag: int, *, rising: float = 0.0, seconds: float = 1800.0, step: float = 10.0, gap: bool = False, pace: float = 120.0
) -> tuple[Point, ...]:
    """Return a ring that ends with `lag`, having grown by `rising` records per second; `pace` records are a second of age."""
    points = []
    count = int(seconds / step)
    for at in range(count + 1):
        back = (count - at) * step
        wave = 1 + 0.06 * math.sin(at / 5) if lag else 1
        value = max(0, round((lag - rising * back) * wave)) if back else lag
        unknown = gap and 0.4 < at / count < 0.5
        points.append(
            Point(
                at=NOW - back,
                lag=None if unknown else value,
                age=None if unknown else value / pace,
                committed=1_204_400,
                end=1_204_400 + value,
                log_start=0,
                position=1_204_400,
                high_watermark=1_204_400 + value,
                merged=100 * at,
                busy=0.9,
            )
        )
    return tuple(points)


def partition(number: int, *, topic: str = "orders", **changed: Any) -> PartitionStatus:
    """Return a partition that is read to its end, but for what is changed."""
    values: dict[str, Any] = {
        "topic": topic, "partition": number, "owner": "w-1", "owner_known": True, "state": "running", "status": "OK", "cause": "level",
        "since": NOW - 4000, "sentence": f"{topic}/{number} is level", "fix": None, "committed": 1_190_012, "position": 1_190_012,
        "end": 1_190_012, "high_watermark": 1_190_012, "log_start": 0, "lag": 0, "raw_lag": 0, "blocked": 0, "lost": 0, "age": None,
        "produced_rate": 120.0, "consumed_rate": 120.2, "growth": Bounds(estimate=0.02, low=-0.4, high=0.4), "drain": None,
        "capacity": 420.0, "utilization": 0.29, "loss": None, "loss_never": True, "loss_by": None, "retention": DAY,
        "retention_used": 0.0, "commit_age": 0.2, "in_flight": 12, "in_hand": 1, "history": history(0),
    }  # fmt: skip
    return PartitionStatus(**(values | changed))


def falling_behind(number: int = 3) -> PartitionStatus:
    """Return the worked example of OPERATIONS §3.3."""
    return partition(
        number,
        owner="w-2",
        status="FALLING_BEHIND",
        cause=None,
        sentence="orders/3 grows by 20 records/s (16…24): age reaches 1 h in 4h45m, unread records are deleted in 5d22h; 5 workers needed",
        fix="streamapp lag --only-lag --sort age",
        lag=90_000,
        raw_lag=90_000,
        age=750.0,
        produced_rate=120.0,
        consumed_rate=100.0,
        growth=Bounds(estimate=20.0, low=16.1, high=23.9),
        loss=513_900.0,
        loss_never=False,
        loss_by="time",
        retention_used=0.0087,
        history=history(90_000, rising=20.0),
        marks=(
            Mark(at=NOW - 1500, change="revoked", worker="w-1", detail="partition went to w-2"),
            Mark(at=NOW - 1490, change="assigned", worker="w-2"),
            Mark(at=NOW - 700, change="deployed", worker="w-2", version="1.4.0"),
        ),
    )


def troubled_partitions() -> tuple[PartitionStatus, ...]:
    """Return one partition of each status, worst first."""
    return (
        partition(
            6, status="DATA_LOST", cause=None, lag=41_000, raw_lag=41_000, age=93_000.0, lost=1_312, owner=None, log_start=1_191_324,
            sentence="1,312 records of orders/6 were deleted unread since 11:52:10Z; auto_offset_reset=earliest goes on at 1191324",
            fix="streamapp offsets reset --topic orders:6 --to-earliest", loss=0.0, loss_never=False, loss_by="time",
            retention_used=1.0, commit_age=5400.0, consumed_rate=0.0, growth=Bounds(estimate=120.0, low=118.0, high=122.0),
            history=history(41_000, rising=8, gap=True, pace=0.441),
        ),
        partition(
            1, status="AT_RISK", cause="time", lag=310_000, raw_lag=310_000, age=72_000.0, loss=14_400.0, loss_never=False,
            loss_by="time", retention_used=0.83, history=history(310_000, rising=60, pace=4.306),
            sentence="unread records of orders/1 are deleted in 4h: the age of 20h is 83 % of retention.ms",
            fix="kafka-configs --alter --topic orders --add-config retention.ms=172800000", produced_rate=4.3, consumed_rate=3.1, growth=Bounds(estimate=60.0, low=41.0, high=79.0),
            marks=(Mark(at=NOW - 1200, change="paused", detail="retry"), Mark(at=NOW - 400, change="breaker", detail="order_processor")),
        ),
        partition(
            4, status="STALLED", cause="breaker", lag=5_210, raw_lag=5_210, age=310.0, commit_age=300.0, consumed_rate=0.0,
            sentence="orders/4 stands since 5m: breaker of order_processor open, last error TimeoutError",
            fix="streamapp dlq stats --agent order_processor", blocked=40, history=history(5_210, rising=2.9),
            standing=(Standing(kind="breaker", since=NOW - 300, agent="order_processor", detail="TimeoutError"),),
            growth=Bounds(estimate=17.4, low=15.0, high=19.8), loss=86_000.0, loss_never=False, loss_by="time",
        ),
        partition(
            2, status="CLIFF", cause="restoring", state="restoring", lag=22_000, raw_lag=22_000, age=184.0, commit_age=184.0,
            consumed_rate=None, growth=None, sentence="orders/2 restores its tables: 62 %, 40s left; level again in about 2m10s", fix=None,
            history=history(22_000, rising=12.2),
        ),
        partition(
            7, status="UNKNOWN", cause="few samples", lag=31, raw_lag=31, age=11.0, growth=None, produced_rate=None, consumed_rate=None,
            owner=None, owner_known=False, state=None, commit_age=None, loss=None, loss_never=False, history=history(31, seconds=40),
            sentence="orders/7 is watched since 40s: known in 4m20s", fix=None,
        ),
        falling_behind(),
        partition(
            5, status="CATCHING_UP", cause=None, lag=90_000, raw_lag=90_000, age=751.0, consumed_rate=160.0,
            growth=Bounds(estimate=-40.0, low=-48.0, high=-32.0), drain=Bounds(estimate=2250.0, low=1875.0, high=2812.5),
            loss_never=True, history=history(90_000, rising=-40.0), sentence="orders/5 is level in 37m30s (31m15s…46m52s)",
        ),
        partition(0),
    )  # fmt: skip


def agent(name: str = "order_processor", **changed: Any) -> AgentStatus:
    """Return an agent that works."""
    values: dict[str, Any] = {
        "name": name, "topics": ("orders",), "dlq": "orders-dlq", "on_error": "skip", "concurrency": 1, "in_hand": 1, "processed": 1_204_411,
        "busy": 0.87, "duration": HISTOGRAM, "p50": 0.0021, "p95": 0.014, "p99": 0.31, "retries": {}, "dedupe_hits": 812,
        "dead_letters": (), "fingerprints": 0, "letter_write_failures": 0, "replayed": {}, "breakers": (), "blocked_keys": {},
        "held_records": {},
    }  # fmt: skip
    return AgentStatus(**(values | changed))


def troubled_agents() -> tuple[AgentStatus, ...]:
    return (
        agent(
            retries={"TimeoutError": 118, "RuntimeError": 2},
            dead_letters=(
                DeadLetterCount(error_type="TimeoutError", reason="retries-exhausted", count=28),
                DeadLetterCount(error_type="OrderInvalid", reason="permanent", count=9),
            ),
            fingerprints=2,
            replayed={"resolved": 5, "reopened": 1},
            breakers=(Standing(kind="breaker", since=NOW - 300, agent="order_processor", detail="orders/4, TimeoutError"),),
            blocked_keys={"orders/1": 2},
            held_records={"orders/1": 14},
        ),
        agent("sku_demand", topics=("sku-demand",), dlq="orders-dlq", dedupe_hits=None, busy=0.34, p99=0.009),
        agent("dead_letter_triage", topics=("orders-dlq",), dlq=None, on_error="stop", dedupe_hits=None, busy=0.0, processed=37, p50=None, p95=None, p99=None),
    )  # fmt: skip


def transactions(**changed: Any) -> TransactionStatus:
    values: dict[str, Any] = {
        "outcomes": {"committed": 18_204, "aborted": 3, "resumed": 1}, "rebuilds": {"fenced": 1}, "open_age": 0.14, "open_records": 61,
        "overlay_bytes": 48_230, "last_commit": NOW - 0.2, "duration": HISTOGRAM, "commit_duration": HISTOGRAM, "commit_p50": 0.011,
        "commit_p99": 0.084, "records": HISTOGRAM, "rebalances": 2, "rebalance_duration": HISTOGRAM,
    }  # fmt: skip
    return TransactionStatus(**(values | changed))


def fingerprint(name: str = "51d0a7e2c3f8", **changed: Any) -> Fingerprint:
    values: dict[str, Any] = {
        "fingerprint": name, "agent": "order_processor", "error_type": "TimeoutError", "reason": "retries-exhausted", "stage": "handler",
        "count": 28, "first": NOW - 8400, "last": NOW - 70, "dead_letters": ("orders/5/901", "orders/5/977", "orders/1/1204"),
        "dlq": "orders-dlq",
    }  # fmt: skip
    return Fingerprint(**(values | changed))


CONFIG: Final = (
    ConfigRow(name="broker", value="kafka-1:9092,kafka-2:9092", origin="environment", recommendation=None),
    ConfigRow(name="worker_id", value="w-1", origin="environment", recommendation=None),
    ConfigRow(name="commit_interval", value="0.2", origin="default", recommendation=None),
    ConfigRow(
        name="session_timeout",
        value="10",
        origin="pyproject.toml",
        recommendation="45; 1.5 × p95 of a restart where that is more",
    ),
    ConfigRow(name="producer_compression", value="none", origin="code", recommendation="lz4"),
    ConfigRow(name="sasl_password", value="***", origin="environment", recommendation=None),
)
FINDINGS: Final = (
    FindingStatus(
        id="C01", level="error", subject="acks", line="acks=1 is set: a record may be lost with its broker", why="exactly-once rests on acks=all",
        fix="unset STREAMAPP_BROKER_OPTIONS",
    ),
    FindingStatus(
        id="G01", level="warning", subject="order-processor", line="10 workers, 8 partitions: 2 idle", why="a partition has one worker",
        fix="run 8 workers, or create a wider topic (changes key placement)",
    ),
    FindingStatus(id="G02", level="information", subject="orders", line="headroom 1.3×", why="keep 2× for growth", fix=""),
    FindingStatus(id="T02", level="unchecked", subject="__transaction_state", line="could not check: no rights", why="its replication", fix=""),
)  # fmt: skip


def document(**changed: Any) -> StatusDocument:
    """Return an order processor in all sorts of trouble."""
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "at": NOW,
        "app_id": "order-processor",
        "worker": WorkerStatus(
            worker="w-1", version="1.4.0", streamapp="0.1.0", librdkafka="2.16.0", guarantee="exactly_once", pid=4711, started=NOW - 93_600,
            url="http://w-1:6066", ready=True, draining=False, failing=None, loop_lag=0.0012,
        ),
        "group": GroupStatus(
            group="order-processor", status="DATA_LOST", sentence="1 of 8 partitions lost data (6); oldest unread 25h50m; loss in 0s",
            partitions=8, workers=2, workers_needed=5, workers_capped=False,
        ),
        "partitions": troubled_partitions(),
        "agents": troubled_agents(),
        "transactions": transactions(),
        "tables": (
            TableStatus(table="processed_orders", partition=0, state="running", keys=812_400, bytes=184_320_000),
            TableStatus(
                table="customer_totals", partition=2, state="restoring", keys=None, bytes=None, restored=62_000, remaining=38_000, rate=950.0,
                seconds_left=40.0,
            ),
            TableStatus(table="sku_totals", partition=1, state="restoring", keys=None, bytes=None, restored=10, remaining=5, waiting=12.0),
        ),
        "dead_letters": (
            DlqPartition(
                topic="orders-dlq", partition=5, unresolved=31, lower_bound=False, oldest=NOW - 68_640, is_read=True, retention=30 * DAY,
                loss=29 * DAY + 14_400,
            ),
            DlqPartition(
                topic="orders-dlq", partition=1, unresolved=6, lower_bound=True, oldest=NOW - 600, is_read=False, retention=30 * DAY,
                loss=30 * DAY - 600,
            ),
        ),
        "fingerprints": (
            fingerprint(),
            fingerprint("9c1f04be77a2", error_type="OrderInvalid", reason="permanent", stage="validate", count=9, dead_letters=("orders/3/1842",)),
        ),
        "findings": FINDINGS,
        "config": CONFIG,
    }  # fmt: skip
    return StatusDocument(**(values | changed))


def well(**changed: Any) -> StatusDocument:
    """Return one where nothing is to be done."""
    values: dict[str, Any] = {
        "group": GroupStatus(
            group="order-processor", status="OK", sentence="8 partitions level", partitions=8, workers=2, workers_needed=2,
            workers_capped=False,
        ),
        "partitions": tuple(partition(number) for number in range(8)),
        "agents": (agent(), agent("sku_demand", topics=("sku-demand",))),
        "tables": (TableStatus(table="processed_orders", partition=0, state="running", keys=812_400, bytes=184_320_000),),
        "dead_letters": (),
        "fingerprints": (),
        "findings": (),
    }  # fmt: skip
    return document(**(values | changed))


def wide(partitions: int = 64) -> StatusDocument:
    """Return one with many partitions, all of them behind, many tables and kinds of failure, and all settings."""
    behind = falling_behind()
    rows = tuple(
        partition(
            number, status="FALLING_BEHIND", sentence=behind.sentence, fix=behind.fix, lag=90_000 + number, age=750.0, growth=behind.growth,
            loss=513_900.0, loss_never=False, loss_by="time", history=history(90_000 + 17 * number, rising=20.0), marks=behind.marks,
        )
        for number in range(partitions)
    )  # fmt: skip
    return document(
        partitions=rows,
        tables=tuple(
            TableStatus(table=name, partition=number, state="running", keys=812_400 + number, bytes=184_320_000)
            for name in ("processed_orders", "customer_totals")
            for number in range(partitions // 2)
        ),
        fingerprints=tuple(
            fingerprint(f"{number:012x}", dead_letters=tuple(f"orders/{number}/{each}" for each in range(3)))
            for number in range(10)
        ),
        config=tuple(
            ConfigRow(name=f"a_setting_of_some_length_{number}", value="127.0.0.1:9092", origin="default", recommendation=None)
            for number in range(100)
        ),
    )


__all__ = [
    "CONFIG", "DAY", "FINDINGS", "HISTOGRAM", "NOW", "agent", "document", "falling_behind", "fingerprint", "history", "partition",
    "transactions", "troubled_agents", "troubled_partitions", "well", "wide",
]  # fmt: skip
