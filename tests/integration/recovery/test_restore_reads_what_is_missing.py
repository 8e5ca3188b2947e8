"""A restore reads what the store lacks, no more, and leaves the store current to the end of the changelog."""

from __future__ import annotations

from tests.support.changelog_bench import Changelog


def puts(first: int, last: int, value: bytes = b"v") -> dict[bytes, bytes | None]:
    return {b"%06d" % number: value for number in range(first, last)}


def test_an_empty_changelog_takes_no_reading(changelog: Changelog) -> None:
    outcome = changelog.restore()
    assert (outcome.restored, outcome.wiped, outcome.changelog_offset, outcome.failure) == (0, None, 0, None)


def test_a_new_store_gets_all(changelog: Changelog) -> None:
    changelog.commit(puts(0, 5_000))
    outcome = changelog.restore()
    assert (outcome.restored, outcome.wiped, outcome.changelog_offset) == (5_000, None, 5_001)
    assert changelog.content() == puts(0, 5_000)


def test_a_store_that_lags_gets_the_tail_only(changelog: Changelog) -> None:
    changelog.commit(puts(0, 1_000))
    changelog.restore()
    changelog.commit(puts(900, 1_100, b"new"))
    outcome = changelog.restore()
    assert (outcome.restored, outcome.changelog_offset) == (200, 1_202)
    assert changelog.content() == puts(0, 900) | puts(900, 1_100, b"new")


def test_a_store_reopened_gets_the_tail_only(changelog: Changelog) -> None:
    changelog.commit(puts(0, 1_000))
    changelog.restore()
    changelog.stores.close_all()
    changelog.commit(puts(1_000, 1_010))
    assert changelog.restore().restored == 10


def test_a_store_that_is_current_gets_nothing(changelog: Changelog) -> None:
    changelog.commit(puts(0, 100))
    changelog.restore()
    assert changelog.restore().restored == 0


def test_a_tail_of_a_commit_marker_alone_is_passed(changelog: Changelog) -> None:
    changelog.commit(puts(0, 100))
    changelog.store().apply(puts(0, 100), 100)  # as the engine applies: the marker has no delivery report
    outcome = changelog.restore()
    assert (outcome.restored, outcome.changelog_offset) == (0, 101)


def test_tombstones_delete(changelog: Changelog) -> None:
    changelog.commit(puts(0, 100))
    changelog.restore()
    changelog.commit({b"%06d" % number: None for number in range(50)})
    changelog.restore()
    assert changelog.content() == puts(50, 100)


def test_aborted_records_are_not_seen(changelog: Changelog) -> None:
    changelog.commit(puts(0, 100))
    changelog.abort(puts(0, 200, b"aborted"))
    changelog.commit({b"last": b"1"})
    changelog.abort(puts(0, 10, b"aborted"))
    outcome = changelog.restore()
    assert outcome.restored == 101
    assert outcome.changelog_offset == 100 + 1 + 200 + 1 + 1 + 1 + 10 + 1
    assert changelog.content() == puts(0, 100) | {b"last": b"1"}
