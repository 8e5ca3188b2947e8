"""A closed store is read without a trace, and never while a worker has its directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamapp.errors import DataDirLocked, SettingInvalid, StoreCorrupted, StoreForeign
from streamapp.identity import DataDir
from streamapp.settings import load
from streamapp.state.budget import RocksBudget
from streamapp.state.closed import ClosedDataDir
from streamapp.state.identity import Identity
from streamapp.state.rocksdb import RocksStores

IDENTITY = Identity(app_id="shop", table="totals", partition=3, changelog_id="id-1")
ROWS: dict[bytes, bytes | None] = {b"ann": b"1", b"bob": b"2"}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory that a worker has left, with one store."""
    with worker_of(tmp_path / "w1") as worker:
        store = RocksStores(worker.path, RocksBudget(16 * 1024 * 1024)).open(IDENTITY)
        store.apply(ROWS, 7, current_at=5.0)
        store.close()
    return tmp_path / "w1"


def worker_of(path: Path) -> DataDir:
    return DataDir.open(load({"app_id": "shop", "data_dir": str(path)}, {}, {}).identity)


def traces(path: Path) -> dict[Path, tuple[int, int]]:
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in path.rglob("*")}


def test_a_store_is_read_with_its_offset_and_nothing_is_left_in_the_directory(data_dir: Path) -> None:
    before = traces(data_dir)
    closed = ClosedDataDir(data_dir, "shop")
    assert (closed.holder(), closed.tables()) == (None, [("totals", 3)])
    with closed.store(IDENTITY) as rows:
        assert (rows.changelog_offset, rows.current_at, dict(rows.items())) == (7, 5.0, ROWS)
    assert traces(data_dir) == before


def test_a_live_worker_is_named_and_its_stores_are_left_alone(data_dir: Path) -> None:
    closed = ClosedDataDir(data_dir, "shop")
    with worker_of(data_dir):
        assert closed.holder() == os.getpid()
        with pytest.raises(DataDirLocked), closed.store(IDENTITY):
            pass
    assert closed.holder() is None


def test_a_worker_that_came_and_went_meanwhile_makes_the_reading_void(data_dir: Path) -> None:
    with pytest.raises(DataDirLocked, match="while it was read"), ClosedDataDir(data_dir, "shop").store(IDENTITY):
        worker_of(data_dir).close()


def test_a_worker_may_start_while_a_store_is_read(data_dir: Path) -> None:
    with pytest.raises(DataDirLocked), ClosedDataDir(data_dir, "shop").store(IDENTITY) as rows, worker_of(data_dir):
        assert dict(rows.items()) == ROWS


def test_a_store_of_another_changelog_is_foreign(data_dir: Path) -> None:
    other = Identity(app_id="shop", table="totals", partition=3, changelog_id="id-2")
    with pytest.raises(StoreForeign, match="'id-1' for 'id-2'"), ClosedDataDir(data_dir, "shop").store(other):
        pass


def test_a_broken_store_is_corrupt_and_not_empty(data_dir: Path) -> None:
    for file in (data_dir / "tables" / "totals" / "3").glob("*.sst"):
        file.write_bytes(b"not what it was")
    with pytest.raises(StoreCorrupted), ClosedDataDir(data_dir, "shop").store(IDENTITY) as rows:
        dict(rows.items())


def test_a_store_that_is_not_there_is_said_to_be_missing(data_dir: Path) -> None:
    other = Identity(app_id="shop", table="totals", partition=4, changelog_id="id-1")
    with pytest.raises(FileNotFoundError), ClosedDataDir(data_dir, "shop").store(other):
        pass


def test_a_folder_that_is_no_data_directory_or_another_apps_is_refused(tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(SettingInvalid, match="no worker's data directory"):
        ClosedDataDir(tmp_path / "nothing", "shop")
    with pytest.raises(SettingInvalid, match="belongs to app 'shop', this is 'bank'"):
        ClosedDataDir(data_dir, "bank")
