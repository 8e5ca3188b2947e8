"""For each check of the doctor: illnesses with what is said of them, and what is near them and well."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streamapp.doctor.catalogue import CATALOGUE
from streamapp.doctor.facts import (
    DAY,
    HOUR,
    NOT_ASKED,
    Directory,
    Ends,
    Facts,
    Letters,
    OpenTransaction,
    Rights,
    Unread,
)
from streamapp.monitor.finding import Level
from streamapp.monitor.status import DoctorFacts, Mark, RebalanceNote, TableStatus
from streamapp.pipeline.spec import TableSpec
from streamapp.records import Partition
from streamapp.settings import Options
from streamapp.worker.meta import TopicRow, WorkerRow
from tests.support.doctor_facts import (
    DLQ,
    NOW,
    ORDERS,
    PRICED,
    SEEN,
    TOTALS,
    a_group,
    a_member,
    a_partition,
    a_sample,
    a_worker,
    an_agent,
    an_app,
    configs,
    healthy,
    of_orders,
    replicated,
    topics,
)

CHECKS = {check.id: check for check in CATALOGUE}
E, W, INFO = Level.ERROR, Level.WARNING, Level.INFORMATION


@dataclass(frozen=True)
class Case:
    """One illness and what is said of it; `level` None: this is near it, and well."""

    id: str
    facts: Facts
    level: Level | None = None
    says: tuple[str, ...] = ()
    """Parts of the line or the fix of one finding."""


def fires(id_: str, level: Level, *says: str, **changes: Any) -> Case:
    return Case(id_, healthy(**changes), level, says)


def is_quiet(id_: str, **changes: Any) -> Case:
    return Case(id_, healthy(**changes))


def knows(**more: Any) -> DoctorFacts:
    return DoctorFacts(**{"new_worker_id": False, **more})


def six_workers() -> Any:
    return a_group(*(a_member(f"w-{number}", *([number] if number < 4 else [])) for number in range(6)))


def notes(number: int, seconds: float = 1.0, *, apart: float = 60.0) -> tuple[RebalanceNote, ...]:
    return tuple(RebalanceNote(at=NOW - apart * (number - each), seconds=seconds, gained=1, lost=0) for each in range(number))


def held(**changes: Any) -> OpenTransaction:
    given: dict[str, Any] = {
        "partition": Partition(ORDERS, 2), "stable": 40, "high": 65, "leader": 1, "producer_id": 17, "epoch": 3,
        "transactional_id": "other-1", "state": "Ongoing", "age": 100.0, "timeout": 60.0, "start": 40,
    }  # fmt: skip
    return OpenTransaction(**{**given, **changes})


def joined(count: int = 8) -> dict[str, Any]:
    """An app with two sources that feed one table."""
    both = (an_agent("process", ORDERS), an_agent("payments", "payments"))
    table = TableSpec(name="totals", topics=(ORDERS, "payments"), changelog=TOTALS)
    return {"app": an_app(agents=both, tables=(table,)), "topics": topics(payments=count)}


def replay_topic(count: int) -> dict[str, Any]:
    return {"topics": topics({"shop-process-replay": count})}


def table(size: int) -> TableStatus:
    return TableStatus(table="totals", partition=0, state="running", keys=1, bytes=size)


def options(**given: Any) -> Any:
    """An app whose raw options were not refused when the settings were read."""
    app = an_app()
    broker = replace(app.settings.broker)
    object.__setattr__(broker, "consumer_options", Options(given))
    return replace(app, settings=replace(app.settings, broker=broker))


def crooked(**given: float) -> Any:
    """An app with times that the settings would refuse."""
    app = an_app()
    transaction, group = replace(app.settings.transaction), replace(app.settings.group)
    for name, value in given.items():
        object.__setattr__(transaction if hasattr(transaction, name) else group, name, value)
    return replace(app, settings=replace(app.settings, transaction=transaction, group=group))


CASES = [
    # --- the group
    fires("G01", W, "6 workers, 4 partitions: 2 idle", "run 4, or create a wider topic", group=six_workers()),
    fires("G01", W, "5 workers, 4 partitions: 1 idle", group=a_group(*(a_member(f"w-{n}", n) for n in range(4))), at_start=True, worker="w-9"),
    is_quiet("G01", group=a_group(*(a_member(f"w-{n}", n) for n in range(4))), at_start=True, worker="w-1"),
    fires("G02", INFO, "3 workers on 4 partitions: headroom 1.3×", "6 partitions", group=a_group(*(a_member(f"w-{n}", n) for n in range(3)))),
    is_quiet("G02"),
    fires("G03", W, "w-0=3 w-1=1", "1, 2 or 4 workers for 4 partitions", group=a_group(a_member("w-0", 0, 1, 2), a_member("w-1", 3))),
    is_quiet("G03", group=a_group(a_member("w-0", 0, 1), a_member("w-1", 2), a_member("w-2", 3))),
    fires(
        "G04", W, "was made at this start", "STREAMAPP_WORKER_ID", at_start=True, workers=NOT_ASKED,
        directory=Directory(Path("/data"), exists=True, worker_id="a-uuid", is_new=True),
    ),
    fires("G04", W, "worker id w-0 was made", workers=(a_worker("w-0", doctor=knows(new_worker_id=True)),)),
    is_quiet("G04", directory=Directory(Path("/data"), exists=True, worker_id="a-uuid", is_new=True), committed={}),
    is_quiet("G04", app=an_app(worker_id="w-0"), directory=Directory(Path("/data"), exists=True, worker_id="w-0", is_new=True)),
    fires("G05", E, "2 live workers are called w-0", "http://a:6066 (process 7)", "http://b:6066 (process 9)",
          workers=(a_worker("w-0", url="http://a:6066"), a_worker("w-0", pid=9, url="http://b:6066"))),
    fires("G05", E, "10.0.0.1, 10.0.0.2", group=a_group(
        a_member("w-0", 0, is_static=False), a_member("w-0", 1, host="10.0.0.2", is_static=False))),
    is_quiet("G05", group=a_group(a_member("w-0", 0, is_static=False), a_member("w-0", 1, topic=PRICED, is_static=False))),
    fires("G06", W, "restart 48s, session 45s", "STREAMAPP_SESSION_TIMEOUT=72", workers=(a_worker(doctor=knows(restarts=(3.0, 48.0))),)),
    fires("G06", INFO, "above 5m", app=an_app(session_timeout=301, max_poll_interval=400)),
    is_quiet("G06", workers=(a_worker(doctor=knows(restarts=(30.0, 2.0))),)),
    is_quiet("G06", app=an_app(session_timeout=300)),
    fires("G07", E, "STREAMAPP_SESSION_TIMEOUT=5", "6 to 1800", app=an_app(session_timeout=5, transaction_timeout=5, commit_interval=0.2)),
    fires("G07", E, "STREAMAPP_TRANSACTION_TIMEOUT=40", "30 s at most", broker_config={"transaction.max.timeout.ms": "30000"},
          app=an_app(transaction_timeout=40)),
    fires("G07", W, "transaction_timeout 60 s is above session_timeout 45 s", app=an_app(transaction_timeout=60)),
    fires("G07", E, "STREAMAPP_HEARTBEAT_INTERVAL=16", app=crooked(heartbeat_interval=16.0)),
    fires("G07", E, "STREAMAPP_COMMIT_INTERVAL=11", app=crooked(commit_interval=11.0)),
    is_quiet("G07", broker_config={}),
    is_quiet("G07", app=an_app(session_timeout=6, transaction_timeout=6, heartbeat_interval=2)),
    fires("G08", W, "process: p99 6s, half of the attempt timeout is 5s", "attempt_timeout", workers=(a_worker(p99=6.0),)),
    fires("G08", W, "take(64)", "use take(40)", workers=(a_worker(p99=8.0, doctor=knows(batch_max={"process": 64})),)),
    fires("G08", W, "half of max_poll_interval is 30s", "STREAMAPP_MAX_POLL_INTERVAL=70", app=an_app(max_poll_interval=60),
          workers=(a_worker(p99=4.0, commit_p99=31.0),)),
    is_quiet("G08", workers=(a_worker(p99=5.0),)),
    fires("G09", W, "3 rebalances in 10m", "started: w-1", "look at G06 and G08", workers=(a_worker(doctor=knows(rebalances=notes(3))),),
          workers_seen={"w-1": WorkerRow(version="1.4", starts=(NOW - 100,))}),
    fires("G09", W, "members expired, no deploy: handlers too slow", "gone: w-7", workers=(a_worker(doctor=knows(rebalances=notes(3))),),
          workers_seen={"w-7": WorkerRow(version="1.4", starts=(NOW - 1800,))}),
    fires("G09", W, "40s of the last hour", workers=(a_worker(doctor=knows(rebalances=notes(1, 40.0, apart=3000.0))),)),
    is_quiet("G09", workers=(a_worker(doctor=knows(rebalances=notes(2))),)),
    is_quiet("G09", workers=(a_worker(doctor=knows(rebalances=notes(3, apart=400.0))),)),
    fires("G10", W, "w-0 1.4, w-1 1.3", workers=(a_worker("w-0"), a_worker("w-1", version="1.3"))),
    fires("G10", W, "w-0 1.4, w-1 1.3", workers=(a_worker("w-0"),), workers_seen={
        "w-1": WorkerRow(version="1.3", starts=(NOW - 7200,)), "w-9": WorkerRow(version="0.1", starts=(NOW - 9200,))}),
    fires("G10", W, "w-0 classic, w-1 consumer", workers=(a_worker("w-0"), a_worker("w-1", protocol="consumer"))),
    is_quiet("G10", workers=(a_worker("w-0", started=NOW - 500), a_worker("w-1", version="1.3"))),
    fires("G11", E, "expire in 19h, then 400 records are read again", "offsets.retention.minutes", group=a_group(),
          empty_since=NOW - 7 * DAY + 19 * HOUR),
    fires("G11", W, "expire in 6d, then 400 records are skipped", group=a_group(), empty_since=NOW - DAY,
          app=an_app(auto_offset_reset="latest")),
    is_quiet("G11", group=a_group(), committed={}),
    is_quiet("G11"),
    # --- partitions
    fires("P01", E, "orders 4, payments 8", "totals", **joined(8)),
    is_quiet("P01", **joined(4)),
    fires("P01", E, "changelog 4, source orders 12", "table totals cannot", "offsets reset", topics=topics(orders=12)),
    fires("P01", E, "shop-process-replay 3, source orders 4", **replay_topic(3)),
    is_quiet("P01", **replay_topic(4)),
    is_quiet("P01", topics=topics({DLQ: 2})),
    fires("P02", E, "orders: 4 → 12 on 2026-11-20", "app reset", topics=topics(orders=12),
          topics_seen={ORDERS: TopicRow(partitions=4, seen=0.0, grown_to=12, grown_at=1_795_132_800.0)}),
    fires("P02", W, "orders: 4 → 12", app=an_app(tables=()), topics=topics(orders=12)),
    is_quiet("P02"),
    is_quiet("P02", topics_seen={}),
    fires("P03", INFO, "orders: 4 partitions for 3 workers", "--partitions 6",
          group=a_group(*(a_member(f"w-{n}", n) for n in range(3)))),
    fires("P03", INFO, "40/s come in, one partition can take 5/s", "--partitions 24", group=a_group(*(a_member(f"w-{n}", n) for n in range(3))),
          workers=(a_worker(partitions=tuple(a_partition(n, capacity=5.0) for n in range(4))),)),
    is_quiet("P03"),
    fires("P04", W, "orders/2: 31.0/s", "the middle one has 10.0/s", "61%", "sha256:", rates=of_orders({0: 10.0, 1: 10.0, 2: 31.0, 3: 1.0}),
          samples=of_orders({2: a_sample(hot=61)})),
    fires("P04", W, "'ann'", rates=of_orders({0: 10.0, 1: 10.0, 2: 31.0, 3: 1.0}), samples=of_orders({2: a_sample(hot=61)}), show_keys=True),
    fires("P04", INFO, "orders/7: 20.0/s", "on average", rates=of_orders({**dict.fromkeys(range(7), 9.0), 7: 20.0})),
    is_quiet("P04", rates=of_orders({0: 10.0, 1: 10.0, 2: 31.0, 3: 11.0})),
    is_quiet("P04", rates=of_orders({0: 0.1, 1: 0.1, 2: 0.9, 3: 0.1})),
    fires("P05", W, "orders/1 is 10m behind", "the middle one of orders 2.5s", ages=of_orders({0: 2.0, 1: 600.0, 2: 1.0, 3: 3.0})),
    is_quiet("P05", ages=of_orders({0: 100.0, 1: 499.0, 2: 100.0, 3: 100.0})),
    is_quiet("P05", ages=of_orders({0: 0.0, 1: 9.0, 2: 0.0, 3: 0.0})),
    fires("P06", W, "24 of the last 400 records of orders have no key (6%)", "seen", samples=of_orders({n: a_sample(null_keys=6) for n in range(4)})),
    is_quiet("P06", samples=of_orders({n: a_sample(null_keys=5) for n in range(4)})),
    is_quiet("P06", app=an_app(tables=()), samples=of_orders({0: a_sample(null_keys=100)})),
    fires("P07", W, "orders/0", "without a worker for 1h", "start a worker", group=a_group(), empty_since=NOW - HOUR),
    fires("P07", W, "orders/3 without a worker for 1m40s; last: w-1", group=a_group(a_member("w-0", 0, 1, 2), a_member("w-0", 0, 1, 2, 3, topic=DLQ)),
          workers=(a_worker(partitions=(a_partition(3, cause="no owner", since=NOW - 100, owner=None,
                                                    marks=(Mark(at=NOW - 900, change="assigned", worker="w-1"),)),)),)),
    is_quiet("P07", group=a_group(), empty_since=NOW - 40),
    is_quiet("P07"),
    # --- topics
    fires("T01", E, "1 replica on 3 brokers: orders", "kafka-reassign-partitions.sh", topics=replicated(1, ORDERS)),
    fires("T01", W, "1 replica on 2 brokers", brokers=(1, 2), topics=replicated(1, ORDERS)),
    fires("T01", E, "min.insync.replicas 3 of 3", "min.insync.replicas=2", configs=configs(ORDERS, min_insync_replicas=3)),
    fires("T01", W, "min.insync.replicas 1 of 3", "min.insync.replicas=2", configs=configs(TOTALS, min_insync_replicas=1)),
    is_quiet("T01", topics=replicated(2, ORDERS), configs=configs(ORDERS, min_insync_replicas=1)),
    fires("T02", E, "2 replicas on 3 brokers", topics=replicated(2, "__transaction_state")),
    fires("T02", E, "1 replica on 3 brokers", topics=topics(__transaction_state=0), broker_config={"transaction.state.log.replication.factor": "1"}),
    is_quiet("T02", brokers=(1, 2), topics=replicated(1, "__transaction_state")),
    is_quiet("T02"),
    fires("T03", W, "half of the values are above 250 bytes", "lz4", app=an_app(producer_compression="none"),
          samples={Partition(PRICED, 0): a_sample(size=250)}),
    fires("T03", W, "batches are 4.0% full", "STREAMAPP_PRODUCER_LINGER=0.01", app=an_app(producer_linger=0),
          workers=(a_worker(doctor=knows(batch_fill=0.04)),)),
    is_quiet("T03", app=an_app(producer_compression="none"), samples={Partition(PRICED, 0): a_sample(size=200), Partition(ORDERS, 0): a_sample(size=900)}),
    is_quiet("T03", app=an_app(producer_linger=0), workers=(a_worker(doctor=knows(batch_fill=0.2)),)),
    fires("T04", E, f"changelog {TOTALS} has cleanup.policy=delete", "cleanup.policy=compact", configs=configs(TOTALS, cleanup_policy="delete")),
    fires("T04", E, f"dead-letter topic {DLQ} has cleanup.policy=compact", "cleanup.policy=delete", configs=configs(DLQ, cleanup_policy="compact")),
    is_quiet("T04", configs=configs(TOTALS, cleanup_policy="compact,delete")),
    fires("T05", W, "orders keeps records 23h: less than a day", "retention.ms=86400000", configs=configs(ORDERS, retention_ms=23 * 3_600_000)),
    fires("T05", W, "3 × the longest outage seen, 10h", "retention.ms=108000000", configs=configs(ORDERS, retention_ms=25 * 3_600_000),
          workers=(a_worker(doctor=knows(restarts=(36_000.0,))),)),
    fires("T05", E, "orders/1 loses unread records in 5h", workers=(a_worker(partitions=(a_partition(1, loss=5 * HOUR),)),)),
    fires("T05", E, "orders/1 loses unread records in 5h", workers=Unread("none answers"), ages=of_orders({1: 7 * DAY - 5 * HOUR})),
    is_quiet("T05", configs=configs(ORDERS, retention_ms=-1)),
    is_quiet("T05", workers=(a_worker(partitions=(a_partition(1, loss=7 * HOUR),)),)),
    fires("T06", W, "producer 4.8 MiB", "STREAMAPP_PRODUCER_MAX_REQUEST_SIZE=1048588", app=an_app(producer_max_request_size=5_000_000)),
    fires("T06", W, "priced 9.5 MiB", "STREAMAPP_PRODUCER_MAX_REQUEST_SIZE=10000000", configs=configs(PRICED, max_message_bytes=10_000_000)),
    fires("T06", W, "fetch 1.0 MiB", "STREAMAPP_CONSUMER_MAX_FETCH_SIZE=10000000", configs=configs(ORDERS, max_message_bytes=10_000_000)),
    is_quiet("T06"),
    fires("T07", W, "priced is missing", "--create --topic priced", topics=topics(priced=0), broker_config={"auto.create.topics.enable": "true"}),
    is_quiet("T07", topics=topics(priced=0)),
    is_quiet("T07", broker_config={"auto.create.topics.enable": "true"}),
    # --- settings, tables, directory
    fires("C01", E, "STREAMAPP_CONSUMER_OPTIONS sets enable.auto.commit", app=options(**{"enable.auto.commit": True})),
    fires("C01", E, "sets acks", app=options(acks="1")),
    fires("C01", W, "in memory: totals", "STREAMAPP_STORE=rocksdb://", app=an_app(
        tables=(TableSpec(name="totals", topics=(ORDERS,), changelog=TOTALS, in_memory=True),))),
    is_quiet("C01", app=options(**{"client.rack": "a"})),
    fires("C02", W, "2.0 GiB of tables, and no standby: 14m without events", workers=(a_worker(
        tables=(table(2 * 2**30),), doctor=knows(restore_rate=100.0)),), ends={Partition(SEEN, 0): Ends(0, 84_000, 84_000)}),
    fires("C02", W, "was not measured yet", workers=Unread("none answers"), directory=Directory(Path("/data"), exists=True, table_bytes=2**30 + 1)),
    is_quiet("C02", workers=(a_worker(tables=(table(2**30),)),)),
    fires("C03", E, "belongs to app 'billing', whose process 77 runs; this is 'shop'", "STREAMAPP_DATA_DIR",
          directory=Directory(Path("/data"), exists=True, app_id="billing", locked_by=77)),
    fires("C03", E, "process id 77", at_start=True, directory=Directory(Path("/data"), exists=True, app_id="shop", locked_by=77)),
    is_quiet("C03", directory=Directory(Path("/data"), exists=True, app_id="shop", locked_by=77)),
    is_quiet("C03", directory=Directory(Path("/data"), exists=False)),
    fires("C04", W, "seen keeps marks 7d, orders keeps records 8d", configs=configs(ORDERS, retention_ms=int(8 * DAY * 1000))),
    fires("C04", W, "keeps records for ever", configs=configs(ORDERS, retention_ms=-1)),
    is_quiet("C04"),
    fires("C05", W, "web_bind 0.0.0.0", "STREAMAPP_WEB_TOKEN", app=an_app(web_bind="0.0.0.0", web_show_values=True)),
    is_quiet("C05", app=an_app(web_bind="0.0.0.0")),
    is_quiet("C05", app=an_app(web_bind="0.0.0.0", web_show_values=True, web_token="let-me-in")),
    is_quiet("C05", app=an_app(web_show_values=True)),
    # --- dead letters
    fires("D01", E, "does not exist, and STREAMAPP_TOPIC_ALLOW_DECLARE is false", "--create --topic orders-dlq --partitions 4",
          topics=topics({DLQ: 0}), app=an_app(topic_allow_declare=False)),
    fires("D01", E, "cannot be created: TOPIC_AUTHORIZATION_FAILED", "kafka-acls.sh", topics=topics({DLQ: 0}),
          rights=Rights(may_create={DLQ: "TOPIC_AUTHORIZATION_FAILED"})),
    fires("D01", E, "may not be written to", "--operation Write", rights=Rights(may_write={DLQ: False})),
    is_quiet("D01", topics=topics({DLQ: 0}), rights=Rights(may_create={DLQ: None})),
    is_quiet("D01"),
    fires("D02", INFO, "orders-dlq has 2 partitions, its source 4", "--partitions 4", topics=topics({DLQ: 2})),
    is_quiet("D02", topics=topics({DLQ: 8})),
    fires("D03", W, "keeps letters 29 d", "retention.ms=2592000000", configs=configs(DLQ, retention_ms=int(29 * DAY * 1000))),
    is_quiet("D03"),
    fires("D04", E, "it needs 1114124", "max.message.bytes=1114124", configs=configs(DLQ, max_message_bytes=1_114_123)),
    is_quiet("D04"),
    fires("D05", W, "9 unresolved in orders-dlq, the oldest orders/1/7@process for 1d1h", "streamapp dlq stats --dlq orders-dlq",
          letters={DLQ: Letters(9, 9, "orders/1/7@process", 25 * HOUR, None, None)}),
    fires("D05", W, "gauge is a lower bound", letters={DLQ: Letters(200_000, 200_000, "orders/1/7@process", 25 * HOUR, None, None)}),
    fires("D05", W, "no agent reads orders-dlq", app=an_app(agents=(an_agent("process", ORDERS),))),
    fires("D05", W, "triage runs on 0 of 4 partitions", "start a worker", group=a_group(a_member("w-0", 0, 1, 2, 3))),
    is_quiet("D05"),
    fires("D06", E, "deletes orders/1/7@process in 5h", "dlq export", letters={DLQ: Letters(1, 1, None, None, "orders/1/7@process", 5 * HOUR)}),
    fires("D06", W, "in 1d23h", letters={DLQ: Letters(1, 1, None, None, "orders/1/7@process", 47 * HOUR)}),
    is_quiet("D06", letters={DLQ: Letters(1, 1, None, None, "orders/1/7@process", 49 * HOUR)}),
    # --- transactions
    fires("X01", E, "last stable offset 40, 25 records behind it", "producer id 17, epoch 3 (other-1)",
          "streamapp transactions abort --topic orders --partition 2 --start-offset 40 --execute", transactions=(held(),)),
    fires("X01", E, "calls it CompleteAbort", transactions=(held(state="CompleteAbort", age=None),)),
    fires("X01", E, "whose it is, the broker does not tell", transactions=(held(partition=Partition(SEEN, 0), producer_id=None, timeout=None, age=41.0),)),
    is_quiet("X01", transactions=(held(age=69.0),)),
    is_quiet("X01", transactions=(held(partition=Partition("elsewhere", 0)),)),
    fires("X02", W, "clocks differ by 6s", "timedatectl", clock=6.0, workers=Unread("none answers")),
    fires("X02", W, "w-1", workers=(a_worker("w-0"), a_worker("w-1", pid=8, clock=-8.0))),
    is_quiet("X02", clock=4.9),
    fires("X03", E, "4.3 on a single broker", "three brokers", kafka=30, brokers=(1,)),
    fires("X03", W, "4.4 on several brokers", kafka=33),
    is_quiet("X03", kafka=29, brokers=(1,)),
    is_quiet("X03", kafka=34, brokers=(1,)),
]  # fmt: skip
