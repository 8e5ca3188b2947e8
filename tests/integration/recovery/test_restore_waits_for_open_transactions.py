"""A restore ends at the changelog's high watermark, not at the last stable offset: what is undecided below it is waited for."""

from __future__ import annotations

import pytest

from streamapp.state import recovery
from streamapp.state.restore import RestoreState
from tests.support.changelog_bench import Changelog
from tests.support.topics import wait_until


def test_an_open_foreign_transaction_holds_the_restore_and_is_named(
    changelog: Changelog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REPORT_EVERY", 0.5)
    changelog.commit({b"ann": b"1"})
    foreign = changelog.producer()
    changelog.send(foreign, {b"bob": b"2"})
    changelog.begin()
    progress = changelog.until(lambda progress: progress.state is RestoreState.WAITING)
    assert (progress.position, progress.target) == (2, 3)
    wait_until(lambda: "waiting for an open transaction at offset 2 of 3, " in caplog.text, why=lambda: caplog.text)
    assert changelog.outcomes.empty()
    foreign.commit_transaction(30)
    assert changelog.outcome().changelog_offset == 3
    assert changelog.content() == {b"ann": b"1", b"bob": b"2"}


def test_what_committed_behind_an_open_transaction_is_in_the_restore(changelog: Changelog) -> None:
    """The trap of the last stable offset: `bob` is committed, its input's offset too, and yet not visible."""
    foreign = changelog.producer()
    changelog.send(foreign, {b"ann": b"aborted"})
    changelog.commit({b"bob": b"2"}, settle=False)
    changelog.begin()
    wait_until(
        lambda: (
            any(progress.state is RestoreState.WAITING for progress in changelog.restorer.progress())
            or not changelog.outcomes.empty()
        ),
        why=lambda: str(changelog.restorer.progress()),
    )
    assert changelog.outcomes.empty(), "ended without it"
    assert changelog.content() == {}
    assert changelog.outcomes.empty()
    foreign.abort_transaction(30)
    assert changelog.outcome().restored == 1
    assert changelog.content() == {b"bob": b"2"}


def test_what_came_after_the_restore_began_is_not_waited_for(changelog: Changelog) -> None:
    first = changelog.producer()
    changelog.send(first, {b"ann": b"1"})
    changelog.begin()
    changelog.until(lambda progress: progress.state is RestoreState.WAITING)
    second = changelog.producer()
    changelog.send(second, {b"bob": b"2"})
    first.commit_transaction(30)
    assert changelog.outcome().restored == 1
    second.abort_transaction(30)


def test_one_partition_that_waits_holds_up_no_other(changelog: Changelog) -> None:
    foreign = changelog.producer()
    changelog.send(foreign, {b"ann": b"1"}, 0)
    changelog.commit({b"bob": b"2"}, 1)
    changelog.begin(0)
    changelog.until(lambda progress: progress.state is RestoreState.WAITING)
    changelog.begin(1)
    assert changelog.outcome().task.changelog.number == 1
    foreign.commit_transaction(30)
    assert changelog.outcome().task.changelog.number == 0
