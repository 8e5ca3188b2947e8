"""The first unread record is found wherever it lies, and dates the lag: a replayed one by its replay, one without a timestamp not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from streamapp.records import Partition, RawRecord
from streamapp.verify.group_lag import age_mark
from streamapp.verify.unread import first_unread

ORDERS, REFUNDS = Partition("orders", 3), Partition("refunds", 0)


class Record:
    """One of a log."""

    def __init__(
        self, where: Partition, offset: int, *, timestamp: tuple[int, int] = (1, 5000), replayed_at: bytes | None = None
    ):
        self._where, self._offset, self._timestamp, self._replayed_at = where, offset, timestamp, replayed_at

    def topic(self) -> str:
        return self._where.topic

    def partition(self) -> int:
        return self._where.number

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes | None:
        return b""

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None if self._replayed_at is None else [("streamapp.dlq.replayed-at", self._replayed_at)]

    def timestamp(self) -> tuple[int, int]:
        return self._timestamp


class Logs:
    """A LogReader of logs in which only some offsets are records; what else there is are markers."""

    def __init__(self, offsets: Mapping[Partition, Sequence[int]]) -> None:
        self._offsets = offsets
        self.passed = 0

    def read(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[tuple[Sequence[RawRecord], int]]:
        for where, (start, end) in ranges.items():
            self.passed += end - start
            yield [Record(where, offset) for offset in self._offsets[where] if start <= offset < end], end - start


@pytest.mark.parametrize("offset", [100, 115, 116, 900, 49_999])
def test_it_is_found_however_many_markers_lie_before_it(offset: int) -> None:
    logs = Logs({ORDERS: [7, offset, offset + 1], REFUNDS: [100]})
    found = first_unread(logs, {ORDERS: (100, 50_000), REFUNDS: (100, 101)})  # type: ignore[arg-type]  # of a LogReader, it reads
    assert {where: record.offset() for where, record in found.items()} == {ORDERS: offset, REFUNDS: 100}


def test_where_there_is_none_it_says_so_and_a_long_log_is_not_read_for_its_first_record() -> None:
    logs = Logs({ORDERS: [7], REFUNDS: range(1_000_000)})
    assert set(first_unread(logs, {ORDERS: (8, 30_000)})) == set()  # type: ignore[arg-type]
    logs.passed = 0
    assert first_unread(logs, {REFUNDS: (10, 1_000_000)})[REFUNDS].offset() == 10  # type: ignore[arg-type]
    assert logs.passed <= 16


def test_its_age_counts_from_its_timestamp_or_from_its_replay() -> None:
    assert age_mark(Record(ORDERS, 1)) == 5.0
    assert age_mark(Record(ORDERS, 1, replayed_at=b"1970-01-01T00:01:00.500Z")) == 60.5
    assert age_mark(Record(ORDERS, 1, replayed_at=b"yesterday")) == 5.0
    assert age_mark(Record(ORDERS, 1, timestamp=(0, -1))) is None
