"""Stores that no worker has open, read without a trace: nothing in the data directory is written, nothing locked for longer than a look.

A worker that starts meanwhile is not kept out: what was being read is thrown away and the caller is told.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote

from rocksdict import AccessType, Rdict

from streamapp.errors import DataDirLocked, SettingInvalid, StoreCorrupted, StoreForeign, TableNotHere
from streamapp.identity import APP_ID_FILE, LOCK_FILE
from streamapp.state.budget import RocksBudget
from streamapp.state.frozen import IDENTITY, FrozenRows
from streamapp.state.identity import Identity
from streamapp.state.rocksdb import translated

_COPIED: Final = frozenset({"rocksdict-config.json", "LOCK"})
"""What rocksdict writes even when it only reads."""


class ClosedDataDir:
    """A worker's data directory while no worker uses it. Raises SettingInvalid where `path` is no data directory of `app_id`."""

    def __init__(self, path: Path, app_id: str) -> None:
        if not (path / LOCK_FILE).is_file():
            raise SettingInvalid(
                f"{path}: no worker's data directory: it has no file {LOCK_FILE}; give the one that holds tables/"
            )
        owner = (path / APP_ID_FILE).read_text(encoding="utf-8").strip() if (path / APP_ID_FILE).is_file() else None
        if owner not in (None, app_id):
            raise SettingInvalid(f"{path}: belongs to app {owner!r}, this is {app_id!r}")
        self.path = path
        self._budget = RocksBudget(32 * 1024 * 1024)

    def holder(self) -> int | None:
        """Return the process id of the live worker that has the directory; None where there is none."""
        try:
            self._look()
        except DataDirLocked:
            text = (self.path / LOCK_FILE).read_text(errors="replace").strip()
            return int(text) if text.isdigit() else 0
        return None

    def tables(self) -> list[tuple[str, int]]:
        """Return (table, partition) of each store, sorted."""
        return sorted(
            (unquote(store.parent.name), int(store.name))
            for store in (self.path / "tables").glob("*/*")
            if store.is_dir() and store.name.isdigit()
        )

    @contextmanager
    def store(self, identity: Identity) -> Iterator[FrozenRows]:
        """Read one store. Raises StoreForeign, StoreCorrupted, OSError; DataDirLocked when a worker has the directory, or took it meanwhile."""
        before = self._look()
        rows: FrozenRows | None = None
        database: Rdict | None = None
        with tempfile.TemporaryDirectory(prefix="streamapp-verify-") as folder:
            try:
                _mirror(self._directory(identity), Path(folder))
                database = self._open(Path(folder), identity)
                rows = FrozenRows(database, lambda failure: _give_up(failure, identity))
                _check(database, identity)
                yield rows
            except (StoreCorrupted, OSError) as failure:
                # Files that went away under us say nothing about the store.
                self._require_untouched(before, failure)
                raise
            finally:
                if rows is not None:
                    rows.let_go()
                if database is not None:
                    database.close()
        self._require_untouched(before, None)

    def _open(self, folder: Path, identity: Identity) -> Rdict:
        options = self._budget.options()
        try:
            return Rdict(str(folder), options, {"default": options}, access_type=AccessType.read_only())
        except Exception as failure:  # rocksdict raises bare Exceptions
            raise translated(failure, identity) from failure

    def _directory(self, identity: Identity) -> Path:
        for store in (self.path / "tables").glob(f"*/{identity.partition}"):
            if unquote(store.parent.name) == identity.table:
                return store
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path / "tables" / identity.table))

    def _look(self) -> tuple[int, int]:
        """Return what changes when a worker takes the directory. Raises DataDirLocked: one has it now."""
        # For microseconds, and shared: a worker that starts in just these would be refused.
        descriptor = os.open(self.path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            status = os.fstat(descriptor)
        except BlockingIOError:
            raise DataDirLocked(f"{self.path}: in use by a live worker") from None
        finally:
            os.close(descriptor)
        return status.st_ino, status.st_mtime_ns  # a worker writes its process id into the file

    def _require_untouched(self, before: tuple[int, int], failure: Exception | None) -> None:
        if self._look() != before:
            raise DataDirLocked(f"{self.path}: a worker used it while it was read") from failure


def _mirror(store: Path, folder: Path) -> None:
    """Fill `folder` with links to the store's files: what the library writes beside them stays out of the data directory."""
    for file in store.iterdir():
        if file.name in _COPIED:
            shutil.copyfile(file, folder / file.name)
        elif file.is_file():
            (folder / file.name).symlink_to(file.resolve())


def _check(database: Rdict, identity: Identity) -> None:
    try:
        stored = database.get(IDENTITY)
    except Exception as failure:  # as in _open
        raise translated(failure, identity) from failure
    if stored is None:
        raise StoreForeign(f"the store of {identity} holds no identity")
    identity.check(stored)


def _give_up(failure: Exception | None, identity: Identity) -> NoReturn:
    if failure is None:
        raise TableNotHere(f"the store of {identity} is closed")
    raise translated(failure, identity) from failure


__all__ = ["ClosedDataDir"]
