"""A table partition in RocksDB. The only importer of rocksdict.

What rocksdict 0.3.29 does that one would not expect, each measured, and what this module does about it:

- `write` keeps the GIL until RocksDB took the batch (0.4 µs a write, building it included; 500 k writes at once: 390 ms in which
  nothing else in the process ran). Also while RocksDB stalls writers to let a compaction catch up, which can be seconds:
  hence `no_slowdown`, which makes RocksDB refuse instead, and a wait here that lets go of the GIL.
- Opening keeps the GIL too: 4 to 15 ms for an empty store, 170 ms where 24 MB of write-ahead log are replayed (so
  write buffers, which bound that log, are small). `get` and iteration keep it but do not wait, save for a disk read; `flush`,
  `close` and compactions let go of it.
- Opened with options alone, an existing store takes those in its own OPTIONS file, with an 8 MB cache of its own: the options
  must be passed a second time, as the column family's.
- `items()` ends at a broken block as if the data ended there; only a cursor's `status()` tells.
- A live iterator keeps the database open, lock included, after `close`: none outlives a call here.
- Calls beside a `close` fail with RuntimeError or DbClosedError, in raw mode all others with a bare Exception whose text is
  RocksDB's status.
- RocksDB's own pool threads (`rocksdb:low`, `rocksdb:high`, a few per process, shared by all stores) stay until the process ends.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

from rocksdict import DbClosedError, Rdict, WriteBatch, WriteOptions

from streamapp.clock import Clock, Deadline, SystemClock
from streamapp.errors import StateUnusable, StoreCorrupted, StoreForeign, TableNotHere
from streamapp.events import Event, log_event
from streamapp.state.budget import RocksBudget
from streamapp.state.frozen import (
    DATA,
    IDENTITY,
    NO_OFFSET,
    PAGE,
    POSITION,
    POSITION_FORM,
    FrozenRows,
    read_page,
    read_position,
)
from streamapp.state.identity import Identity

log = logging.getLogger(__name__)

STALL_LIMIT = 60.0
"""Seconds that one apply waits for compactions to catch up; they take seconds, so after a minute the disk is at fault."""

KEYS: Final = "rocksdb.estimate-num-keys"
SIZES: Final = ("rocksdb.live-sst-files-size", "rocksdb.cur-size-all-mem-tables")


class RocksStore:
    """A Store in one directory. Raises StoreForeign or StoreCorrupted when the directory holds no store of `identity`.

    **What a crash loses.** Each apply goes to the write-ahead log by one write(2), without fsync. A process that dies loses nothing:
    the kernel has it. A machine that dies loses the log's unsynced tail; point-in-time recovery then gives the state after some
    apply, data and offset together, and the changelog's tail gives the rest. That holds as long as one log is replayed. Between
    the change to a new log and the flush of the old one's data there are two, written back by the kernel in any order, and RocksDB
    does not notice when the older ends early but cleanly: an offset would stand without some of the data before it. So two logs
    from before a reboot (told by the kernel's boot id) count as corrupt: rare, and the changelog has it all.
    """

    def __init__(self, directory: Path, identity: Identity, budget: RocksBudget, *, clock: Clock | None = None) -> None:
        self._directory = directory
        self._identity = identity
        self._budget = budget
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._closed = False
        self._failed = False
        self._corrupt: str | None = None
        self._frozen: set[FrozenRows] = set()
        self._changelog_offset: int | None = None
        self._current_at: float | None = None
        self._refuse_two_logs_of_another_boot()
        self._open()

    @property
    def changelog_offset(self) -> int | None:
        return self._changelog_offset

    @property
    def current_at(self) -> float | None:
        return self._current_at

    @property
    def usable(self) -> bool:
        return not (self._closed or self._failed)

    @property
    def corrupt(self) -> str | None:
        return self._corrupt

    def estimate(self) -> tuple[int, int] | None:
        # Counters that RocksDB keeps: 1.3 µs, 18 at the 99th percentile beside a writer that goes flat out.
        if self._closed or self._failed:
            return None
        try:
            keys, *sizes = (self._database.property_int_value(name) for name in (KEYS, *SIZES))
        except Exception:  # rocksdict raises bare Exceptions: it is being closed
            return None
        return None if keys is None else (keys, sum(size or 0 for size in sizes))

    def get(self, key: bytes) -> bytes | None:
        # 0.4 µs for an absent key, 0.6 to 3.5 µs for one in the cache (22 MB of data, random keys); no lock: see _give_up.
        try:
            value: bytes | None = self._get(DATA + key)
        except Exception as failure:  # rocksdict raises bare Exceptions
            self._unread(failure)
        return value

    def items(self, start: bytes = b"", limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        left = limit
        while left is None or left > 0:
            wanted = PAGE if left is None else min(PAGE, left)
            page = self._page(start, wanted)
            yield from page
            if len(page) < wanted:
                return
            start = page[-1][0] + b"\x00"  # the next key there can be
            left = None if left is None else left - wanted

    def apply(
        self, writes: Mapping[bytes, bytes | None], changelog_offset: int | None, *, current_at: float | None = None
    ) -> None:
        with self._lock:
            offset = self._changelog_offset if changelog_offset is None else changelog_offset
            moment = self._clock.wall() if current_at is None else current_at
            self._write(lambda: _batch(writes, offset, moment))
            self._changelog_offset, self._current_at = offset, moment

    @contextmanager
    def frozen(self) -> Iterator[FrozenRows]:
        with self._lock:
            if self._closed or self._failed:
                self._give_up(None)
            rows = FrozenRows(self._database, self._give_up)
            self._frozen.add(rows)
        try:
            yield rows
        finally:
            rows.let_go()
            self._frozen.discard(rows)

    def wipe(self) -> None:
        with self._lock:
            if self._closed:
                self._give_up(None)
            self._failed = True
            self._close_database()
            _delete(self._directory)
            self._open()
            self._failed, self._corrupt = False, None

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close_database()

    def _refuse_two_logs_of_another_boot(self) -> None:
        logs = [path for path in self._directory.glob("*.log") if path.stem.isdigit() and path.stat().st_size]
        if len(logs) > 1 and (not boot_id() or _read(self._directory / "boot") != boot_id()):
            raise StoreCorrupted(f"the store of {self._identity} was open when the machine went down, with {len(logs)} logs")

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        options = self._budget.options()
        try:
            self._database = Rdict(str(self._directory), options, {"default": options})
        except Exception as failure:  # rocksdict raises bare Exceptions
            raise translated(failure, self._identity) from failure
        self._get: Callable[[bytes], bytes | None] = self._database.get
        patient = WriteOptions()
        patient.no_slowdown = True
        self._database.set_write_options(patient)
        try:
            self._adopt()
            _replace(self._directory / "boot", boot_id())
        except BaseException:
            self._close_database()
            raise

    def _adopt(self) -> None:
        """Check whose store this is, or sign it where it is new."""
        try:
            stored, position = self._get(IDENTITY), self._get(POSITION)
        except Exception as failure:  # rocksdict raises bare Exceptions
            raise translated(failure, self._identity) from failure
        if stored is None:
            if next(iter(self._database.keys()), None) is not None:
                raise StoreForeign(f"the store of {self._identity} holds data and no identity")
            self._write(self._signature)
        else:
            self._identity.check(stored)
        self._changelog_offset, self._current_at = read_position(position)

    def _signature(self) -> WriteBatch:
        signature = WriteBatch(raw_mode=True)
        signature.put(IDENTITY, self._identity.encode())
        return signature

    def _page(self, start: bytes, wanted: int) -> list[tuple[bytes, bytes]]:
        try:
            return read_page(self._database, start, wanted)
        except Exception as failure:  # rocksdict raises bare Exceptions
            self._unread(failure)

    def _write(self, batch: Callable[[], WriteBatch]) -> None:
        if self._closed:
            self._give_up(None)
        deadline = Deadline.after(STALL_LIMIT)
        while True:
            try:
                self._database.write(batch())
            except Exception as failure:  # rocksdict raises bare Exceptions
                # `Result incomplete: Write stall` is no_slowdown's answer: nothing was written, try again.
                if "Write stall" not in str(failure):
                    self._give_up(failure)
                if deadline.passed:
                    self._failed = True
                    raise OSError(
                        errno.EBUSY, f"the disk has not kept up with the store of {self._identity} for {STALL_LIMIT:.0f} s"
                    ) from failure
            else:
                return
            time.sleep(0.002)  # not a wait for an event: RocksDB tells nobody when the stall is over

    def _close_database(self) -> None:
        # From here on readers find this store closed, without a lock that each get would have to take.
        self._get = self._refuse
        for rows in list(self._frozen):
            rows.let_go()
        try:
            self._database.close()
        except Exception as failure:  # rocksdict raises bare Exceptions
            # It is closed; what its last flush could not write is in the log, and read from there at the next open.
            message = f"The store of {self._identity} closed without its last flush: {failure}"
            log_event(log, logging.WARNING, Event.CLEANUP_FAILED, message)

    def _refuse(self, key: bytes) -> NoReturn:
        raise TableNotHere(f"the store of {self._identity} is closed")

    def _unread(self, failure: Exception) -> NoReturn:
        """Raise what a failed read means."""
        try:
            self._give_up(failure)
        except OSError as refused:
            if refused.errno != errno.EIO:
                raise
            # The disk cannot read back what it took, and would not the next time: as good as a wrong checksum.
            self._corrupt = f"the store of {self._identity} cannot be read back: {failure}"
            raise StoreCorrupted(self._corrupt) from failure

    def _give_up(self, failure: Exception | None) -> NoReturn:
        """Raise what a failed call means; the store is opened anew before it is used again."""
        # A call beside a close fails as closed, or as borrowed (RuntimeError) while the close holds the object.
        beside_a_close = isinstance(failure, (TableNotHere, DbClosedError, RuntimeError))
        if failure is None or beside_a_close or self._get == self._refuse:
            raise TableNotHere(f"the store of {self._identity} is closed") from None
        self._failed = True
        told = translated(failure, self._identity)
        if isinstance(told, StateUnusable):
            self._corrupt = str(told)
        raise told from failure


class RocksStores:
    """Where RocksDB stores come from: `<data_dir>/tables/<table>/<partition>/`."""

    def __init__(self, data_dir: Path, budget: RocksBudget | None = None, *, clock: Clock | None = None) -> None:
        self._tables = data_dir / "tables"
        self._budget = budget or RocksBudget()
        self._clock = clock

    def open(self, identity: Identity) -> RocksStore:
        directory = self._directory(identity)
        for remains in directory.parent.glob(f"{directory.name}{_GONE}*"):
            shutil.rmtree(remains, ignore_errors=True)  # of a process that died while it deleted them
        return RocksStore(directory, identity, self._budget, clock=self._clock)

    def wipe(self, identity: Identity) -> None:
        """Delete a store that is not open."""
        _delete(self._directory(identity))

    def _directory(self, identity: Identity) -> Path:
        # A table may be named as its changelog may, dots included: `..` must not lead out of the data directory.
        name = quote(identity.table, safe="")
        return self._tables / (name.replace(".", "%2E") if set(name) == {"."} else name) / str(identity.partition)


def _batch(writes: Mapping[bytes, bytes | None], offset: int | None, current_at: float) -> WriteBatch:
    batch = WriteBatch(raw_mode=True)
    put, delete = batch.put, batch.delete
    for key, value in writes.items():
        if value is None:
            delete(DATA + key)
        else:
            put(DATA + key, value)
    put(POSITION, POSITION_FORM.pack(NO_OFFSET if offset is None else offset, current_at))
    return batch


_REFUSALS = {
    os.strerror(number): number
    for number in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOLCK,
        errno.EAGAIN,
        errno.EBUSY,
        errno.ENOTDIR,
        errno.EEXIST,
    )
}


def translated(failure: Exception, identity: Identity) -> Exception:
    """Return what a status of RocksDB means: the disk refused, or what is on it cannot be trusted."""
    if isinstance(failure, (StateUnusable, OSError)):
        return failure
    text = str(failure)
    # Rust's own errors end in `(os error 28)`, RocksDB's in strerror's words.
    if numbered := re.search(r"\(os error (\d+)\)", text):
        return OSError(int(numbered[1]), text)
    for words, number in _REFUSALS.items():
        if text.startswith("IO error") and text.rstrip().endswith(words):
            return OSError(number, f"the store of {identity}: {text}")
    # What is left is a checksum, a missing or torn file, or a status that a sound store never has.
    return StoreCorrupted(f"the store of {identity} cannot be trusted: {text}")


_GONE = ".gone-"


def _delete(directory: Path) -> None:
    """Delete a store: renamed first, so that a death halfway leaves remains, never half a store."""
    gone = directory.with_name(f"{directory.name}{_GONE}{uuid.uuid4().hex}")
    try:
        directory.rename(gone)
    except FileNotFoundError:
        return
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()


@cache
def boot_id() -> str:
    """Return the id of this run of the kernel; empty where the system tells none."""
    return _read(Path("/proc/sys/kernel/random/boot_id")).strip()


def _read(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return ""


def _replace(path: Path, text: str) -> None:
    if _read(path) == text:
        return
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
