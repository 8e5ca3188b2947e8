"""The status document says what is known and null for the rest: before the first sample, during a rebalance or restore, and of every partition's
history when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from streamapp.monitor.config_rows import config_rows
from streamapp.monitor.documents import Known, document, group_of, unowned, worst_first
from streamapp.monitor.finding import Finding, Level
from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.monitor.status import StatusDocument, WorkerStatus
from streamapp.monitor.watch import Around, LagWatch, Past, View
from streamapp.pipeline.facts import Distribution, InHand, Standstill, TableFacts
from streamapp.records import Partition
from streamapp.settings import load
from tests.support.lag_world import CONFIG, ORDERS, agent, ends, facts, lane

WORKER = WorkerStatus(
    worker="w-1",
    version="1.5",
    streamapp="0.1.0",
    librdkafka="2.16.0",
    guarantee="exactly_once",
    pid=7,
    started=0.0,
    url=None,
    ready=True,
    draining=False,
    failing=None,
    loop_lag=0.001,
)
STOPPED = Standstill("stopped", 40.0, agent="pricing", offset=100, detail="OrderInvalid")


def known(**what: Any) -> Known:
    whole: dict[str, Any] = {
        "now": 100.0,
        "app_id": "shop",
        "worker": WORKER,
        "facts": None,
        "view": None,
        "config": CONFIG,
        **what,
    }
    return Known(**whole)


def seen(*ends_seen: int, **what: Any) -> tuple[Any, View]:
    """Return facts and view after samples, ten seconds apart, of a partition that stands at 100 while its log grows."""
    watch = LagWatch(CONFIG, Past(version="1.5", worker="w-1"), {"orders": 8}, tables={})
    watch.assigned([ORDERS], 0.0)
    for number, end in enumerate(ends_seen):
        told = facts(10.0 * (number + 1), [lane(**what)], [agent()])
        limits = TopicLimits(
            known=True, retention=86_400.0, retention_bytes=None, compacted=False, deleted=True, delete_retention=86_400.0
        )
        around = Around(topics={"orders": limits})
        view = watch.sample(told, ends(end, high=end + 5), {ORDERS: 0}, [], around, reachable=True)
    return told, view


def test_before_the_engine_runs_there_is_a_document_already() -> None:
    made = document(known(worker=msgspec.structs.replace(WORKER, ready=False, failing="starting")))
    assert (made.partitions, made.agents, made.tables) == ((), (), ())
    assert (made.group.status, made.group.sentence, made.worker.failing) == ("UNKNOWN", "starting", "starting")


def test_a_partition_without_a_sample_is_there_with_what_the_engine_knows_of_it() -> None:
    told = facts(
        100.0, [lane(state="restoring", committed=None, oldest_unmerged=90.0, standstills=(Standstill("restoring", 95.0),))]
    )
    (row,) = document(known(facts=told)).partitions
    assert (row.owner, row.state, row.status, row.lag, row.end, row.age) == ("w-1", "restoring", "UNKNOWN", None, None, 10.0)
    assert "10 s" in row.sentence
    assert [each.kind for each in row.standing] == ["restoring"]


def test_a_sampled_partition_has_its_verdict_with_sentence_fix_and_figures() -> None:
    told, view = seen(*range(100, 300, 20), standstills=(STOPPED,), unmerged=4, position=104, in_hand=InHand("pricing", 100, 2.0))
    (row,) = document(known(facts=told, view=view)).partitions
    assert (row.status, row.cause, row.committed, row.end, row.high_watermark) == ("STALLED", "stopped", 100, 280, 285)
    assert (row.lag, row.blocked, row.in_flight, row.in_hand, row.retention) == (180, 5, 4, 1, 86_400.0)
    assert row.sentence
    assert row.fix
    assert [each.detail for each in row.standing] == ["OrderInvalid"]
    assert [each.change for each in row.marks] == ["assigned", "paused"]


def test_history_is_null_unless_it_is_asked_for_and_a_loss_without_end_is_told_as_such() -> None:
    told, view = seen(100, 100)
    (row,) = document(known(facts=told, view=view)).partitions
    assert row.history is None
    past = [Sample(10.0, 90, 95, 100, 100, 0, 4.0, 1, 5, 0.5)]
    (row,) = document(known(facts=told, view=view, history=lambda where: past)).partitions
    assert row.history is not None
    assert [(each.at, each.lag, each.age) for each in row.history] == [(10.0, 10, 6.0)]
    assert (row.loss, row.loss_never) in ((None, True), (None, False))


def test_what_it_is_made_of_goes_through_json_whole() -> None:
    told, view = seen(*range(100, 300, 20), standstills=(STOPPED,))
    duration = Distribution((0.1, 1.0), (90, 10, 0), 9.0)
    told = replace(
        told,
        agents=(
            agent(
                duration=duration,
                dead_letters={("OrderInvalid", "permanent"): 3},
                breakers={ORDERS: 5.0},
                retries={"TimeoutError": 2},
            ),
        ),
        tables=(TableFacts("totals", 3, 10, 1000), TableFacts("totals", 4, 10, 1000)),
    )
    row = {"table": "totals", "partition": 4, "state": "reading", "offset": 10, "target": 50, "records": 10, "waiting": 2.0}
    made = document(
        known(
            facts=told,
            view=view,
            restoring=[row],
            findings=[Finding("P03", Level.INFORMATION, "orders", "8 partitions", "growth", "streamapp topics plan")],
        )
    )
    again = msgspec.json.decode(msgspec.json.encode(made), type=StatusDocument)
    assert again == made
    (told_agent,) = again.agents
    assert (told_agent.p50, told_agent.retries, told_agent.dead_letters[0].count) == (0.1 * 50 / 90, {"TimeoutError": 2}, 3)
    assert [(each.partition, each.state, each.remaining) for each in again.tables] == [(3, "running", None), (4, "reading", 40)]
    assert (again.findings[0].level, again.only_this_worker) == ("information", True)


def test_the_worst_partition_comes_first_and_of_equals_the_oldest() -> None:
    def row(number: int, status: str, age: float | None) -> Any:
        return msgspec.structs.replace(unowned("orders", number), status=status, age=age)

    rows = [row(0, "OK", None), row(1, "STALLED", 5.0), row(2, "STALLED", 50.0), row(3, "DATA_LOST", 1.0)]
    assert [each.partition for each in worst_first(rows)] == [3, 2, 1, 0]


def test_the_line_of_a_group_is_made_of_all_its_partitions_whoever_told_them() -> None:
    told, view = seen(*range(100, 300, 20), standstills=(STOPPED,))
    mine = document(known(facts=told, view=view))
    line = group_of([*mine.partitions, unowned("orders", 4)], CONFIG, 2, 100.0)
    assert (line.status, line.partitions, line.workers) == ("STALLED", 2, 2)
    assert "1 of 2 partitions" in line.sentence


def test_effective_settings_have_their_origin_and_a_recommendation_and_hide_secrets() -> None:
    settings = load(
        {"app_id": "shop", "commit_interval": 0.5},
        {},
        {"STREAMAPP_WEB_TOKEN": "hush", "STREAMAPP_CONSUMER_OPTIONS": "sasl.oauthbearer.config=hush"},
    )
    rows = {each.name: each for each in config_rows(settings)}
    assert (rows["commit_interval"].value, rows["commit_interval"].origin) == ("0.5", "code")
    assert (rows["producer_compression"].value, rows["producer_compression"].origin) == ("lz4", "default")
    assert "zstd" in (rows["producer_compression"].recommendation or "")
    assert (rows["web_token"].value, rows["web_token"].origin) == ("***", "environment")
    assert "hush" not in repr(rows)
    assert (rows["commit_every"].value, rows["web_show_values"].value) == ("none", "false")


def test_a_partition_that_nobody_owns_says_so() -> None:
    row = unowned("orders", 5)
    assert (row.owner, row.owner_known, row.status, row.lag) == (None, True, "UNKNOWN", None)
    assert Partition(row.topic, row.partition) == Partition("orders", 5)
