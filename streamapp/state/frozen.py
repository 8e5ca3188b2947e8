"""A table partition as it stood at one moment, read while others go on writing, or while nobody holds it."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NoReturn, cast

# Every key of a user begins with DATA, ours with another byte, so that no user key (any bytes, the empty ones included) meets
# ours. A prefix and not a column family: several families in one log recover to different moments after a torn log, and RocksDB
# then refuses to open.
DATA: Final = b"\x01"
PAST_DATA: Final = b"\x02"
IDENTITY: Final = b"\x00identity"
POSITION: Final = b"\x00position"

PAGE: Final = 1_000
"""Items read at once by an iteration: about 1 ms of the GIL, and no iterator stays open between two pages."""

NO_OFFSET: Final = -1
POSITION_FORM: Final = struct.Struct(">qd")


def read_page(source: Any, start: bytes, wanted: int) -> list[tuple[bytes, bytes]]:
    """Return up to `wanted` rows from key `start` on, of a database or a snapshot. Raises what rocksdict raises."""
    found = list(islice(cast("Iterator[tuple[bytes, bytes]]", source.items(from_key=DATA + start)), wanted))
    if len(found) < wanted:
        _check_end(source, found[-1][0] if found else DATA + start)
    # Only ours could lie behind the data, and today none does: the cut is for a format to come.
    return [(key[1:], value) for key, value in found if key < PAST_DATA]


def _check_end(source: Any, last: bytes) -> None:
    """Raise when the data does not end behind `last`: rocksdict's items() end at a broken block as at the true end."""
    cursor = source.iter()
    try:
        cursor.seek(last)
        if cursor.valid():
            cursor.next()
        cursor.status()
    finally:
        del cursor  # whoever keeps the error would keep this frame, and with the cursor the database open


def read_position(packed: bytes | None) -> tuple[int | None, float | None]:
    """Return changelog offset and moment of what a store keeps under POSITION."""
    offset, moment = (NO_OFFSET, None) if packed is None else POSITION_FORM.unpack(packed)
    return (None if offset == NO_OFFSET else offset), moment


class FrozenRows:
    """A Frozen on one cursor of RocksDB, which shows the moment it was made, wherever it is moved to.

    Not on a snapshot: rocksdict 0.3.29 gives single keys of a snapshot, and of an iteration over one the rows of now. As a cursor
    keeps its database open, lock included, after the database's close, the store takes it away before it closes, and who reads on
    is told.
    """

    def __init__(self, database: Any, give_up: Callable[[Exception | None], NoReturn]) -> None:
        """`give_up` raises what an error of rocksdict means, or with None that the store is closed."""
        self._give_up = give_up
        self._lock = threading.Lock()
        try:
            self._cursor = database.iter()
            self.changelog_offset, self.current_at = read_position(self._metadata(POSITION))
        except Exception as failure:  # rocksdict raises bare Exceptions
            give_up(failure)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        with self._lock:
            self._move_to(DATA)
        while page := self._page():
            yield from page

    def let_go(self) -> None:
        """Drop the cursor; waits for a page that is being read. May be called twice, on any thread."""
        with self._lock:
            self._cursor = None

    def _metadata(self, key: bytes) -> bytes | None:
        self._cursor.seek(key)
        found = self._cursor.valid() and self._cursor.key() == key
        return cast("bytes", self._cursor.value()) if found else None

    def _move_to(self, key: bytes) -> None:
        if self._cursor is None:
            self._give_up(None)
        try:
            self._cursor.seek(key)
        except Exception as failure:  # rocksdict raises bare Exceptions
            self._give_up(failure)

    def _page(self) -> list[tuple[bytes, bytes]]:
        with self._lock:
            cursor = self._cursor
            if cursor is None:
                self._give_up(None)
            valid, key, value, move = cursor.valid, cursor.key, cursor.value, cursor.next
            page: list[tuple[bytes, bytes]] = []
            try:
                while len(page) < PAGE and valid() and (found := key()) < PAST_DATA:
                    page.append((found[1:], value()))
                    move()
                if len(page) < PAGE:
                    cursor.status()  # raises when it stands at a broken block instead of the end
            except Exception as failure:  # rocksdict raises bare Exceptions
                self._give_up(failure)
            return page


__all__ = [
    "DATA",
    "IDENTITY",
    "NO_OFFSET",
    "PAGE",
    "PAST_DATA",
    "POSITION",
    "POSITION_FORM",
    "FrozenRows",
    "read_page",
    "read_position",
]
