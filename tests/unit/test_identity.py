"""A data directory has one live worker and one app, and keeps the worker id that nobody gave."""

import os
import signal
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamapp.errors import DataDirLocked, SettingInvalid
from streamapp.identity import APP_ID_FILE, WORKER_ID_FILE, DataDir
from streamapp.settings import IdentitySettings


def identity(path: Path, app_id: str = "shop", worker_id: str | None = None) -> IdentitySettings:
    return IdentitySettings(app_id=app_id, worker_id=worker_id, data_dir=path)


@pytest.fixture
def child() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Fork a child that does what it is told, then waits to be killed; return its process id once it is done."""
    children: list[int] = []

    def start(act: Callable[[], object]) -> int:
        ready, tell = os.pipe()
        with warnings.catch_warnings():
            # Later Pythons warn of any thread of the test process; the children here only lock a file.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            try:
                act()
                os.write(tell, b"x")
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        children.append(process)
        os.close(tell)
        assert os.read(ready, 1) == b"x", "the child died"
        os.close(ready)
        return process

    yield start
    for process in children:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def test_a_worker_id_that_nobody_gave_is_a_uuid_and_stays(tmp_path: Path) -> None:
    with DataDir.open(identity(tmp_path / "a" / "b")) as first:
        assert str(uuid.UUID(first.worker_id)) == first.worker_id
        assert first.is_new_worker
    with DataDir.open(identity(tmp_path / "a" / "b")) as second:
        assert second.worker_id == first.worker_id
        assert not second.is_new_worker


def test_a_given_worker_id_is_taken_and_not_kept(tmp_path: Path) -> None:
    with DataDir.open(identity(tmp_path, worker_id="w1")) as directory:
        assert (directory.worker_id, directory.is_new_worker) == ("w1", False)
    assert not (tmp_path / WORKER_ID_FILE).exists()


def test_two_workers_on_one_directory_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    with DataDir.open(identity(tmp_path)) as directory:
        with pytest.raises(DataDirLocked, match=rf"{tmp_path} .*process id {os.getpid()} "):
            DataDir.open(identity(tmp_path))
        assert directory.is_open
    DataDir.open(identity(tmp_path)).close()


def test_closing_twice_is_no_error(tmp_path: Path) -> None:
    directory = DataDir.open(identity(tmp_path))
    directory.close()
    directory.close()
    assert not directory.is_open


def test_a_killed_worker_leaves_no_lock_behind(tmp_path: Path, child: Callable[[Callable[[], object]], int]) -> None:
    held: list[DataDir] = []
    worker = child(lambda: held.append(DataDir.open(identity(tmp_path))))
    with pytest.raises(DataDirLocked, match=f"process id {worker} "):
        DataDir.open(identity(tmp_path))
    os.kill(worker, signal.SIGKILL)
    os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)  # dead, and still there for the fixture to reap
    DataDir.open(identity(tmp_path)).close()


def test_a_forked_child_neither_keeps_nor_frees_its_parents_lock(
    tmp_path: Path, child: Callable[[Callable[[], object]], int]
) -> None:
    directory = DataDir.open(identity(tmp_path))
    child(directory.close)
    with pytest.raises(DataDirLocked):
        DataDir.open(identity(tmp_path))
    directory.close()
    DataDir.open(identity(tmp_path)).close()


def test_another_apps_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    DataDir.open(identity(tmp_path, app_id="shop")).close()
    with pytest.raises(SettingInvalid, match="belongs to app 'shop', this is 'bank'"):
        DataDir.open(identity(tmp_path, app_id="bank"))
    assert (tmp_path / APP_ID_FILE).read_text() == "shop\n"
    DataDir.open(identity(tmp_path, app_id="shop")).close()


@pytest.mark.parametrize("content", ["", "a b", "x" * 101, "ä"])
def test_a_worker_id_file_without_one_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / WORKER_ID_FILE).write_text(content)
    with pytest.raises(SettingInvalid, match=WORKER_ID_FILE):
        DataDir.open(identity(tmp_path))
    DataDir.open(identity(tmp_path, worker_id="w1")).close()


def test_a_place_that_cannot_be_a_directory_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingInvalid, match="STREAMAPP_DATA_DIR="):
        DataDir.open(identity(tmp_path / "file"))
    (tmp_path / APP_ID_FILE).write_bytes(b"\xff")
    with pytest.raises(SettingInvalid, match="STREAMAPP_DATA_DIR="):
        DataDir.open(identity(tmp_path))


def test_no_half_written_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingInvalid, match="No space left"):
        DataDir.open(identity(tmp_path))
    assert {entry.name for entry in tmp_path.iterdir()} == {"lock"}
