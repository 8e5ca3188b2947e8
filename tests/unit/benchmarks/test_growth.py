"""What `make growth` says of its runs follows from their figures, and what it checks their output by tells sets of orders apart."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.benchmarks.growth import MILLION, Curve, Point, series, slope, verdicts
from tests.benchmarks.growth_plot import draw
from tests.benchmarks.growth_run import Sample, Tally, scattered


def test_a_point_is_the_median_of_its_runs_with_the_farthest_of_them() -> None:
    assert Point.of(8, [9.0, 11.0, 9.5], 7) == Point(8, 9.5, 9.0, 11.0, 7)


def test_only_all_goes_up_to_ten_million_keys() -> None:
    sizes = {each.name: list(each.shapes) for each in series(everything=False, records=50)}
    assert sizes == {"table": [10_000, MILLION], "partitions": [1, 8, 64], "workers": [1, 2]}
    whole = series(everything=True, records=50)
    assert list(whole[0].shapes) == [10_000, MILLION, 10 * MILLION]
    assert [shape.keys for shape in whole[0].shapes.values()] == list(whole[0].shapes)
    assert [shape.partitions for shape in whole[1].shapes.values()] == [1, 8, 64]
    assert [shape.workers for shape in whole[2].shapes.values()] == [1, 2]
    assert {shape.records for each in whole for shape in each.shapes.values()} == {50}


def curve(name: str, at: int, value: float, peak: int | None = None) -> Curve:
    return Curve(name, "keys", "µs", [Point.of(at, [value], peak)])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (curve("table", MILLION, 9.0, 240_000_000), "memory with a million keys: 240 MB, promised 250: held"),
        (curve("table", MILLION, 9.0, 251_000_000), "memory with a million keys: 251 MB, promised 250: NOT HELD"),
        (curve("restore", 10 * MILLION, 300_000.0), "restore of 10,000,000 keys: 300,000 records/s, promised 300,000: held"),
        (curve("restore", MILLION, 299_000.0), "restore of 1,000,000 keys: 299,000 records/s, promised 300,000: NOT HELD"),
    ],
)
def test_a_promise_is_shown_beside_what_was_found(found: Curve, said: str) -> None:
    assert list(verdicts([found], [])) == [said]


def test_nothing_is_promised_of_other_sizes() -> None:
    assert list(verdicts([curve("table", 10_000, 9.0, 999_000_000), curve("workers", 2, 9.0, 999_000_000)], [])) == []


def test_memory_is_judged_by_how_it_grows_once_it_had_time_to_fill() -> None:
    filling = [Sample(at * MILLION, 100_000_000 + min(at, 4) * 20_000_000) for at in range(1, 9)]
    [said] = verdicts([], filling)
    assert "8,000,000 records: 120 MB at first, 180 MB at last, +0.0 MB a million records in the second half" in said
    assert said.endswith("promised 2 at most: held")
    [said] = verdicts([], [Sample(at * MILLION, 100_000_000 + at * 2_100_000) for at in range(1, 9)])
    assert said.endswith("+2.1 MB a million records in the second half, promised 2 at most: NOT HELD")
    [said] = verdicts([], [Sample(at * 100_000, 100_000_000) for at in range(1, 9)])
    assert said.endswith("unknown, too few records")
    assert slope([Sample(MILLION, 5_000_000), Sample(2 * MILLION, 8_000_000)]) == pytest.approx(3_000_000)
    assert slope([Sample(MILLION, 5_000_000)]) == 0.0


def test_the_tally_of_a_lost_doubled_or_other_order_differs() -> None:
    def tally(*ids: int) -> Tally:
        made = Tally()
        for each in ids:
            made.add(each)
        return made

    whole = tally(1, 4, 6)
    assert whole == tally(6, 1, 4)
    for other in (tally(1, 4), tally(1, 4, 6, 6), tally(2, 3, 6), tally(1, 4, 4), tally(2, 4, 5)):
        assert whole != other


def test_scattered_keys_are_apart_and_in_no_order() -> None:
    keys = [scattered(number) for number in range(10_000)]
    assert len(set(keys)) == 10_000
    assert sorted(keys) != keys
    assert sum(before < after for before, after in pairwise(keys)) in range(3_000, 7_000)


def test_each_curve_is_drawn(tmp_path: Path) -> None:
    points = [{"at": at, "value": 9.0, "lowest": 8.5, "highest": 9.5} for at in (10_000, MILLION)]
    found = {
        "curves": [{"name": "table", "of": "keys", "unit": "µs", "points": points}],
        "memory": [{"records": 1, "rss_bytes": 10_000_000}],
    }
    files = draw(found, tmp_path)
    assert [file.name for file in files] == ["growth-table.png", "growth-memory.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert draw({"curves": [], "memory": []}, tmp_path) == []
