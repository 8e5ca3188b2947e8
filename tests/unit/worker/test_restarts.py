"""How long a worker was away is counted from its last sign of life to when it works again, once per life."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamapp.worker.restarts import FILE, KEPT, LONGEST, Restarts, read_restarts


def lived(directory: Path, begins: float, ends: float) -> None:
    """One life: ready at `begins`, its last sign at `ends`."""
    life = Restarts(directory)
    life.alive(begins)
    life.back(begins)
    life.alive(ends)


def test_the_first_life_was_never_away(tmp_path: Path) -> None:
    lived(tmp_path, 100.0, 200.0)
    assert read_restarts(tmp_path) == ()


def test_time_counts_from_the_last_sign_of_the_life_before_however_often_this_one_tries(tmp_path: Path) -> None:
    lived(tmp_path, 100.0, 200.0)
    life = Restarts(tmp_path)
    life.alive(210.0)  # not ready yet
    crashed = Restarts(tmp_path)
    crashed.alive(220.0)
    crashed.back(230.0)
    crashed.back(231.0)
    crashed.alive(232.0)
    assert read_restarts(tmp_path) == (30.0,)


@pytest.mark.parametrize(("away", "counted"), [(LONGEST, (LONGEST,)), (LONGEST + 1, ()), (-5.0, ())])
def test_a_worker_that_was_switched_off_or_whose_clock_went_back_did_not_restart(
    tmp_path: Path, away: float, counted: tuple[float, ...]
) -> None:
    lived(tmp_path, 100.0, 200.0)
    lived(tmp_path, 200.0 + away, 9_000.0)
    assert read_restarts(tmp_path) == counted


def test_a_worker_that_restarts_for_ever_keeps_a_small_file(tmp_path: Path) -> None:
    for each in range(3 * KEPT):
        lived(tmp_path, 100.0 * each, 100.0 * each + 90.0)
    assert read_restarts(tmp_path) == (10.0,) * KEPT


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"alive": "yes", "away": []}'])
def test_a_file_that_nobody_can_read_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    lived(tmp_path, 100.0, 200.0)
    assert read_restarts(tmp_path) == ()


def test_a_disk_that_refuses_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    lived(tmp_path, 100.0, 200.0)
    assert read_restarts(tmp_path) == ()
