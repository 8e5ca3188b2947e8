"""One table partition as a running worker sees it: the open unit's writes over the committing unit's over the store."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn

from streamapp.errors import StateUnusable
from streamapp.ports import Store
from streamapp.records import Partition


class _Missing:
    """Marks a key that a layer does not hold; None is a tombstone."""


MISSING: Final = _Missing()
_NOTHING: Final[dict[bytes, bytes | None]] = {}


class TablePartition:
    """Reads go `open` -> `committing` -> `store`. Only admission writes `open`; only the transaction thread clears `committing`.

    Disk never holds what Kafka did not commit: `store` is written from `committing` after the commit, and `committing` stays
    readable until that batch is written.

    A read that the store cannot serve raises StateUnusable, and is told to the engine first: an agent that catches everything
    would go on with a value that it does not have.
    """

    __slots__ = ("_unreadable", "changelog", "committing", "number", "open", "store", "table")

    def __init__(
        self, table: str, number: int, changelog: Partition, store: Store, unreadable: Callable[[StateUnusable], None]
    ) -> None:
        self.table = table
        self.number = number
        self.changelog = changelog
        self.store = store
        self._unreadable = unreadable
        self.open: dict[bytes, bytes | None] = {}
        self.committing: Mapping[bytes, bytes | None] = _NOTHING

    def read(self, key: bytes) -> bytes | None:
        """Return the value under `key` with the overlays on top, or None."""
        value = self.open.get(key, MISSING)
        if value is MISSING:
            value = self.committing.get(key, MISSING)
            if value is MISSING:
                try:
                    return self.store.get(key)
                except (StateUnusable, OSError) as failure:
                    self._give_up(failure)
        return value  # type: ignore[return-value]  # the sentinel is gone, which mypy cannot see through dict.get

    def stored(self, key: bytes) -> bytes | None:
        """Return what is committed and applied under `key`, or None."""
        try:
            return self.store.get(key)
        except (StateUnusable, OSError) as failure:
            self._give_up(failure)

    def stored_items(self, start: bytes = b"", limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is committed and applied, in key order from `start` on."""
        try:
            yield from self.store.items(start, limit)
        except (StateUnusable, OSError) as failure:
            self._give_up(failure)

    def _give_up(self, failure: Exception) -> NoReturn:
        # The disk's error must not look like the record's: it would be retried, and then dead-lettered for it.
        told = StateUnusable(f"{self.table}/{self.number} cannot be read: {failure}")
        self._unreadable(told)
        raise told from failure

    def close_unit(self) -> None:
        """Move the open layer under the committing unit. Under the unit's lock."""
        self.committing = self.open
        self.open = {}

    def applied(self) -> None:
        """Forget the committing layer: the store has it now."""
        self.committing = _NOTHING

    def drop_committing(self) -> None:
        """Forget the committing layer: its transaction did not commit, or it is read back from the changelog."""
        self.committing = _NOTHING

    def drop_open(self) -> None:
        """Forget the open layer. The one below stays: what is committed and not yet in the store is read from there."""
        self.open = {}

    def items(self, on_top: Mapping[bytes, bytes | None] | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order, overlays and `on_top` (a record's own writes) included.

        The layers are copied first: the table may change while the caller iterates.
        """
        # The open one first: a commit may move it under the committing one meanwhile, and then it would be in neither.
        opened, committing = self.open, self.committing
        over: dict[bytes, bytes | None] = {**committing, **opened, **(on_top or {})}
        fresh = ((key, value) for key, value in sorted(over.items()) if value is not None)
        stored = ((key, value) for key, value in self.stored_items() if key not in over)
        return heapq.merge(fresh, stored, key=lambda pair: pair[0])

    def __repr__(self) -> str:
        return f"<{self.table}/{self.number}>"
