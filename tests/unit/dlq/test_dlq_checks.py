"""D01 to D06: for each a case that fires and one that does not, and what could not be checked is never a pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamapp.dlq.checks import Cluster, Level, check
from streamapp.dlq.subject import Subject
from streamapp.doctor.dead_letters import SLACK_BYTES
from streamapp.doctor.facts import DAY, HOUR, Rights
from streamapp.pipeline.resolution import Status
from streamapp.pipeline.spec import AgentSpec, SourceSpec
from streamapp.records import Partition
from streamapp.settings import load
from tests.support.dead_letter_world import APP, DLQ, NOW, DeadLetterWorld, ago

SOUND = {
    "orders": {"retention.ms": str(int(7 * DAY * 1000)), "max.message.bytes": "1000000"},
    DLQ: {"retention.ms": str(int(30 * DAY * 1000)), "max.message.bytes": str(1_000_000 + SLACK_BYTES)},
}


async def _nothing(cursor: object) -> None:
    """An agent that is only described."""


def an_app(*, triage: bool = True, **settings: object) -> Subject:
    def agent(name: str, topic: str, dlq: str | None) -> AgentSpec:
        return AgentSpec(name=name, sources=(SourceSpec(topic=topic, decode=bytes),), run=_nothing, dlq=dlq)

    agents = [agent("order_processor", "orders", DLQ), *([agent("triage", DLQ, None)] if triage else [])]
    return Subject(settings=load({"app_id": APP, **settings}, {}, {}), agents={each.name: each for each in agents})


def found(world: DeadLetterWorld | None = None, subject: Subject | None = None, **changes: Any) -> list[tuple[str, str]]:
    world = world or DeadLetterWorld()
    cluster = Cluster(
        partitions=world.kafka.partitions(),
        configs=SOUND,
        reading=world.read(),
        assigned=frozenset(Partition(DLQ, number) for number in range(8)),
        rights=Rights(may_write={DLQ: True}, may_create={DLQ: None}),
        now=NOW.timestamp(),
    )
    return [(each.id, each.level.value) for each in check(subject or an_app(), replace(cluster, **changes))]


def with_config(topic: str, **config: str) -> dict[str, dict[str, str]]:
    return {**SOUND, topic: {**SOUND[topic], **{name.replace("_", "."): value for name, value in config.items()}}}


def letter(**span: float) -> DeadLetterWorld:
    world = DeadLetterWorld()
    world.bury("orders/1/1@order_processor", failed=ago(**span))
    return world


def without(topic: str) -> list[Partition]:
    return [partition for partition in DeadLetterWorld().kafka.partitions() if partition.topic != topic]


def test_an_app_that_is_well_has_no_finding() -> None:
    assert found(letter(hours=1)) == []


@pytest.mark.parametrize(("may_declare", "findings"), [(False, [("D01", "error")]), (True, [])])
def test_d01_a_missing_topic_that_nobody_may_create(may_declare: bool, findings: list[tuple[str, str]]) -> None:
    subject = an_app(topic_allow_declare=may_declare)
    assert found(subject=subject, partitions=without(DLQ), configs={"orders": SOUND["orders"]}) == findings


@pytest.mark.parametrize(("partitions", "findings"), [(5, [("D02", "info")]), (8, []), (12, [])])
def test_d02_fewer_partitions_than_the_source(partitions: int, findings: list[tuple[str, str]]) -> None:
    held = frozenset(Partition(DLQ, number) for number in range(partitions))
    assert found(DeadLetterWorld(partitions=partitions), assigned=held) == findings


@pytest.mark.parametrize(
    ("source", "kept", "findings"),
    [
        (7 * DAY, 29 * DAY, [("D03", "warning")]),
        (10 * DAY, 39 * DAY, [("D03", "warning")]),
        (10 * DAY, 40 * DAY, []),
        (-0.001, 40 * DAY, [("D03", "warning")]),
        (-0.001, -0.001, []),
    ],
)
def test_d03_letters_that_are_kept_too_short(source: float, kept: float, findings: list[tuple[str, str]]) -> None:
    configs = with_config(DLQ, retention_ms=str(int(kept * 1000)))
    configs["orders"] = configs["orders"] | {"retention.ms": str(int(source * 1000))}
    assert found(configs=configs) == findings


def test_d04_letters_that_are_too_large_for_their_topic() -> None:
    assert found(configs=with_config(DLQ, max_message_bytes=str(1_000_000 + SLACK_BYTES - 1))) == [("D04", "error")]


@pytest.mark.parametrize(("hours", "findings"), [(25, [("D05", "warning")]), (23, [])])
def test_d05_letters_that_nobody_resolves(hours: int, findings: list[tuple[str, str]]) -> None:
    assert found(letter(hours=hours)) == findings


def test_d05_resolved_letters_may_be_old() -> None:
    world = letter(hours=100)
    world.resolve("orders/1/1@order_processor", Status.DISCARDED)
    assert found(world) == []


def test_d05_a_topic_that_no_agent_reads_or_no_worker_runs_on() -> None:
    assert found(subject=an_app(triage=False)) == [("D05", "warning")]
    assert found(assigned=frozenset()) == [("D05", "warning")]
    assert found(assigned=None) == [("D05", "could not check")]


@pytest.mark.parametrize(
    ("left", "findings"),
    [
        (5 * HOUR, [("D05", "warning"), ("D06", "error")]),
        (47 * HOUR, [("D05", "warning"), ("D06", "warning")]),
        (49 * HOUR, [("D05", "warning")]),
    ],
)
def test_d06_letters_that_retention_is_about_to_take(left: float, findings: list[tuple[str, str]]) -> None:
    assert found(letter(seconds=30 * DAY - left)) == findings


def test_what_may_not_be_seen_is_no_pass() -> None:
    assert found(letter(hours=1), configs={"orders": SOUND["orders"]}) == [
        (each, Level.UNCHECKED.value) for each in ("D03", "D04", "D06")
    ]
    bare = replace(an_app(), agents={}, unloaded="no module named tables")
    assert found(subject=bare) == [(each, "could not check") for each in ("D01", "D02", "D03", "D04")]
