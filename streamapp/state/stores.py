"""The stores that a worker has open."""

from __future__ import annotations

import logging
import threading
from typing import NamedTuple, Protocol

from streamapp.errors import StateUnusable
from streamapp.events import Event, log_event
from streamapp.ports import Store
from streamapp.state.identity import Identity

log = logging.getLogger(__name__)


class StoreKind(Protocol):
    """Where stores of one kind come from (RocksStores, MemoryStores)."""

    def open(self, identity: Identity) -> Store:
        """Open or create it. Raises StateUnusable when what is there must not be used, OSError when the disk refuses."""
        ...

    def wipe(self, identity: Identity) -> None:
        """Delete what is there; it is not open."""
        ...


class Opened(NamedTuple):
    """A store, and why what it held had to go; None when nothing had to."""

    store: Store
    wiped: str | None


class Stores:
    """The open stores of one worker, of one kind. Any thread.

    A store stays open when its partition goes away, because an eager rebalance takes all and mostly gives the same back, and a close
    costs a flush. What stays away is closed by `close_others`.
    """

    def __init__(self, app_id: str, kind: StoreKind) -> None:
        self._app_id = app_id
        self._kind = kind
        self._open: dict[tuple[str, int], tuple[Identity, Store]] = {}
        self._lock = threading.Lock()

    def open(self, table: str, partition: int, changelog_id: str) -> Opened:
        """Return the store, opened if it is not; wiped and made anew when it is corrupt or another's (event store_wiped).

        One that failed a read or write is closed and opened again, wiped before if what it found was a wrong checksum. Blocks for the disk: not for the event loop. Raises OSError.
        """
        identity = Identity(app_id=self._app_id, table=table, partition=partition, changelog_id=changelog_id)
        with self._lock:
            wiped: str | None = None
            held = self._open.pop((table, partition), None)
            if held is not None:
                if held[0] == identity and held[1].usable:
                    self._open[table, partition] = held
                    return Opened(held[1], None)
                held[1].close()
                if held[0] == identity and held[1].corrupt is not None:
                    # It would open: RocksDB looks at a block when that is read, not before.
                    log_wiped(str(identity), held[1].corrupt)
                    self._kind.wipe(identity)
                    wiped = held[1].corrupt
            opened = self._open_or_replace(identity, wiped)
            self._open[table, partition] = (identity, opened.store)
            return opened

    def close(self, table: str, partition: int) -> None:
        """Close one. One that is not open is no error."""
        with self._lock:
            if held := self._open.pop((table, partition), None):
                held[1].close()

    def close_others(self, wanted: set[tuple[str, int]]) -> None:
        """Close all but `wanted` (table, partition): call it when an assignment has settled."""
        with self._lock:
            for key in [key for key in self._open if key not in wanted]:
                self._open.pop(key)[1].close()

    def close_all(self) -> None:
        """Close all. May be called twice."""
        self.close_others(set())

    def _open_or_replace(self, identity: Identity, wiped: str | None) -> Opened:
        try:
            return Opened(self._kind.open(identity), wiped)
        except StateUnusable as unusable:
            reason = str(unusable)
        log_wiped(str(identity), reason)
        self._kind.wipe(identity)
        return Opened(self._kind.open(identity), reason)


def log_wiped(name: str, reason: str) -> None:
    """Say that a table partition is rebuilt from its changelog's beginning, and why."""
    log_event(
        log,
        logging.WARNING,
        Event.STORE_WIPED,
        f"Wiping the store of {name}, to restore it whole: {reason}",
        store=name,
        reason=reason,
    )
