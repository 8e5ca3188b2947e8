"""The worker's directory: locked for this process, owned by one app, and the keeper of the worker id where nobody gave one."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import uuid
import weakref
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streamapp.errors import DataDirLocked, SettingInvalid
from streamapp.settings import IdentitySettings, variable
from streamapp.settings.fields import NAME_PATTERN

LOCK_FILE: Final = "lock"
APP_ID_FILE: Final = "app-id"
WORKER_ID_FILE: Final = "worker-id"
WEB_FILE: Final = "web"


def version_of(settings: IdentitySettings) -> str:
    """Return what this release is called wherever it is named."""
    return settings.app_version or "unknown"


class DataDir:
    """A data directory that this process holds until `close`, or until it dies: the lock is the kernel's, so a kill frees it.

    Read `path` and `worker_id`; `is_new_worker` says that the id was made just now (a directory that is not kept makes a new one
    on every start, and each leaves the old one's partitions unowned for a session timeout).
    """

    def __init__(self, path: Path, worker_id: str, *, is_new_worker: bool, lock: int) -> None:
        self.path = path
        self.worker_id = worker_id
        self.is_new_worker = is_new_worker
        self._lock: int | None = lock
        _open_dirs.add(self)

    @classmethod
    def open(cls, identity: IdentitySettings) -> DataDir:
        """Create the directory if need be, lock it, and find out the worker id.

        Raises DataDirLocked: a live worker holds it. Raises SettingInvalid: another app's directory, or one that cannot be used.
        """
        path = identity.directory
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path)
            try:
                _claim(path, identity.app_id)
                worker_id, is_new = _worker_id(path, identity.worker_id)
            except BaseException:
                os.close(lock)
                raise
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingInvalid(f"{variable('data_dir')}={path}: cannot be used as data directory: {reason}") from error
        return cls(path, worker_id, is_new_worker=is_new, lock=lock)

    @property
    def is_open(self) -> bool:
        return self._lock is not None

    def announce(self, url: str) -> None:
        """Write down where the worker's web server is: `streamapp verify` finds a live worker by its directory. Empty: none."""
        try:
            (self.path / WEB_FILE).write_text(f"{url}\n", encoding="utf-8")
        except OSError as error:
            raise SettingInvalid(f"{self.path}: cannot be written to: {error.strerror}") from error

    def close(self) -> None:
        """Let the directory go. May be called twice."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            # Unlocked, not only closed: a child that was forked meanwhile has the same lock open.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _drop_in_child(self) -> None:
        # Closed, never unlocked: the lock is shared with the parent, which still needs it.
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.close(lock)


_open_dirs: weakref.WeakSet[DataDir] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for directory in list(_open_dirs):
        directory._drop_in_child()


# A forked child that outlives the worker would otherwise keep the next worker out.
os.register_at_fork(after_in_child=_after_fork_in_child)


def _locked(path: Path) -> int:
    """Return a descriptor that holds the lock, this process's id written into the file."""
    # The file is never deleted: two workers could then each lock a file of that name.
    lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise DataDirLocked(
            f"data directory {path.absolute()} is in use by the live worker with process id {holder} "
            f"(this is {os.getpid()}): give each worker its own {variable('worker_id')} or {variable('data_dir')}"
        ) from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _claim(path: Path, app_id: str) -> None:
    """Write the app's id into a fresh directory; refuse one that is another app's."""
    owner = _read(path / APP_ID_FILE)
    if owner is None:
        _write_whole(path / APP_ID_FILE, app_id)
    elif owner != app_id:
        raise SettingInvalid(
            f"{variable('data_dir')}={path}: belongs to app {owner!r}, this is {app_id!r}; give each app a directory of its own"
        )


def _worker_id(path: Path, given: str | None) -> tuple[str, bool]:
    """Return the worker id, and whether it was made now. A given one is not kept: whoever gives it does so on every start."""
    if given is not None:
        return given, False
    file = path / WORKER_ID_FILE
    kept = _read(file)
    if kept is None:
        made = str(uuid.uuid4())
        _write_whole(file, made)
        return made, True
    if not re.fullmatch(NAME_PATTERN, kept):
        raise SettingInvalid(f"{file} holds no worker id: delete it for a new one, or set {variable('worker_id')}")
    return kept, False


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def _write_whole(file: Path, text: str) -> None:
    """Write `text` so that after a crash the file is there with all of it, or not at all."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(f"{text}\n")
            handle.flush()
            os.fsync(handle.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
