"""Two apps on a real broker for the doctor to look at: one whose topics are ill, and a sound one with a worker too many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition

from streamapp.dlq.checks import counted
from streamapp.doctor.catalogue import CATALOGUE, findings
from streamapp.doctor.facts import DAY, App, Facts
from streamapp.doctor.gather import Gatherer
from streamapp.monitor.finding import Finding
from streamapp.pipeline.spec import TableSpec
from streamapp.settings import load
from streamapp.worker.meta import TopicRow, WorkerRow, encode, meta_topic, topic_key, worker_key
from tests.support.doctor_facts import an_agent
from tests.support.topics import PATIENCE, create_topic, wait_until

HOT = 1_000
"""Records with one key in one partition, made now: more than one a second of the last 15 minutes."""


@dataclass(frozen=True)
class Clinic:
    """An app and its topics."""

    app: App
    bootstrap: str

    @property
    def id(self) -> str:
        return self.app.app_id

    @property
    def source(self) -> str:
        return f"{self.id}-in"

    @property
    def output(self) -> str:
        return f"{self.id}-out"

    @property
    def dlq(self) -> str:
        return f"{self.id}-in-dlq"

    @property
    def changelog(self) -> str:
        return f"{self.id}-totals-changelog"

    def examined(self) -> tuple[Facts, list[Finding]]:
        """Return what is seen, and what is found in it."""
        gatherer = Gatherer(self.app, PATIENCE, letters=lambda log, configs: counted(log, self.id, list(self.app.dlqs), configs))
        try:
            facts = gatherer.facts(CATALOGUE)
        finally:
            gatherer.close()
        return facts, findings(CATALOGUE, facts)


def a_clinic(bootstrap: str, **settings: Any) -> Clinic:
    name = f"clinic-{uuid4().hex[:8]}"
    agents = (an_agent("process", f"{name}-in", dlq=f"{name}-in-dlq"), an_agent("triage", f"{name}-in-dlq", dlq=None))
    given = load({"app_id": name, "broker": bootstrap, "web_port": 0, "data_dir": f"/nowhere/{name}", **settings}, {}, {})
    app = App(
        settings=given,
        agents=agents,
        tables=(TableSpec(name="totals", topics=(f"{name}-in",), changelog=f"{name}-totals-changelog"),),
        topics=frozenset({f"{name}-in", f"{name}-out"}),
    )
    return Clinic(app, bootstrap)


@contextmanager
def an_ill_app(bootstrap: str) -> Iterator[Clinic]:
    """Counts, settings, keys, letters and offsets of it are all as they should not be; a stranger's transaction is open in its source."""
    clinic = a_clinic(bootstrap, producer_compression="none")
    large = {"max.message.bytes": "3000000"}
    create_topic(bootstrap, clinic.source, 3, {"retention.ms": "3600000", **large})
    create_topic(bootstrap, clinic.output, 1, large)
    create_topic(bootstrap, clinic.dlq, 2, {"retention.ms": str(int(DAY * 1000)), "message.timestamp.type": "LogAppendTime"})
    create_topic(bootstrap, clinic.changelog, 2, {"cleanup.policy": "delete"})
    create_topic(bootstrap, meta_topic(clinic.id), 1, {"cleanup.policy": "compact"})
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for _ in range(HOT):
        producer.produce(clinic.source, b"{}", b"ann", 1)
    for number in range(60):
        producer.produce(clinic.source, b"{}", None if number % 2 else b"bob", 0)
    for _ in range(20):
        producer.produce(clinic.output, b"x" * 400, b"ann", 0)
    producer.produce(clinic.dlq, b"{}", b"ann", 1, headers=_letter(clinic, age=2 * DAY))
    row = TopicRow(partitions=2, seen=time.time() - 30 * DAY)
    producer.produce(meta_topic(clinic.id), encode(row), topic_key(clinic.source), 0)
    producer.produce(meta_topic(clinic.id), encode(WorkerRow(version="1.3", starts=(1.0,))), worker_key("w-7"), 0)
    assert producer.flush(PATIENCE) == 0
    _commit(clinic, 5)
    stranger = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": f"{clinic.id}-stranger", "transaction.timeout.ms": 120_000}
    )
    stranger.init_transactions(PATIENCE)
    stranger.begin_transaction()
    stranger.produce(clinic.source, b"{}", b"ann", 2)
    assert stranger.flush(PATIENCE) == 0
    try:
        yield clinic
    finally:
        stranger.abort_transaction(PATIENCE)


@contextmanager
def a_sound_app(bootstrap: str) -> Iterator[Clinic]:
    """As it should be, but for one broker, and three workers on two partitions."""
    clinic = a_clinic(bootstrap)
    sound = {"retention.ms": str(int(7 * DAY * 1000))}
    create_topic(bootstrap, clinic.source, 2, sound)
    create_topic(bootstrap, clinic.output, 2, sound)
    letters = {"retention.ms": str(int(30 * DAY * 1000)), "max.message.bytes": str(1_048_588 + 65_536)}
    create_topic(bootstrap, clinic.dlq, 2, {**letters, "message.timestamp.type": "LogAppendTime"})
    create_topic(bootstrap, clinic.changelog, 2, {"cleanup.policy": "compact"})
    members = [_member(clinic, f"w-{number}", topic) for number in range(3) for topic in (clinic.source, clinic.dlq)]
    try:
        _settle(members)
        yield clinic
    finally:
        for member in members:
            member.close()


def _letter(clinic: Clinic, *, age: float) -> list[tuple[str, str | bytes | None]]:
    failed = datetime.fromtimestamp(time.time() - age, UTC).isoformat(timespec="milliseconds")
    told = {
        "id": f"{clinic.source}/1/7@process", "app": clinic.id, "agent": "process", "source.topic": clinic.source, "source.partition": "1",
        "source.offset": "7", "first-failed-at": failed, "failed-at": failed,
    }  # fmt: skip
    return [(f"streamapp.dlq.{name}", value) for name, value in told.items()]


def _commit(clinic: Clinic, offset: int) -> None:
    """Commit for the group, as a worker did that has gone."""
    consumer = Consumer({"bootstrap.servers": clinic.bootstrap, "group.id": clinic.id})
    consumer.commit(offsets=[TopicPartition(clinic.source, 1, offset)], asynchronous=False)
    consumer.close()


def _member(clinic: Clinic, worker: str, topic: str) -> Consumer:
    """Join as a worker's consumer of one source set does."""
    member = Consumer(
        {
            "bootstrap.servers": clinic.bootstrap,
            "group.id": clinic.id,
            "group.instance.id": f"{clinic.id}-{worker}-{topic}",
            "client.id": f"{clinic.id}-{worker}-{topic}",
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
        }
    )
    member.subscribe([topic])
    return member


def _settle(members: list[Consumer]) -> None:
    """Wait until four of the six have one partition each, the others none."""

    def shared_out() -> bool:
        for member in members:
            member.poll(0.05)
        return sorted(len(member.assignment()) for member in members) == [0, 0, 1, 1, 1, 1]

    wait_until(shared_out, deadline=2 * PATIENCE, why=lambda: str([member.assignment() for member in members]))


__all__ = ["Clinic", "a_clinic", "a_sound_app", "an_ill_app"]
