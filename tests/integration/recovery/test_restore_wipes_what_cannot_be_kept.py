"""A store that the changelog contradicts, or that is broken, is wiped and restored from the changelog's start; no other is."""

from __future__ import annotations

import pytest

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable
from streamapp.kafka.admin import KafkaAdmin
from tests.support.changelog_bench import Changelog
from tests.support.topics import delete_topics, wait_until


def test_a_log_truncated_past_the_stored_offset(changelog: Changelog, caplog: pytest.LogCaptureFixture) -> None:
    changelog.commit({b"ann": b"1"})
    changelog.restore()
    changelog.commit({b"bob": b"2", b"cid": b"3"})
    changelog.delete_records(3)
    outcome = changelog.restore()
    assert outcome.wiped == "its offset 2 lies before the changelog's start 3"
    assert changelog.content() == {b"cid": b"3"}
    assert [record.__dict__["event"] for record in caplog.records if "Wiping" in record.message] == ["store_wiped"]


def test_a_log_truncated_up_to_the_stored_offset_is_no_reason(changelog: Changelog) -> None:
    changelog.commit({b"ann": b"1"})
    changelog.restore()
    changelog.commit({b"bob": b"2"})
    changelog.delete_records(2)
    outcome = changelog.restore()
    assert (outcome.wiped, changelog.content()) == (None, {b"ann": b"1", b"bob": b"2"})


def test_a_stored_offset_beyond_the_end(changelog: Changelog) -> None:
    changelog.commit({b"ann": b"1"})
    changelog.store().apply({b"stale": b"0"}, 100)
    outcome = changelog.restore()
    assert outcome.wiped == "its offset 100 lies beyond the changelog's end 2"
    assert changelog.content() == {b"ann": b"1"}


def test_a_topic_made_anew(changelog: Changelog) -> None:
    changelog.commit({b"ann": b"1", b"stale": b"0"})
    changelog.restore()
    old = changelog.topic_id
    delete_topics(changelog.bootstrap, [changelog.topic])
    changelog.create()
    assert changelog.topic_id != old
    changelog.commit({b"ann": b"2", b"bob": b"3"})  # as many offsets as before: only the id tells
    outcome = changelog.restore()
    assert f"{old!r} for {changelog.topic_id!r}" in (outcome.wiped or "")
    assert changelog.content() == {b"ann": b"2", b"bob": b"3"}


def test_a_corrupt_store(changelog: Changelog) -> None:
    changelog.commit({b"ann": b"1"})
    changelog.restore()
    changelog.stores.close_all()
    for table in (changelog.data_dir / "tables" / "totals" / "0").glob("*.sst"):
        table.write_bytes(b"not what it was")
    outcome = changelog.restore()
    assert "cannot be trusted" in (outcome.wiped or "")
    assert (outcome.restored, changelog.content()) == (1, {b"ann": b"1"})


def test_a_topic_that_does_not_appear_is_named(changelog: Changelog) -> None:
    with pytest.raises(BrokerUnreachable, match="no-such-topic"):
        KafkaAdmin(changelog.admin_config).topic_ids([changelog.topic, "no-such-topic"], Deadline.after(1))


def test_a_changelog_that_is_gone_is_asked_for_again_and_named(changelog: Changelog) -> None:
    delete_topics(changelog.bootstrap, [changelog.topic])
    task = changelog.begin()
    progress = changelog.until(lambda progress: progress.trouble is not None)
    assert changelog.topic in (progress.trouble or "")
    changelog.create()
    wait_until(lambda: not changelog.outcomes.empty(), why=lambda: str(changelog.restorer.progress()))
    assert changelog.outcome().task is task
