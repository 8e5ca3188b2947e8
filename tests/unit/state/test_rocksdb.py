"""What only a store on disk can meet: foreign and broken files, a killed process, a reboot, a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streamapp.errors import StoreCorrupted, StoreForeign
from streamapp.state import rocksdb
from streamapp.state.budget import RocksBudget
from streamapp.state.identity import Identity
from streamapp.state.rocksdb import RocksStore, RocksStores

IDENTITY = Identity(app_id="shop", table="totals", partition=3, changelog_id="id-1")


@pytest.fixture(scope="module")
def budget() -> RocksBudget:
    return RocksBudget(16 * 1024 * 1024)


@pytest.fixture
def stores(tmp_path: Path, budget: RocksBudget) -> RocksStores:
    return RocksStores(tmp_path, budget)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "totals" / "3"


def filled(stores: RocksStores) -> None:
    store = stores.open(IDENTITY)
    store.apply({b"%05d" % number: os.urandom(50) for number in range(3_000)}, 3_000)
    store.close()


def only(directory: Path, pattern: str) -> Path:
    [found] = [path for path in directory.glob(pattern) if path.stat().st_size]
    return found


def flip(path: Path, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.write_bytes(content)


def test_content_offset_and_age_outlive_a_close(stores: RocksStores) -> None:
    store = stores.open(IDENTITY)
    store.apply({b"ann": b"1"}, 10, current_at=123.5)
    store.close()
    store = stores.open(IDENTITY)
    assert (store.get(b"ann"), store.changelog_offset, store.current_at) == (b"1", 10, 123.5)
    store.close()


@pytest.mark.parametrize(
    "other",
    [
        replace(IDENTITY, app_id="stock"),
        replace(IDENTITY, changelog_id="id-2"),
    ],
)
def test_a_store_of_another_app_or_changelog_is_foreign(stores: RocksStores, other: Identity) -> None:
    filled(stores)
    with pytest.raises(StoreForeign, match=r"id-2|stock"):
        stores.open(other)
    stores.open(IDENTITY).close()  # and it is left as it was, unlocked


def test_another_partitions_directory_is_foreign(stores: RocksStores, directory: Path) -> None:
    filled(stores)
    directory.rename(directory.with_name("4"))
    with pytest.raises(StoreForeign, match="partition 3 for 4"):
        stores.open(replace(IDENTITY, partition=4))


def test_a_newer_format_is_foreign(stores: RocksStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.state.identity.FORMAT", 2)
    filled(stores)
    monkeypatch.undo()
    with pytest.raises(StoreForeign, match="format 2 for 1"):
        stores.open(IDENTITY)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "CURRENT missing": lambda at: (at / "CURRENT").unlink(),
    "CURRENT garbled": lambda at: (at / "CURRENT").write_text("x"),
    "CURRENT empty": lambda at: (at / "CURRENT").write_text(""),
    "MANIFEST missing": lambda at: only(at, "MANIFEST-*").unlink(),
    "MANIFEST flipped": lambda at: flip(only(at, "MANIFEST-*"), 0.2),
    "table missing": lambda at: only(at, "*.sst").unlink(),
    "table torn": lambda at: os.truncate(only(at, "*.sst"), 100),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_store_does_not_open(stores: RocksStores, directory: Path, damage: Callable[[Path], object]) -> None:
    filled(stores)
    damage(directory)
    with pytest.raises(StoreCorrupted):
        stores.open(IDENTITY)
    stores.wipe(IDENTITY)
    fresh = stores.open(IDENTITY)
    assert (fresh.changelog_offset, list(fresh.items())) == (None, [])
    fresh.close()


def test_a_flipped_block_is_found_when_it_is_read(tmp_path: Path, directory: Path) -> None:
    filled(RocksStores(tmp_path, RocksBudget(16 * 1024 * 1024)))
    flip(only(directory, "*.sst"), 0.3)
    store = RocksStores(tmp_path, RocksBudget(16 * 1024 * 1024)).open(IDENTITY)
    with pytest.raises(StoreCorrupted):
        list(store.items())
    with pytest.raises(StoreCorrupted):
        _ = [store.get(b"%05d" % number) for number in range(3_000)]
    store.close()
    again = RocksStores(tmp_path, RocksBudget(16 * 1024 * 1024)).open(IDENTITY)
    with pytest.raises(StoreCorrupted), again.frozen() as frozen:
        list(frozen.items())
    again.close()


def test_no_flipped_byte_gives_a_wrong_value(tmp_path: Path, directory: Path) -> None:
    written = {b"%05d" % number: b"%d" % (number * number) for number in range(1_500)}
    store = RocksStores(tmp_path, RocksBudget(16 * 1024 * 1024)).open(IDENTITY)
    store.apply(written, 1_500)
    store.close()
    table = only(directory, "*.sst")
    sound = table.read_bytes()
    found = set()
    for at in range(0, len(sound), len(sound) // 40):
        table.write_bytes(sound[:at] + bytes([sound[at] ^ 0xFF]) + sound[at + 1 :])
        try:
            # Memory of its own: a block that is in a shared cache is not read from the disk.
            store = RocksStores(tmp_path, RocksBudget(16 * 1024 * 1024)).open(IDENTITY)
        except StoreCorrupted:
            found.add("at the open")
            continue
        for key, value in written.items():
            try:
                assert store.get(key) == value, f"byte {at} flipped"
            except StoreCorrupted:
                found.add("at a read")
                assert not store.usable
                assert "Corruption" in (store.corrupt or "")
        store.close()
    assert found == {"at the open", "at a read"}


class RocksError(Exception):
    """What rocksdict raises as a bare Exception."""


def test_a_block_that_the_disk_cannot_read_back_is_as_good_as_damaged(
    stores: RocksStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.open(IDENTITY)

    def fail(key: bytes) -> bytes:
        raise RocksError("IO error: While pread offset 0 len 4096: /d/000009.sst: Input/output error")

    monkeypatch.setattr(store, "_get", fail)
    with pytest.raises(StoreCorrupted, match="cannot be read back"):
        store.get(b"ann")
    assert (store.usable, store.corrupt is None) == (False, False)
    monkeypatch.undo()
    store.close()


def test_a_read_for_which_the_process_lacks_something_condemns_no_content(
    stores: RocksStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.open(IDENTITY)

    def fail(key: bytes) -> bytes:
        raise RocksError("IO error: While open a file for random read: /d/000009.sst: Too many open files")

    monkeypatch.setattr(store, "_get", fail)
    with pytest.raises(OSError, match="Too many open files"):
        store.get(b"ann")
    assert (store.usable, store.corrupt) == (False, None)
    monkeypatch.undo()
    store.close()


def test_a_store_opened_again_uses_the_shared_cache(tmp_path: Path) -> None:
    filled(RocksStores(tmp_path, RocksBudget(16 * 1024 * 1024)))
    budget = RocksBudget(16 * 1024 * 1024)
    store = RocksStores(tmp_path, budget).open(IDENTITY)
    before = budget.usage().held
    list(store.items())
    assert budget.usage().held > before + 100_000
    store.close()


def test_a_killed_process_loses_nothing(stores: RocksStores, tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from tests.unit.state.test_rocksdb import IDENTITY
from streamapp.state.rocksdb import RocksStores
store = RocksStores(Path(sys.argv[1])).open(IDENTITY)
for offset in range(1, 501):
    store.apply({b"%05d" % offset: b"v"}, offset)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False, cwd=Path(__file__).parents[3])
    store = stores.open(IDENTITY)
    assert (store.changelog_offset, len(list(store.items()))) == (500, 500)
    store.close()


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.77, 0.999])
def test_a_log_torn_anywhere_gives_some_earlier_state_whole(tmp_path: Path, budget: RocksBudget, kept: float) -> None:
    here = tmp_path / "here"
    store = RocksStores(here, budget).open(IDENTITY)
    for offset in range(1, 401):
        store.apply({b"%05d" % offset: b"v" * 20, b"last": b"%d" % offset}, offset)
    there = tmp_path / "there"
    copied(here, there)
    store.close()
    log = only(there / "tables" / "totals" / "3", "*.log")
    os.truncate(log, int(log.stat().st_size * kept))
    torn = RocksStores(there, budget).open(IDENTITY)
    offset = torn.changelog_offset or 0
    assert 0 < offset < 401
    assert [key for key, _ in torn.items()] == [*(b"%05d" % number for number in range(1, offset + 1)), b"last"]
    assert torn.get(b"last") == b"%d" % offset
    torn.close()


def copied(here: Path, there: Path) -> None:
    subprocess.run(["cp", "-r", here, there], check=True)


def test_two_logs_from_before_a_reboot_are_not_trusted(
    tmp_path: Path, budget: RocksBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    store = RocksStores(here, budget).open(IDENTITY)
    store.apply({b"ann": b"1"}, 1)
    copied(here, there)
    store.close()
    directory = there / "tables" / "totals" / "3"
    (directory / "000999.log").write_bytes(only(directory, "*.log").read_bytes())
    monkeypatch.setattr(rocksdb, "boot_id", lambda: "another boot")
    with pytest.raises(StoreCorrupted, match="machine went down"):
        RocksStores(there, budget).open(IDENTITY)


def test_one_log_from_before_a_reboot_is_trusted(tmp_path: Path, budget: RocksBudget, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    store = RocksStores(here, budget).open(IDENTITY)
    store.apply({b"ann": b"1"}, 1)
    copied(here, there)
    store.close()
    monkeypatch.setattr(rocksdb, "boot_id", lambda: "another boot")
    store = RocksStores(there, budget).open(IDENTITY)
    assert store.get(b"ann") == b"1"
    store.close()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("IO error: No space left on device: While appending to file: /d/000037.sst: No space left on device", errno.ENOSPC),
        ("IO error: While open a file for appending: /d/1.log: Read-only file system", errno.EROFS),
        ("IO error: lock hold by current process, acquire time 1 acquiring thread 2: /d/LOCK: No locks available", errno.ENOLCK),
        ("Permission denied (os error 13)", errno.EACCES),
    ],
)
def test_a_disk_that_refuses_is_not_a_corrupt_store(text: str, number: int) -> None:
    failure = rocksdb.translated(Exception(text), IDENTITY)
    assert isinstance(failure, OSError)
    assert failure.errno == number


def test_a_full_disk_is_an_oserror_and_leaves_the_store_unusable_until_it_is_opened_again(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from tests.unit.state.test_rocksdb import IDENTITY
from streamapp.state.rocksdb import RocksStores
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
stores = RocksStores(Path(sys.argv[1]))
store = stores.open(IDENTITY)
store.apply({b"first": b"1"}, 1)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
try:
    store.apply({b"%05d" % number: bytes(100) for number in range(5_000)}, 5_001)
except OSError as full:
    print("refused", full.errno, store.usable, store.changelog_offset)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.close()
store = stores.open(IDENTITY)
print("again", store.usable, store.changelog_offset, [key for key, _ in store.items()])
store.apply({b"second": b"2"}, 2)
store.close()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path], check=True, cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert ran.stdout.splitlines() == [f"refused {errno.EFBIG} False 1", "again True 1 [b'first']"]


def test_a_store_is_open_once(stores: RocksStores) -> None:
    store = stores.open(IDENTITY)
    with pytest.raises(OSError, match="lock"):
        stores.open(IDENTITY)
    store.close()


def test_remains_of_a_cut_deletion_go_at_the_next_open(stores: RocksStores, directory: Path) -> None:
    filled(stores)
    directory.rename(directory.with_name("3.gone-abc"))
    stores.open(IDENTITY).close()
    assert [path.name for path in directory.parent.iterdir()] == ["3"]


@pytest.mark.parametrize("table", ["..", ".", "a/b", "a.b"])
def test_no_table_name_leads_out_of_the_data_directory(stores: RocksStores, tmp_path: Path, table: str) -> None:
    stores.open(replace(IDENTITY, table=table)).close()
    [here] = (tmp_path / "tables").iterdir()
    assert [path.name for path in here.iterdir()] == ["3"]


def test_a_stalled_write_is_tried_again(stores: RocksStores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open(IDENTITY)
    refusals = iter([Exception("Result incomplete: Write stall")] * 3)
    database = store._database

    class Stalling:
        def write(self, batch: object) -> None:
            for refusal in refusals:
                raise refusal
            database.write(batch)  # type: ignore[arg-type]  # the batch that `apply` made, passed through

    monkeypatch.setattr(store, "_database", Stalling())
    store.apply({b"ann": b"1"}, 4)
    monkeypatch.undo()
    assert (store.get(b"ann"), store.changelog_offset, store.usable) == (b"1", 4, True)
    store.close()


def test_a_store_that_failed_to_open_is_not_left_locked(stores: RocksStores) -> None:
    filled(stores)
    for _ in range(2):
        with pytest.raises(StoreForeign):
            stores.open(replace(IDENTITY, app_id="other"))
    assert isinstance(stores.open(IDENTITY), RocksStore)
