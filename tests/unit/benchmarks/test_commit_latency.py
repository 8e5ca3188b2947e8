"""A record's commit latency runs from its being readable to the first look that shows its offset committed."""

from __future__ import annotations

from array import array
from math import inf

import pytest

from tests.benchmarks.latency import commit_latencies
from tests.benchmarks.steady import Sent, Stream


def sent(*records: tuple[int, int, float]) -> Sent:
    """Records as (partition, offset, the moment when it could be read)."""
    partitions, offsets, moments = zip(*records, strict=True)
    return Sent(0.0, 0.0, array("q", partitions), array("q", offsets), array("d", moments))


def test_the_first_look_behind_the_record_counts_partition_by_partition() -> None:
    seen = [(10.0, {0: 0, 1: 0}), (10.2, {0: 2, 1: 0}), (10.4, {0: 2, 1: 1}), (10.6, {0: 3, 1: 1})]
    found = commit_latencies(sent((0, 0, 10.0), (0, 1, 10.1), (0, 2, 10.1), (1, 0, 10.1)), seen)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.5])


def test_a_record_that_no_look_shows_committed_never_was() -> None:
    assert commit_latencies(sent((0, 0, 1.0), (0, 1, 1.0), (3, 0, 1.0)), [(1.5, {0: 1})]) == [0.5, inf, inf]


def test_a_commit_that_is_seen_before_its_report_took_no_time() -> None:
    assert commit_latencies(sent((0, 0, 2.0)), [(1.9, {0: 1})]) == [0.0]


def test_a_record_is_due_by_the_clock_whatever_became_of_those_before() -> None:
    stream = Stream(bootstrap="", first_id=100, rate=50.0, seconds=2.0, value_bytes=100, ends_in="bench-out", reports=True)
    assert stream.count == 100
    assert (stream.ids[0], stream.ids[-1]) == (100, 199)
    assert [stream.due(at, 7.0) for at in (0, 1, 50)] == pytest.approx([7.0, 7.02, 8.0])
