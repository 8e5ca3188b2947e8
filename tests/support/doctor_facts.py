"""A healthy app as the doctor sees it, by hand; a test changes the one thing that is ill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from streamapp.doctor.facts import (
    DAY,
    App,
    Directory,
    Ends,
    Facts,
    Group,
    Heard,
    Letters,
    Member,
    Rights,
    Sample,
    Topic,
)
from streamapp.monitor.status import (
    SCHEMA,
    AgentStatus,
    ConfigRow,
    DoctorFacts,
    GroupStatus,
    Histogram,
    PartitionStatus,
    StatusDocument,
    TransactionStatus,
    WorkerStatus,
)
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.spec import AgentSpec, DedupeSpec, SourceSpec, TableSpec
from streamapp.records import Partition
from streamapp.settings import load
from streamapp.worker.meta import TopicRow, WorkerRow

APP: Final = "shop"
ORDERS, PRICED, DLQ = "orders", "priced", "orders-dlq"
SEEN, TOTALS = "shop-seen-changelog", "shop-totals-changelog"
NOW: Final = 1_764_240_000.0
PARTITIONS: Final = 4


async def _nothing(cursor: object) -> None:
    """An agent that is only described."""


def an_agent(name: str, *topics: str, dlq: str | None = DLQ, dedupe: str | None = None, **retry: float) -> AgentSpec:
    return AgentSpec(
        name=name,
        sources=tuple(SourceSpec(topic=topic, decode=bytes) for topic in topics),
        run=_nothing,
        dlq=dlq,
        retry=Retry(**retry),  # type: ignore[arg-type]  # seconds
        dedupe=None if dedupe is None else DedupeSpec(table=dedupe, key=repr, encode=lambda key: repr(key).encode()),
    )


def an_app(**changes: Any) -> App:
    """The app with these settings (`app_id=` and the like) or fields of App (`agents=`, `tables=`, `topics=`, `unloaded=`)."""
    fields: dict[str, Any] = {name: changes.pop(name) for name in ("agents", "tables", "topics", "unloaded") if name in changes}
    given: dict[str, Any] = {
        "agents": (an_agent("process", ORDERS, dedupe="seen"), an_agent("triage", DLQ, dlq=None)),
        "tables": (
            TableSpec(name="seen", topics=(ORDERS,), changelog=SEEN, horizon=7 * DAY),
            TableSpec(name="totals", topics=(ORDERS,), changelog=TOTALS),
        ),
        "topics": frozenset({ORDERS, PRICED}),
        **fields,
    }
    return App(settings=load({"app_id": APP, "broker": "kafka:9092", **changes}, {}, {}), **given)


def a_member(worker: str, *numbers: int, topic: str = ORDERS, host: str = "10.0.0.1", is_static: bool = True) -> Member:
    return Member(f"{worker}-{topic}", worker, host, frozenset(Partition(topic, number) for number in numbers), is_static)


def a_group(*members: Member, state: str = "stable") -> Group:
    return Group(state if members else "empty", "cooperative-sticky", members)


def two_workers() -> Group:
    return a_group(
        a_member("w-0", 0, 1), a_member("w-1", 2, 3), a_member("w-0", 0, 1, topic=DLQ), a_member("w-1", 2, 3, topic=DLQ)
    )


HEALTHY_CONFIGS: Final[Mapping[str, Mapping[str, str]]] = {
    ORDERS: {"retention.ms": str(int(7 * DAY * 1000)), "max.message.bytes": "1048588", "min.insync.replicas": "2"},
    PRICED: {"retention.ms": str(int(7 * DAY * 1000)), "max.message.bytes": "1048588", "min.insync.replicas": "2"},
    DLQ: {"retention.ms": str(int(30 * DAY * 1000)), "max.message.bytes": str(1_048_588 + 65_536), "min.insync.replicas": "2"},
    SEEN: {"cleanup.policy": "compact", "min.insync.replicas": "2"},
    TOTALS: {"cleanup.policy": "compact", "min.insync.replicas": "2"},
}


def configs(topic: str, **config: object) -> Mapping[str, Mapping[str, str]]:
    """The settings with some of one topic's changed; underscores are dots."""
    changed = {name.replace("_", "."): str(value) for name, value in config.items()}
    return {**HEALTHY_CONFIGS, topic: {**HEALTHY_CONFIGS[topic], **changed}}


def topics(counts: Mapping[str, int] | None = None, **more: int) -> dict[str, Topic]:
    """The topics, some with other partition counts; 0 = missing."""
    given = {**(counts or {}), **more}
    names = (ORDERS, PRICED, DLQ, SEEN, TOTALS, "__transaction_state")
    return {name: Topic(name, count, 3) for name in {*names, *given} if (count := given.get(name, PARTITIONS))}


def replicated(replicas: int, *names: str) -> dict[str, Topic]:
    """The topics, these with so many replicas."""
    return {name: replace(topic, replicas=replicas) if name in names else topic for name, topic in topics().items()}


_NOTHING: Final = Histogram(bounds=(1.0,), counts=(0, 0), total=0.0)


