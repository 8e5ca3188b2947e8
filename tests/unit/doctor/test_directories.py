"""A data directory is looked at without touching its lock: whose it is, who holds it, how large its tables are."""

from __future__ import annotations

import os
from pathlib import Path

from streamapp.doctor.directories import directory_at
from streamapp.identity import LOCK_FILE, DataDir
from streamapp.settings import IdentitySettings
from streamapp.worker.restarts import Restarts


def identity(path: Path, worker_id: str | None = None) -> IdentitySettings:
    return IdentitySettings(app_id="shop", worker_id=worker_id, data_dir=path)


def test_one_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    found = directory_at(tmp_path / "none", "w-0")
    assert (found.exists, found.app_id, found.table_bytes) == (False, None, None)


def test_a_worker_s_is_told_with_its_id_its_tables_and_its_restarts(tmp_path: Path) -> None:
    with DataDir.open(identity(tmp_path)) as held:
        (tmp_path / "tables" / "totals").mkdir(parents=True)
        (tmp_path / "tables" / "totals" / "data").write_bytes(b"x" * 500)
        restarts = Restarts(tmp_path)
        restarts.alive(100.0)
        again = Restarts(tmp_path)
        again.back(107.0)
        again.alive(107.0)
        found = directory_at(tmp_path, None, held)
        assert (found.app_id, found.worker_id, found.is_new, found.locked_by) == ("shop", held.worker_id, True, None)
        assert (found.table_bytes, found.restarts) == (500, (7.0,))
        assert held.is_open
        kept = directory_at(tmp_path, None)
        assert (kept.worker_id, kept.is_new) == (held.worker_id, False)


def test_who_holds_it_is_told_while_that_process_lives(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text(f"{os.getppid()}\n")
    assert directory_at(tmp_path, "w-0").locked_by == os.getppid()
    (tmp_path / LOCK_FILE).write_text("4194305\n")  # above the largest process id there is
    assert directory_at(tmp_path, "w-0").locked_by is None
    (tmp_path / LOCK_FILE).write_bytes(b"\xff\xfe")
    assert directory_at(tmp_path, "w-0").locked_by is None
