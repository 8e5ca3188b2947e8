"""`streamapp app reset` takes an app back to its beginning: refused beside a worker, previewed, and then the job is done anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.topic_reader import read_topics
from tests.support.topics import committed_offsets, create_topic, partitions_of, wait_until
from tests.support.upkeep_rig import Said, UpkeepApp
from tests.support.word_app import WordApp


def beside(upkeep_app: UpkeepApp, app: WordApp) -> UpkeepApp:
    """Return the commands for the word app, whose one worker keeps its data in the working directory's `data`."""
    upkeep_app.id, upkeep_app.module = app.app_id, "words"
    return upkeep_app


def test_a_reset_app_does_its_work_anew(
    word_app: WordApp, upkeep_app: UpkeepApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(word_app.home)
    monkeypatch.syspath_prepend(word_app.home)
    data = tmp_path / "data"
    worker = word_app.start("w1", STREAMAPP_DATA_DIR=str(data), STREAMAPP_SESSION_TIMEOUT="1", STREAMAPP_HEARTBEAT_INTERVAL="0.2")
    word_app.feed(["a", "b", "a"])
    word_app.wait_until_done()
    commands = beside(upkeep_app, word_app)

    def reset(*words: str) -> Said:
        return commands.run("app", "reset", *words, STREAMAPP_DATA_DIR=str(data))

    beside_it = reset("--execute")
    assert beside_it.code == 5 and "is in use by the live worker" in beside_it.stderr, beside_it.stderr
    elsewhere = commands.run("app", "reset", STREAMAPP_DATA_DIR=str(tmp_path / "another"))
    assert elsewhere.code == 5 and "is not empty" in elsewhere.stderr, elsewhere.stderr
    assert worker.stop() == 0

    wait_until(lambda: reset().code == 0, why=lambda: reset().stderr, every=0.3)  # the static member's session has to end
    preview = reset()
    assert {tuple(row[:3]) for row in preview.rows} == {
        ("store", str(data / "tables"), "goes"),
        ("offsets", word_app.app_id, "goes"),
        ("changelog", word_app.changelog, "goes"),
        ("internal topic", f"{word_app.app_id}-meta", "goes"),
    }
    assert "table counts: its rows are not anywhere else" in preview.stderr
    assert f"what was sent stays: {word_app.numbered}" in preview.stderr
    assert committed_offsets(word_app.bootstrap, word_app.app_id, [word_app.words])

    done = reset("--execute")
    assert done.code == 0, done.stderr
    assert not (data / "tables").exists()
    assert partitions_of(word_app.bootstrap, [word_app.changelog, word_app.words]) == {word_app.changelog: 0, word_app.words: 2}
    assert committed_offsets(word_app.bootstrap, word_app.app_id, [word_app.words]) == {}
    assert reset("--execute").code == 4

    word_app.start("w1", STREAMAPP_DATA_DIR=str(data))

    def counts() -> list[int]:
        lanes = read_topics(word_app.bootstrap, [word_app.numbered])[word_app.numbered]
        found = [json.loads(rec.value or b"") for lane in lanes.values() for rec in lane]
        return sorted(count for word, count in found if word == "a")

    wait_until(lambda: counts() == [1, 1, 2, 2], why=lambda: f"{counts()} {word_app.workers.tails()}", deadline=60, every=0.2)


def test_dead_letters_go_only_when_they_are_named(upkeep_app: UpkeepApp) -> None:
    app = upkeep_app
    assert app.run("topics", "apply", "--execute").code == 0
    assert app.screen("app", "reset").splitlines() == [
        "WHAT            NAME                          STATE  HOLDS",
        f"changelog       {app.changelog}  goes   2 partitions, 0 offsets long",
        f"internal topic  {app.meta}            goes   1 partitions, 0 offsets long",
        "PREVIEW, nothing is changed; --execute does it.",
        f"table sums: its rows are not anywhere else; reading {app.sales} again rebuilds what the records that are left give",
        "the app begins from the first record that is left (STREAMAPP_AUTO_OFFSET_RESET=earliest)",
        f"what was sent stays: {app.totals} get the results of what is read again a second time",
        f"dead letters stay: {app.dlq} (--dead-letters deletes them too)",
        "stores on other machines are wiped when their workers start: their changelog is another one then",
    ]
    kept = app.run("app", "reset")
    assert {row[1] for row in kept.rows} == {app.changelog, app.meta}
    assert "dead letters stay" in kept.stderr
    done = app.faust("app", "reset", "--dead-letters", "--execute", "--json")
    assert done.code == 0, done.stderr
    assert [row["name"] for row in done.documents[:-1]] == [app.changelog, app.meta, app.dlq, app.status]
    there = partitions_of(app.bootstrap, [app.sales, app.totals, app.changelog, app.dlq, app.status])
    assert there == {app.sales: 2, app.totals: 2, app.changelog: 0, app.dlq: 0, app.status: 0}


def test_what_retention_took_is_named_as_lost(upkeep_app: UpkeepApp) -> None:
    app = upkeep_app
    create_topic(app.bootstrap, app.sales, 2)
    create_topic(app.bootstrap, app.changelog, 2, {"cleanup.policy": "compact"})
    producer = Producer({"bootstrap.servers": app.bootstrap, "log_level": 0})
    for _ in range(5):
        producer.produce(app.sales, b"1", partition=1)
    assert producer.flush(30) == 0
    admin = AdminClient({"bootstrap.servers": app.bootstrap, "log_level": 0})
    for gone in admin.delete_records([TopicPartition(app.sales, 1, 3)]).values():
        gone.result(30)
    assert f"records before offset 3 of {app.sales}/1 are gone" in app.run("app", "reset").stderr


def test_without_a_broker_it_ends_with_three(upkeep_app: UpkeepApp) -> None:
    assert upkeep_app.run("app", "reset", "--timeout", "0.3", STREAMAPP_BROKER="127.0.0.1:1").code == 3
