"""Fetched records that wait are bounded in bytes as well: one of a megabyte counts for 256."""

from __future__ import annotations

from typing import Any, cast

from streamapp.pipeline.lane import HEAVY, Inlet, Lane, Line
from streamapp.records import Partition

MIB = 1024 * 1024


class FakeInlet:
    def __init__(self) -> None:
        self.queue: list[object] = []
        self.standing = None


def lane_of(*batches: tuple[int, int]) -> Lane:
    lane = Lane(Partition("in", 0), Line(0), 1)
    lane.inlets = [cast("Inlet", FakeInlet())]
    for records, each in batches:
        fetch(lane, records, each)
    return lane


def fetch(lane: Lane, records: int, each: int) -> None:
    lane.inlets[0].queue.extend(cast("Any", range(records)))
    lane.fetched(records, records * each)


def take(lane: Lane, records: int) -> None:
    del cast("Any", lane.inlets[0].queue)[:records]


def test_small_records_count_one_each() -> None:
    lane = lane_of((500, 150), (500, HEAVY))
    assert lane.load == lane.waiting == 1000


def test_large_ones_count_by_their_size() -> None:
    assert lane_of((16, MIB)).load == 16 * 256
    assert lane_of((500, 150), (16, MIB)).load == 16 * 256 + 500 * 150 // HEAVY


def test_what_is_done_counts_no_longer_but_for_the_batch_that_it_is_of() -> None:
    lane = lane_of((16, MIB), (16, MIB), (500, 150))
    take(lane, 15)
    assert lane.load >= 32 * 256
    take(lane, 2)
    assert 16 * 256 <= lane.load < 17 * 256 + 500
    take(lane, 15)
    assert lane.load == lane.waiting == 500
    take(lane, 500)
    assert lane.load == 0


def test_what_is_done_is_forgotten_and_small_batches_are_remembered_as_one() -> None:
    lane = lane_of()
    for _ in range(10_000):
        fetch(lane, 1, 150)
        take(lane, 1)
    assert len(lane.sizes) == 1
    for _ in range(4_000):
        fetch(lane, 1, 150)
    assert lane.load == 4_000
    assert len(lane.sizes) <= 41
    lane.clear()
    assert lane.load == 0
    assert not lane.sizes
