"""On a real broker the doctor finds each illness of an app where it is, and says of a sound one only what is so."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer, TopicPartition

from streamapp.broker.distribution import find_kafka
from streamapp.broker.java import find_java
from streamapp.doctor.check import examine
from streamapp.doctor.facts import HOUR, Facts, told
from streamapp.errors import BrokerUnreachable
from streamapp.kafka.examiner import Examiner
from streamapp.monitor.finding import Finding, Level
from streamapp.records import Partition
from tests.support.broker import SharedBroker
from tests.support.doctor_cases import CHECKS
from tests.support.doctor_world import HOT, Clinic, a_clinic, a_sound_app, an_ill_app
from tests.support.topics import PATIENCE, bare_consumer, create_topic, partitions_of

NEEDS_WORKERS = {"G05", "G08", "G09", "G10"}
"""What only live workers tell, and here is none with a web port."""
NEEDS_A_DIRECTORY = {"C02", "G04", "G06"}


@pytest.fixture(scope="module")
def ill(bootstrap: str) -> Iterator[tuple[Clinic, Facts, list[Finding]]]:
    with an_ill_app(bootstrap) as clinic:
        yield clinic, *clinic.examined()


def said(found: list[Finding], id_: str) -> Finding:
    (one,) = (each for each in found if each.id == id_ and each.level is not Level.UNCHECKED)
    return one


def test_every_illness_that_the_broker_tells_of_is_found(ill: tuple[Clinic, Facts, list[Finding]]) -> None:
    _, _, found = ill
    levels = {each.id: each.level for each in found if each.level is not Level.UNCHECKED}
    errors = {"P01", "P02", "T04", "D04"}
    warnings = {"G11", "P04", "P06", "T01", "T03", "T05", "D03", "D05", "D06"}
    assert {name for name, level in levels.items() if level is Level.ERROR} == errors, found
    assert {name for name, level in levels.items() if level is Level.WARNING} - {"P05", "T06"} == warnings, found
    assert {name for name, level in levels.items() if level is Level.INFORMATION} == {"D02"}, found
    assert {each.id for each in found if each.level is Level.UNCHECKED} == NEEDS_WORKERS | NEEDS_A_DIRECTORY, found


@pytest.mark.parametrize(
    ("id_", "parts"),
    [
        ("P01", ["changelog 2, source {source} 3"]),
        ("P02", ["{source}: 2 → 3"]),
        ("P04", ["{source}/1", "one key is 100% of its last 300 records", "sha256:"]),
        ("P06", ["have no key"]),
        ("T03", ["half of the values are above 400 bytes"]),
        ("T04", ["{changelog} has cleanup.policy=delete"]),
        ("T05", ["{source} keeps records 1h"]),
        ("D02", ["{dlq} has 2 partitions, its source 3"]),
        ("D03", ["{dlq} keeps letters 1 d"]),
        ("D04", ["its source 3000000"]),
        ("D05", ["1 unresolved in {dlq}, the oldest {source}/1/7@process for 2d"]),
        ("D06", ["{dlq} deletes {source}/1/7@process in 23h"]),
    ],
)
def test_what_is_said_of_it_has_its_place_and_its_figures(
    ill: tuple[Clinic, Facts, list[Finding]], id_: str, parts: list[str]
) -> None:
    clinic, _, found = ill
    names = {"source": clinic.source, "dlq": clinic.dlq, "changelog": clinic.changelog}
    candidates = [f"{each.line} {each.fix}" for each in found if each.id == id_]
    assert any(all(part.format(**names) in text for part in parts) for text in candidates), candidates


def test_a_group_that_everybody_left_says_when_its_offsets_expire(ill: tuple[Clinic, Facts, list[Finding]]) -> None:
    _, facts, found = ill
    assert isinstance(facts.empty_since, float)
    assert abs(facts.empty_since - facts.now) < HOUR
    assert f"expire in 6d23h, then {HOT} records are read again" in said(found, "G11").line


def test_an_open_transaction_is_told_with_its_producer_and_hangs_once_it_is_too_old(
    ill: tuple[Clinic, Facts, list[Finding]],
) -> None:
    clinic, facts, found = ill
    assert "X01" not in {each.id for each in found}
    (held,) = told(facts.transactions)
    assert (held.partition, held.transactional_id) == (Partition(clinic.source, 2), f"{clinic.id}-stranger")
    assert (held.state, held.timeout, held.high - held.stable) == ("Ongoing", 120.0, 1)
    assert held.age is not None
    assert 0 <= held.age < HOUR


def test_the_cluster_tells_its_release_its_clock_and_what_may_be_done(ill: tuple[Clinic, Facts, list[Finding]]) -> None:
    clinic, facts, _ = ill
    assert facts.kafka == 29  # Apache Kafka 4.2
    assert isinstance(facts.clock, float)
    assert abs(facts.clock) < 5
    assert told(facts.rights).may_write == {clinic.dlq: True}
    assert 0 < told(facts.ages)[Partition(clinic.source, 1)] < HOUR


def test_whether_a_topic_could_be_created_is_found_out_without_creating_it(
    ill: tuple[Clinic, Facts, list[Finding]], bootstrap: str
) -> None:
    clinic, _, _ = ill
    examiner = Examiner(clinic.app.settings, PATIENCE)
    name = f"{clinic.id}-never"
    try:
        assert examiner.why_not_created(name, 2, {}) is None
        assert "INVALID_CONFIG" in (examiner.why_not_created(name, 2, {"cleanup.policy": "sometimes"}) or "")
        with pytest.raises(BrokerUnreachable, match=name):
            examiner.may_write([name])
    finally:
        examiner.close()
    assert partitions_of(bootstrap, [name]) == {name: 0}


def test_kafkas_own_tool_takes_the_fix_as_it_stands_and_the_finding_is_gone(
    ill: tuple[Clinic, Facts, list[Finding]], broker: SharedBroker
) -> None:
    if broker.node is None:
        pytest.skip("the tool comes with the broker that tests start")
    clinic, _, found = ill
    tool, *options = shlex.split(said(found, "T04").fix)
    assert tool == "kafka-configs.sh"
    java, kafka = find_java(os.environ), find_kafka(os.environ, lambda *_: None)
    command = (str(java.executable), "-XX:TieredStopAtLevel=1", "-cp", kafka.class_path, "kafka.admin.ConfigCommand", *options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert [each.id for each in clinic.examined()[1] if each.id == "T04"] == []


def test_a_sound_app_is_told_only_of_its_one_broker_and_its_worker_too_many(bootstrap: str) -> None:
    with a_sound_app(bootstrap) as clinic:
        facts, found = clinic.examined()
    assert {each.id for each in found if each.level is not Level.UNCHECKED} == {"G01", "P03", "T01"}, found
    assert said(found, "G01").line == "3 workers, 2 partitions: 1 idle"
    assert {each.id for each in found if each.level is Level.UNCHECKED} == NEEDS_WORKERS | NEEDS_A_DIRECTORY, found
    assert told(facts.group).workers == {"w-0", "w-1", "w-2"}
    assert examine(CHECKS["X01"], facts) == []


def test_offsets_that_an_open_transaction_decides_on_are_not_waited_for(bootstrap: str) -> None:
    """It may be the transaction of a worker that was killed, whose next life asks before it ends it."""
    clinic = a_clinic(bootstrap)
    create_topic(bootstrap, clinic.source, 1)
    group = bare_consumer(bootstrap, group=clinic.id)
    dead = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{clinic.id}-w1"})
    dead.init_transactions(20)
    examiner = Examiner(clinic.app.settings, 5.0)
    try:
        for offset in (3, 5):
            dead.begin_transaction()
            rows = [TopicPartition(clinic.source, 0, offset)]
            dead.send_offsets_to_transaction(rows, group.consumer_group_metadata(), 20)
            if offset == 3:
                dead.commit_transaction(20)
        assert examiner.committed({clinic.source: 1}) == {Partition(clinic.source, 0): 3}
        assert examiner.group({clinic.source: 1}).members == ()
    finally:
        examiner.close()
        dead.abort_transaction(20)
        group.close()