def a_partition(number: int, topic: str = ORDERS, **changes: Any) -> PartitionStatus:
    given: dict[str, Any] = {
        "topic": topic, "partition": number, "owner": "w-0", "owner_known": True, "state": "running", "status": "OK", "cause": None,
        "since": None, "sentence": "", "fix": None, "committed": 100, "position": 100, "end": 100, "high_watermark": 100,
        "log_start": 0, "lag": 0, "raw_lag": 0, "blocked": 0, "lost": 0, "age": 0.0, "produced_rate": 10.0, "consumed_rate": 10.0,
        "growth": None, "drain": None, "capacity": 100.0, "utilization": 0.1, "loss": None, "loss_never": True, "loss_by": None,
        "retention": None, "retention_used": None, "commit_age": 0.1, "in_flight": 0, "in_hand": 0,
    }  # fmt: skip
    return PartitionStatus(**{**given, **changes})


def an_agent_status(name: str, p99: float | None) -> AgentStatus:
    return AgentStatus(
        name=name, topics=(ORDERS,), dlq=DLQ, on_error="skip", concurrency=1, in_hand=0, processed=0, busy=None, duration=_NOTHING,
        p50=None, p95=None, p99=p99, retries={}, dedupe_hits=None, dead_letters=(), fingerprints=0, letter_write_failures=0,
        replayed={}, breakers=(), blocked_keys={}, held_records={},
    )  # fmt: skip


def a_worker(
    worker: str = "w-0", *, version: str = "1.4", started: float = NOW - 7200, pid: int = 7, clock: float = 0.0, p99: float = 0.01,
    commit_p99: float = 0.05, url: str | None = None, protocol: str = "classic", doctor: DoctorFacts | None = None, **document: Any,
) -> Heard:  # fmt: skip
    """A worker that answers; `doctor`: what only it knows; the rest as fields of its document."""
    given: dict[str, Any] = {
        "schema": SCHEMA,
        "at": NOW + clock,
        "app_id": APP,
        "worker": WorkerStatus(
            worker=worker, version=version, streamapp="1", librdkafka="2.16", guarantee="exactly_once", pid=pid, started=started,
            url=url, ready=True, draining=False, failing=None, loop_lag=None,
        ),
        "group": GroupStatus(
            group=APP, status="OK", sentence="", partitions=4, workers=2, workers_needed=1, workers_capped=False
        ),
        "partitions": tuple(a_partition(number) for number in range(PARTITIONS)),
        "agents": (an_agent_status("process", p99),),
        "transactions": TransactionStatus(
            outcomes={}, rebuilds={}, open_age=None, open_records=0, overlay_bytes=0, last_commit=NOW, duration=_NOTHING,
            commit_duration=_NOTHING, commit_p50=None, commit_p99=commit_p99, records=_NOTHING, rebalances=0,
            rebalance_duration=_NOTHING,
        ),
        "tables": (),
        "dead_letters": (),
        "fingerprints": (),
        "findings": (),
        "config": (ConfigRow(name="group_protocol", value=protocol, origin="default", recommendation=None),),
        "doctor": doctor or DoctorFacts(new_worker_id=False),
        **document,
    }  # fmt: skip
    return Heard(url or f"http://{worker}:6066", StatusDocument(**given), clock)


def a_sample(records: int = 100, *, null_keys: int = 0, hot: int = 1, size: int = 100) -> Sample:
    return Sample(records, null_keys, ((b"ann", hot),), (size,) * records)


def of_orders(values: Mapping[int, Any] | float, topic: str = ORDERS) -> dict[Partition, Any]:
    """Give each partition of the source its value."""
    if isinstance(values, Mapping):
        return {Partition(topic, number): value for number, value in values.items()}
    return {Partition(topic, number): values for number in range(PARTITIONS)}


def healthy(**changes: Any) -> Facts:
    """All is well but for `changes`, fields of Facts."""
    given: dict[str, Any] = {
        "now": NOW,
        "app": an_app(),
        "brokers": (1, 2, 3),
        "kafka": 29,
        "clock": 0.02,
        "topics": topics(),
        "configs": HEALTHY_CONFIGS,
        "broker_config": {
            "group.min.session.timeout.ms": "6000",
            "group.max.session.timeout.ms": "1800000",
            "transaction.max.timeout.ms": "900000",
            "auto.create.topics.enable": "false",
            "offsets.retention.minutes": "10080",
        },
        "group": two_workers(),
        "committed": of_orders(100),
        "empty_since": None,
        "topics_seen": {ORDERS: TopicRow(partitions=PARTITIONS, seen=NOW - 30 * DAY)},
        "workers_seen": {name: WorkerRow(version="1.4", starts=(NOW - 7200,)) for name in ("w-0", "w-1")},
        "ends": {**of_orders(Ends(0, 100, 100)), **{Partition(SEEN, number): Ends(0, 50, 50) for number in range(PARTITIONS)}},  # type: ignore[arg-type]
        "rates": of_orders(10.0),
        "ages": of_orders(0.0),
        "samples": {**of_orders({number: a_sample() for number in range(PARTITIONS)}), Partition(PRICED, 0): a_sample()},
        "transactions": (),
        "rights": Rights(may_write={DLQ: True}, may_create={}),
        "letters": {DLQ: Letters(3, 1, "orders/1/7@process", 3600.0, "orders/1/7@process", 29 * DAY)},
        "directory": Directory(Path("/data/w-0"), exists=True, app_id=APP, worker_id="w-0", table_bytes=1_000_000),
        "workers": (a_worker("w-0"), a_worker("w-1", pid=8)),
    }
    return Facts(**{**given, **changes})
