"""Rows of the app's meta topic: a worker's last starts with their versions; what nobody here wrote is no row."""

from __future__ import annotations

from streamapp.worker.meta import STARTS_KEPT, TopicRow, WorkerRow, decode, encode


def test_a_row_comes_back_as_it_was_written() -> None:
    row = WorkerRow(version="1.4", starts=(5.0,)).started("1.5", 9.0)
    assert decode(WorkerRow, encode(row)) == row
    assert decode(TopicRow, encode(TopicRow(partitions=8, seen=1.0))) == TopicRow(partitions=8, seen=1.0)


def test_another_version_remembers_the_one_before_it_through_later_starts() -> None:
    row = WorkerRow(version="1.4", starts=(1.0,)).started("1.5", 2.0).started("1.5", 3.0)
    assert (row.version, row.previous_version, row.starts) == ("1.5", "1.4", (1.0, 2.0, 3.0))


def test_a_worker_that_starts_for_ever_keeps_a_small_row() -> None:
    row = WorkerRow(version="1")
    for at in range(100):
        row = row.started("1", float(at))
    assert len(row.starts) == STARTS_KEPT
    assert row.starts[-1] == 99.0


def test_a_tombstone_and_a_stranger_s_value_are_no_rows() -> None:
    assert decode(WorkerRow, None) is None
    for stranger in (b"", b"\xff\xfe", b"[]", b'{"partitions": 3}'):
        assert decode(WorkerRow, stranger) is None
    assert decode(TopicRow, b'{"version": "1"}') is None
