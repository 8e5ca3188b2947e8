"""Lag counts records that a read_committed reader would get: markers are none, and what cannot be counted is told in positions."""

from __future__ import annotations

from streamapp.records import Partition
from streamapp.verify.lag import lag_of
from streamapp.verify.rows import LagRow, Verdict, Watermarks
from streamapp.verify.unread import COUNTED, Unread


def row(committed: int | None, unread: Unread | None = None, *, start: int = 0, stable: int = 100, allowed: int = 0) -> LagRow:
    return lag_of(Partition("orders", 1), Watermarks(start, stable, 110), committed, unread, allowed=allowed)


def test_a_group_at_the_last_stable_offset_is_done() -> None:
    assert (row(100).verdict, row(100).status, row(100).lag) == (Verdict.OK, "done", 0)


def test_a_tail_of_commit_markers_is_no_lag() -> None:
    found = row(98, Unread(0, None, to_end=True))
    assert (found.verdict, found.status, found.lag, found.exact) == (Verdict.OK, "done", 0, True)


def test_unread_records_are_counted_one_by_one_up_to_a_bound() -> None:
    found = row(90, Unread(4, 91, to_end=True))
    assert (found.verdict, found.status, found.lag, found.exact) == (Verdict.FINDING, "behind", 4, True)


def test_beyond_that_bound_positions_are_told_from_the_first_record_on() -> None:
    found = row(10, Unread(COUNTED, 12, to_end=False), stable=5_000)
    assert (found.lag, found.exact) == (4_988, False)


def test_a_lag_that_is_allowed_is_no_finding() -> None:
    assert row(90, Unread(4, 91, to_end=True), allowed=4).verdict is Verdict.OK
    assert row(90, Unread(4, 91, to_end=True), allowed=3).verdict is Verdict.FINDING


def test_a_group_that_committed_nothing_has_all_to_read_or_nothing() -> None:
    assert (row(None, Unread(3, 0, to_end=True)).status, row(None, Unread(3, 0, to_end=True)).lag) == ("never read", 3)
    assert row(None, stable=0).verdict is Verdict.OK


def test_records_that_were_deleted_unread_are_a_finding_whatever_is_allowed() -> None:
    found = row(5, start=20, allowed=1_000)
    assert (found.verdict, found.status) == (Verdict.FINDING, "deleted unread")
    assert "up to 15 records" in (found.detail or "")


def test_an_offset_beyond_the_end_is_a_finding_and_its_lag_unknown() -> None:
    found = row(200)
    assert (found.verdict, found.status, found.lag) == (Verdict.FINDING, "beyond the end", None)
