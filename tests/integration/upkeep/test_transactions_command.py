"""Transactions that no coordinator will end are listed with what waits for them, and ended by a marker; live ones only by their id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition

from tests.support.hanging import ended_transaction, open_in, unverified
from tests.support.topic_reader import read_topics
from tests.support.topics import PATIENCE, bare_consumer, create_topic
from tests.support.upkeep_rig import Said, UpkeepApp

NOBODYS = 4_000_000
"""A producer id that no coordinator has given out."""


@pytest.fixture(scope="module", autouse=True)
def taken_on_trust(bootstrap: str) -> Iterator[None]:
    with unverified(bootstrap):
        yield


@pytest.fixture
def app(upkeep_app: UpkeepApp) -> UpkeepApp:
    create_topic(upkeep_app.bootstrap, upkeep_app.sales, 2)
    return upkeep_app


def run(app: UpkeepApp, *words: str, **env: str) -> Said:
    return app.run("transactions", *words, **env)


def test_a_transaction_that_no_coordinator_knows_is_listed_and_ended(app: UpkeepApp) -> None:
    open_in(app.bootstrap, {app.sales: [1]}, producer_id=NOBODYS, values=[b"1", b"2"])
    listed = run(app, "list", "--json")
    assert listed.code == 0, listed.stderr
    (row,) = listed.documents
    assert (row["topic"], row["partition"], row["producer_id"], row["start_offset"]) == (app.sales, 1, NOBODYS, 0)
    assert row["hanging"] and row["state"] is None and row["records_behind"] == 2
    assert row["waits"] == [f"group {app.id} reads {app.sales}/1: 2 records wait"]

    words = ("abort", "--topic", app.sales, "--partition", "1", "--start-offset", "0")
    preview = run(app, *words)
    assert preview.code == 0, preview.stderr
    assert preview.stdout.startswith("PREVIEW")
    assert app.held(app.sales) == 1, "a preview changes nothing"
    done = run(app, *words, "--execute")
    assert (done.code, app.held(app.sales)) == (0, 0), done.stderr
    assert "aborted" in done.stdout
    assert not any(read_topics(app.bootstrap, [app.sales])[app.sales].values()), "an abort shows nothing of it"
    assert run(app, "list").code == 4
    assert run(app, *words, "--execute").code == 4


def test_either_door_lists_them_in_lines_of_a_pipe(app: UpkeepApp) -> None:
    open_in(app.bootstrap, {app.sales: [0]}, producer_id=NOBODYS + 1)
    end = f"streamapp transactions abort --topic {app.sales} --partition 0 --start-offset 0 --execute"
    for said in (run(app, "list", "--hanging"), app.faust("transactions", "list")):
        assert said.code == 0, said.stderr
        (line,) = said.stdout.splitlines()
        assert line.split("\t")[:5] == [app.sales, "0", "0", str(NOBODYS + 1), "0"]
        assert end in said.stderr


def test_forty_eight_partitions_are_ended_by_one_command(app: UpkeepApp) -> None:
    topic = f"{app.id}-wide"
    create_topic(app.bootstrap, topic, 48)
    open_in(app.bootstrap, {topic: range(48)}, producer_id=NOBODYS + 2)
    assert app.held(topic) == 48
    done = run(app, "abort", "--topic", topic, "--hanging", "--execute", "--json")
    assert done.code == 0, done.stderr
    assert [row["kind"] for row in done.documents] == ["ended"] * 48
    assert app.held(topic) == 0


def test_what_its_coordinator_aborted_is_aborted_here_and_its_id_goes_on(app: UpkeepApp) -> None:
    name = f"{app.id}-w1"
    producer_id, epoch = ended_transaction(app.bootstrap, name, app.sales, commits=False)
    open_in(app.bootstrap, {app.sales: [0]}, producer_id=producer_id, epoch=epoch, sequence=1)
    (row,) = run(app, "list", "--json").documents
    assert (row["state"], row["transactional_id"], row["ends_by"]) == ("CompleteAbort", name, "abort")
    assert run(app, "abort", "--hanging", "--execute").code == 0
    assert app.held(app.sales) == 0
    producer = Producer({"bootstrap.servers": app.bootstrap, "transactional.id": name, "log_level": 0})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    producer.produce(app.sales, b"later", partition=0)
    producer.commit_transaction(PATIENCE)
    assert [rec.value for rec in read_topics(app.bootstrap, [app.sales])[app.sales][0]] == [b"later"]


def test_what_its_coordinator_committed_is_not_aborted_but_committed(app: UpkeepApp) -> None:
    producer_id, epoch = ended_transaction(app.bootstrap, f"{app.id}-w1", app.sales, commits=True)
    open_in(app.bootstrap, {app.sales: [0]}, producer_id=producer_id, epoch=epoch, sequence=1)
    refused = run(app, "abort", "--hanging", "--execute")
    assert (refused.code, app.held(app.sales)) == (5, 1), refused.stdout
    assert "--commit" in refused.stderr
    assert run(app, "abort", "--hanging", "--commit", "--execute").code == 0
    assert [rec.value for rec in read_topics(app.bootstrap, [app.sales])[app.sales][0]] == [b"ended", b"left open"]


@pytest.fixture
def live(app: UpkeepApp) -> Producer:
    """A producer in the middle of its transaction."""
    producer = Producer({"bootstrap.servers": app.bootstrap, "transactional.id": f"{app.id}-alive", "log_level": 0})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    producer.produce(app.sales, b"unfinished", partition=0)
    assert producer.flush(PATIENCE) == 0
    return producer


def test_a_live_one_is_refused_and_ended_by_its_id(app: UpkeepApp, live: Producer) -> None:
    assert run(app, "list", "--hanging").code == 4
    by_place = ("abort", "--topic", app.sales, "--partition", "0", "--start-offset", "0", "--execute")
    refused = run(app, *by_place)
    assert (refused.code, app.held(app.sales)) == (5, 1), refused.stdout
    assert f"--transactional-id {app.id}-alive" in refused.stderr
    by_id = ("abort", "--transactional-id", f"{app.id}-alive")
    assert (run(app, *by_id).code, app.held(app.sales)) == (0, 1)
    fenced = run(app, *by_id, "--execute", "--json")
    assert (fenced.code, app.held(app.sales)) == (0, 0), fenced.stderr
    (told,) = fenced.documents
    assert told["partitions"] == [f"{app.sales}/0"]
    with pytest.raises(KafkaException):
        live.commit_transaction(PATIENCE)
    assert run(app, *by_id, "--execute").code == 4
    assert run(app, "abort", "--transactional-id", "nobody", "--execute").code == 4


def test_offsets_that_are_not_decided_are_seen_to_hold_up_the_group(app: UpkeepApp, live: Producer) -> None:
    member = bare_consumer(app.bootstrap, group=app.id)
    live.send_offsets_to_transaction([TopicPartition(app.sales, 1, 0)], member.consumer_group_metadata(), PATIENCE)
    member.close()
    held = {row["topic"]: row["waits"] for row in run(app, "list", "--json").documents}
    assert held["__consumer_offsets"] == [f"committed offsets of group {app.id}: its restores and restarts wait"]
    refused = app.run("offsets", "reset", "--to-latest", "--execute", "--timeout", "1")
    assert refused.code == 5 and f"offsets of {app.sales}/1 are part of an open transaction" in refused.stderr, refused.stderr
    assert run(app, "abort", "--transactional-id", f"{app.id}-alive", "--execute").code == 0
    assert app.run("offsets", "reset", "--to-latest", "--execute").code == 0


def test_a_live_one_is_ended_by_force(app: UpkeepApp, live: Producer) -> None:
    forced = run(app, "abort", "--topic", app.sales, "--partition", "0", "--start-offset", "0", "--execute", "--force")
    assert (forced.code, app.held(app.sales)) == (0, 0), forced.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("abort", "--execute"), 2, "which ones?"),
        (("abort", "--start-offset", "3"), 2, "goes with one --topic"),
        (("abort", "--transactional-id", "a", "--hanging"), 2, "stands alone"),
        (("list", "--topic", "nothing-there"), 4, "there is no such topic"),
        (("list", "--topic", "a", "--all"), 2, "not both"),
    ],
)
def test_what_cannot_be_meant_is_said(app: UpkeepApp, words: tuple[str, ...], code: int, told: str) -> None:
    said = run(app, *words)
    assert said.code == code and told in said.stderr, said.stderr


def test_without_a_broker_it_ends_with_three(app: UpkeepApp) -> None:
    said = run(app, "list", "--timeout", "0.3", STREAMAPP_BROKER="127.0.0.1:1")
    assert said.code == 3, said.stderr
