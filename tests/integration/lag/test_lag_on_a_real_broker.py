"""`streamapp lag` on a real broker: what its client and Kafka's own calls say, and what only looks like lag. No worker is needed for that."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import Producer, TopicPartition

from streamapp.broker.java import find_java
from streamapp.kafka.inspector import Inspector
from streamapp.monitor.lag.verdict import Cause, Status
from streamapp.settings import load
from streamapp.verify.group_lag import Group, read_group
from streamapp.verify.lag_watch import Board, LagWatch, Row
from tests.support.lag_series import CONFIG, DAY
from tests.support.topics import bare_consumer, committed_offsets, create_topic, watermarks
from tests.support.verifying import command
from tests.support.word_app import WordApp

NEVER, TAIL, HELD, BEHIND = range(4)
"""Partitions: never committed; only a commit marker is left; behind an open transaction; three records behind."""

HOUR: Final = 3600.0


def transactional(bootstrap: str, name: str) -> Producer:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": 60_000, "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    return producer


class Stopped:
    """An app without a worker, whose four partitions are each in a state of their own."""

    board: Board
    """What was seen last."""

    def __init__(self, bootstrap: str, home: Path) -> None:
        self.app = WordApp(bootstrap, home)
        self.app.declare(", partitions=4")
        self.bootstrap, self.topic = bootstrap, self.app.words
        create_topic(bootstrap, self.topic, 4, {"retention.ms": str(7 * 86_400_000)})
        producer = transactional(bootstrap, f"{self.app.app_id}-feed")
        for number in (NEVER, TAIL, BEHIND):
            for _ in range(5):
                producer.produce(self.topic, b'"word"', b"word", partition=number, timestamp=round(1000 * (time.time() - HOUR)))
        producer.commit_transaction(30)
        self.commit({TAIL: 5, HELD: 0, BEHIND: 2})

    def commit(self, offsets: dict[int, int]) -> None:
        consumer = bare_consumer(self.bootstrap, group=self.app.app_id)
        rows = [TopicPartition(self.topic, number, offset) for number, offset in offsets.items()]
        consumer.commit(offsets=rows, asynchronous=False)
        consumer.close()

    @contextmanager
    def open_transaction(self) -> Iterator[str]:
        name = f"stranger-of-{self.app.app_id}"
        producer = transactional(self.bootstrap, name)
        for _ in range(2):
            producer.produce(self.topic, b'"word"', b"word", partition=HELD)
        assert producer.flush(30) == 0
        try:
            yield name
        finally:
            producer.abort_transaction(30)

    def look(self) -> dict[int, Row]:
        """Return what the command would show, by partition; without a process of its own."""
        settings = load({"app_id": self.app.app_id, "broker": self.bootstrap}, {}, {})
        inspector = Inspector(settings, 20.0, name="lag")
        group = Group(self.app.app_id, [self.topic], [self.topic], earliest=True)
        try:
            reading = read_group(inspector, group, time.time())
        finally:
            inspector.close()
        self.board = LagWatch(replace(CONFIG, group=self.app.app_id)).look(reading, [])
        return {row.verdict.partition.number: row for row in self.board.rows}


@pytest.fixture(scope="module")
def stopped(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    return Stopped(bootstrap, tmp_path_factory.mktemp("stopped"))


def test_figures_are_those_of_the_client_and_a_tail_of_markers_is_no_lag(stopped: Stopped) -> None:
    rows = stopped.look()
    committed = committed_offsets(stopped.bootstrap, stopped.app.app_id, [stopped.topic])
    ends = watermarks(stopped.bootstrap, [stopped.topic])
    assert {number: row.verdict.committed for number, row in rows.items()} == {
        number: committed.get((stopped.topic, number)) for number in range(4)
    }
    assert {number: (row.verdict.end, row.high_watermark) for number, row in rows.items()} == {
        number: ends[stopped.topic, number] for number in range(4)
    }
    # Five records and a commit marker each, of which 5 and 2 are committed.
    assert {number: (row.verdict.raw_lag, row.verdict.lag) for number, row in rows.items()} == {
        NEVER: (6, 6), TAIL: (1, 0), HELD: (0, 0), BEHIND: (4, 4),
    }  # fmt: skip


def test_what_never_was_committed_is_unknown_and_an_empty_group_owns_nothing(stopped: Stopped) -> None:
    rows = stopped.look()
    never = rows[NEVER].verdict
    assert (never.committed, never.status, never.cause) == (None, Status.UNKNOWN, Cause.NO_COMMIT)
    assert never.age is not None and HOUR <= never.age < 1.5 * HOUR
    assert (never.retention, never.loss_by) == (7 * DAY, Cause.TIME)
    assert {(row.asked.worker, row.verdict.owner_known, row.asked.member) for row in rows.values()} == {(None, True, None)}
    assert (stopped.board.group.workers, stopped.board.is_empty) == (0, True)
    assert (rows[TAIL].verdict.loss_by, rows[TAIL].verdict.loss) == (Cause.OFFSET_EXPIRY, 7 * DAY)


def test_an_open_transaction_is_shown_with_what_it_holds_and_whose_it_is(stopped: Stopped) -> None:
    with stopped.open_transaction() as name:
        row = stopped.look()[HELD]
    assert (row.verdict.lag, row.verdict.blocked, row.high_watermark) == (0, 2, (row.verdict.end or 0) + 2)
    held = row.asked.transaction
    assert held is not None
    assert (held.transactional_id, held.state, held.timeout) == (name, "Ongoing", 60.0)


def test_figures_are_those_of_kafkas_own_tool(stopped: Stopped, kafka_tools: str) -> None:
    said = subprocess.run(
        [str(find_java(os.environ).executable), "-cp", kafka_tools, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
         "--bootstrap-server", stopped.bootstrap, "--describe", "--group", stopped.app.app_id],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    lines = [line.split() for line in said.stdout.splitlines() if line.split()[:1] == [stopped.app.app_id]]
    theirs = {int(number): (int(at), int(end)) for _, _, number, at, end, *_ in lines if at != "-"}
    rows = stopped.look()
    assert theirs == {number: (row.verdict.committed, row.high_watermark) for number, row in rows.items() if number != NEVER}
    # The tool counts the marker.
    assert {int(row[2]): int(row[5]) for row in lines if row[3] != "-"} == {
        number: row.verdict.raw_lag for number, row in rows.items() if number != NEVER
    }


def test_both_doors_say_the_same(stopped: Stopped) -> None:
    place = {"bootstrap": stopped.bootstrap, "app_id": stopped.app.app_id, "cwd": stopped.app.home}
    ours = command("lag", "-A", "words", "--only-lag", "--partition", str(BEHIND), "--exit-code", **place)  # type: ignore[arg-type]
    faust = stopped.app.run("lag", "--only-lag", "--partition", str(BEHIND), "--exit-code")

    def without_age(text: str) -> list[list[str]]:
        return [line.split("\t")[:7] for line in text.splitlines()[1:]]

    assert (ours.code, faust.returncode) == (1, 1), (ours.stderr, faust.stderr)
    assert without_age(faust.stdout) == without_age(ours.stdout) == [[stopped.topic, str(BEHIND), "2", "6", "4", "0", "-"]]
