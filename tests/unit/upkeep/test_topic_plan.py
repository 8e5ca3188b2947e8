"""A plan names what an app's topics lack: made, set, grown where that moves no table's keys; nothing deleted, nothing made smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from streamapp.clock import Deadline
from streamapp.pipeline.spec import AgentSpec, SourceSpec, TableSpec
from streamapp.settings import load
from streamapp.upkeep.subject import Subject
from streamapp.upkeep.topic_plan import Step, plan, proposed_partitions
from streamapp.worker.cluster import TopicDeclaration

STAMPED = {"message.timestamp.type": "LogAppendTime"}
MONTH_MS = str(30 * 86_400_000)
GOOD: dict[str, tuple[int, dict[str, str]]] = {
    "orders": (8, {"retention.ms": "3600000", "max.message.bytes": "1000000"}),
    "priced": (8, {"retention.ms": "1000"}),
    "orders-dlq": (8, STAMPED | {"cleanup.policy": "delete", "retention.ms": MONTH_MS, "max.message.bytes": "1065536"}),
    "shop-totals-changelog": (8, STAMPED | {"cleanup.policy": "compact", "retention.ms": "604800000"}),
    "shop-dlq-status": (1, STAMPED | {"cleanup.policy": "compact,delete", "retention.ms": MONTH_MS}),
}


class Cluster:
    """Topics in a dict; whoever changes one fails."""

    def __init__(self, topics: Mapping[str, tuple[int, dict[str, str]]], hidden: Sequence[str] = ()) -> None:
        self._topics, self._hidden = topics, hidden

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        return {topic: self._topics[topic][0] for topic in topics if topic in self._topics}

    def topic_configs(self, topics: Sequence[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        return {topic: dict(self._topics[topic][1]) for topic in topics if topic not in self._hidden}

    def topic_ids(self, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
        raise AssertionError("a plan needs no ids")

    def create(self, *words: Any) -> bool:
        raise AssertionError("a plan creates nothing")


async def nothing(cursor: Any) -> None: ...


def subject(**more: Any) -> Subject:
    def agent(name: str, topic: str, dlq: str | None) -> AgentSpec:
        return AgentSpec(name=name, sources=(SourceSpec(topic=topic, decode=bytes),), run=nothing, dlq=dlq)

    made = Subject(
        settings=load({"app_id": "shop"}, {}, {}),
        agents=(agent("price", "orders", "orders-dlq"), agent("triage", "orders-dlq", None)),
        tables=(TableSpec(name="totals", topics=("orders",), changelog="shop-totals-changelog"),),
        topics=(
            TopicDeclaration(name="orders", partitions=8),
            TopicDeclaration(name="priced", partitions=8, config={"retention.ms": "1000"}),
        ),
        roles={"orders": "source", "orders-dlq": "source", "priced": "output", "shop-totals-changelog": "changelog"},
    )
    return replace(made, **more)


def planned(
    topics: Mapping[str, tuple[int, dict[str, str]]], *, grow: bool = False, proposed: int | None = None, of: Subject | None = None,
    hidden: Sequence[str] = (),
) -> list[Step]:  # fmt: skip
    cluster = Cluster(topics, hidden)
    return plan(of or subject(), lambda: cluster, Deadline.after(10), grow=grow, proposed=proposed)


def with_topic(name: str, partitions: int, **config: str) -> dict[str, tuple[int, dict[str, str]]]:
    changed = {key.replace("_", "."): value for key, value in config.items()}
    return GOOD | {name: (partitions, GOOD[name][1] | changed)}


def test_of_topics_that_are_as_declared_there_is_nothing_to_say() -> None:
    assert planned(GOOD) == []


def test_on_an_empty_cluster_everything_is_created_as_a_start_would_create_it() -> None:
    steps = planned({})
    assert {step.topic: (str(step.action), step.partitions) for step in steps} == {
        "orders": ("create", 8),
        "orders-dlq": ("create", 8),
        "priced": ("create", 8),
        "shop-dlq-status": ("create", 1),
        "shop-totals-changelog": ("create", 8),
    }
    (changelog,) = (step for step in steps if step.topic.endswith("changelog"))
    assert changelog.config["cleanup.policy"] == "compact"
    assert changelog.line == (
        "kafka-topics.sh --create --topic shop-totals-changelog --partitions 8 "
        "--config message.timestamp.type=LogAppendTime --config cleanup.policy=compact"
    )


def test_without_the_right_to_declare_the_plan_is_the_same() -> None:
    forbidden = subject(settings=load({"app_id": "shop", "topic_allow_declare": False}, {}, {}))
    assert planned({}, of=forbidden) == planned({})


def test_internal_topics_follow_the_counts_that_are_there_not_those_declared() -> None:
    steps = planned({"orders": (12, {})})
    assert {step.topic: step.partitions for step in steps if step.action == "create"} == {
        "orders-dlq": 12, "priced": 8, "shop-dlq-status": 1, "shop-totals-changelog": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "count", "config", "change"),
    [
        ("orders-dlq", 8, {"retention_ms": "3600000"}, {"retention.ms": MONTH_MS}),
        ("orders-dlq", 8, {"max_message_bytes": "1048588"}, {"max.message.bytes": "1065536"}),
        ("orders-dlq", 8, {"cleanup_policy": "compact"}, {"cleanup.policy": "delete"}),
        ("shop-totals-changelog", 8, {"cleanup_policy": "delete"}, {"cleanup.policy": "compact"}),
        ("shop-totals-changelog", 8, {"message_timestamp_type": "CreateTime"}, STAMPED),
        ("shop-dlq-status", 1, {"cleanup_policy": "delete"}, {"cleanup.policy": "compact,delete"}),
        ("priced", 8, {"retention_ms": "2000"}, {"retention.ms": "1000"}),
    ],
)
def test_a_setting_that_differs_is_set_and_nothing_else_is_said(
    topic: str, count: int, config: dict[str, str], change: dict[str, str]
) -> None:
    (step,) = planned(with_topic(topic, count, **config))
    assert (str(step.action), step.topic, step.config) == ("set", topic, change)
    assert step.line is not None and step.line.startswith(f"kafka-configs.sh --alter --topic {topic} --add-config ")


@pytest.mark.parametrize(
    ("topic", "config"),
    [
        ("orders-dlq", {"retention_ms": "-1", "max_message_bytes": "2000000"}),
        ("shop-totals-changelog", {"cleanup_policy": "compact,delete", "retention_ms": "-1"}),
        ("shop-dlq-status", {"retention_ms": "-1"}),
    ],
)
def test_what_keeps_more_than_it_has_to_is_left_alone(topic: str, config: dict[str, str]) -> None:
    assert planned(with_topic(topic, GOOD[topic][0], **config)) == []


def test_a_changelog_of_another_count_is_refused_with_the_ways_out() -> None:
    (step,) = planned(with_topic("shop-totals-changelog", 4))
    assert (str(step.action), step.line) == ("refused", None)
    assert "has 4 partitions, its source orders 8" in step.words and "give the table another name" in step.words


def test_a_wrong_count_stays_refused_where_a_setting_is_mended_too() -> None:
    steps = planned(with_topic("shop-totals-changelog", 4, cleanup_policy="delete"))
    assert [str(step.action) for step in steps] == ["set", "refused"]


def test_partitions_are_added_only_when_asked_and_never_to_a_source_with_tables() -> None:
    fewer = with_topic("priced", 4)
    (note,) = planned(fewer)
    assert str(note.action) == "note" and "--grow adds them" in note.words
    (step,) = planned(fewer, grow=True)
    assert (str(step.action), step.partitions, step.line) == ("grow", 8, "kafka-topics.sh --alter --topic priced --partitions 8")

    narrow = {name: (4 if name != "shop-dlq-status" else 1, config) for name, (_, config) in GOOD.items()} | {
        "priced": GOOD["priced"]
    }
    (refused,) = planned(narrow, grow=True)
    assert (str(refused.action), refused.topic) == ("refused", "orders")
    assert "totals would be empty" in refused.words


def test_nothing_is_made_smaller() -> None:
    assert planned(with_topic("priced", 16), grow=True) == []


def test_settings_that_may_not_be_read_are_said_to_be_unread() -> None:
    (step,) = planned(GOOD, hidden=["priced"])
    assert (str(step.action), step.topic) == ("note", "priced") and "DescribeConfigs" in step.words


def test_a_source_that_nobody_declares_is_named_with_the_line_that_makes_it() -> None:
    undeclared = subject(topics=())
    (step,) = planned({}, of=undeclared, proposed=12)
    assert "kafka-topics.sh --create --topic orders --partitions 12" in step.words


def test_what_p03_proposes_is_said_of_sources() -> None:
    (note,) = planned(GOOD, proposed=12)
    assert (note.topic, note.words) == ("orders", "8 partitions; P03 proposes 12")
    (create,) = (step for step in planned({}, proposed=12) if step.topic == "orders")
    assert "P03 proposes 12 partitions" in create.words


@pytest.mark.parametrize(
    ("workers", "rate", "capacity", "proposed"),
    [
        (1, None, None, 6), (4, None, None, 12), (12, None, None, 24), (24, None, None, 48), (25, None, None, 96),
        (None, 960, 420, 6), (None, 3000, 420, 24), (4, 10_000, 420, 48), (None, None, None, None),
    ],
)  # fmt: skip
def test_p03_proposes_twice_the_peak_in_a_count_with_many_divisors(
    workers: int | None, rate: float | None, capacity: float | None, proposed: int | None
) -> None:
    assert proposed_partitions(workers, rate, capacity) == proposed
