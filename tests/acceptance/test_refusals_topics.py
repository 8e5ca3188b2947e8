"""Topics that are not there, or are not what exactly-once needs: waited for and named, or refused before a partition is taken."""

from __future__ import annotations

import signal

import pytest

from tests.support.topics import committed_offsets, create_topic, partitions_of
from tests.support.word_app import WordApp, said, wait_for_line


def refused(app: WordApp, **env: str) -> str:
    """Return the one line of a worker that exits with 2, and see that it left the group and its topics alone."""
    done = app.run("worker", **env)
    assert done.returncode == 2, done.stderr
    assert committed_offsets(app.bootstrap, app.app_id, [app.words]) == {}
    (line,) = said(done.stderr)
    return line


def test_a_missing_source_is_named_until_it_is_created_and_then_read(word_app: WordApp) -> None:
    word_app.declare(declared="")
    worker = word_app.start()
    wait_for_line(worker, f"source topic {word_app.words} does not exist", times=2)
    word_app.feed(["a", "b", "a"])
    word_app.wait_until_done()
    worker.send(signal.SIGINT)
    assert worker.wait() == 0
    assert said(worker.log_text()) == []


def test_a_stop_while_a_source_is_missing_is_clean(word_app: WordApp) -> None:
    word_app.declare(declared="")
    worker = word_app.start()
    wait_for_line(worker, f"source topic {word_app.words} does not exist")
    assert worker.stop() == 0


def test_a_missing_source_refuses_where_that_is_wanted(word_app: WordApp) -> None:
    word_app.declare(declared="")
    line = refused(word_app, STREAMAPP_MISSING_TOPIC="fail")
    for part in (word_app.words, "create it", "STREAMAPP_MISSING_TOPIC=wait"):
        assert part in line


def test_a_changelog_with_another_count_than_its_source_refuses(word_app: WordApp) -> None:
    create_topic(word_app.bootstrap, word_app.changelog, 3)
    line = refused(word_app)
    assert f"changelog {word_app.changelog} has 3 partitions, its source {word_app.words} 2" in line


def test_a_changelog_that_retention_deletes_from_refuses(word_app: WordApp) -> None:
    create_topic(word_app.bootstrap, word_app.changelog, 2, {"cleanup.policy": "delete"})
    line = refused(word_app)
    for part in (word_app.changelog, "cleanup.policy=delete", "kafka-configs.sh"):
        assert part in line


def test_a_changelog_declared_so_is_refused_before_it_is_made(word_app: WordApp) -> None:
    word_app.declare(more='\nmarks = app.Table("marks", source=words, extra_topic_configs={"cleanup.policy": "delete"})\n')
    assert "cleanup.policy=delete" in refused(word_app)
    marks = f"{word_app.app_id}-marks-changelog"
    assert partitions_of(word_app.bootstrap, [marks]) == {marks: 0}


@pytest.mark.parametrize("missing", ["dlq", "changelog"])
def test_a_missing_topic_that_may_not_be_created_refuses_and_says_how_to_create_it(word_app: WordApp, missing: str) -> None:
    name = str(getattr(word_app, missing))
    for topic in {word_app.words, word_app.numbered, word_app.dlq, word_app.changelog} - {name}:
        create_topic(word_app.bootstrap, topic, 2, {"cleanup.policy": "compact"} if topic == word_app.changelog else None)
    line = refused(word_app, STREAMAPP_TOPIC_ALLOW_DECLARE="false")
    for part in (name, "STREAMAPP_TOPIC_ALLOW_DECLARE", "2 partitions", "cleanup.policy="):
        assert part in line
    assert partitions_of(word_app.bootstrap, [name]) == {name: 0}


def test_a_topic_that_the_broker_will_not_make_refuses_with_its_reason(word_app: WordApp) -> None:
    name = f"{word_app.app_id}-odd"
    word_app.declare(more=f'\napp.topic("{name}", partitions=1, config={{"cleanup.policy": "sometimes"}})\n')
    line = refused(word_app)
    for part in (f"topic {name} cannot be created", "cleanup.policy"):
        assert part in line
