"""A table partition in memory: for `store="memory://"` and for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from streamapp.clock import Clock, SystemClock
from streamapp.errors import TableNotHere
from streamapp.state.identity import Identity


class MemoryStore:
    """A Store that a process's end empties: each start restores it from the changelog's beginning."""

    def __init__(self, name: str = "memory", *, clock: Clock | None = None) -> None:
        self._name = name
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._data: dict[bytes, bytes] = {}
        self._size_bytes = 0
        self._changelog_offset: int | None = None
        self._current_at: float | None = None
        self._closed = False

    @property
    def changelog_offset(self) -> int | None:
        return self._changelog_offset

    @property
    def current_at(self) -> float | None:
        return self._current_at

    @property
    def usable(self) -> bool:
        return not self._closed

    @property
    def corrupt(self) -> str | None:
        return None

    def estimate(self) -> tuple[int, int] | None:
        return None if self._closed else (len(self._data), self._size_bytes)

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        return self._data.get(key)

    def items(self, start: bytes = b"", limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        with self._lock:
            found = sorted(item for item in self._data.items() if item[0] >= start)
        for item in islice(found, limit):
            self._check_open()
            yield item

    def apply(
        self, writes: Mapping[bytes, bytes | None], changelog_offset: int | None, *, current_at: float | None = None
    ) -> None:
        with self._lock:
            self._check_open()
            for key, value in writes.items():
                before = self._data.pop(key, None) if value is None else self._data.get(key)
                if before is not None:
                    self._size_bytes -= len(key) + len(before)
                if value is not None:
                    self._size_bytes += len(key) + len(value)
                    self._data[key] = value
            if changelog_offset is not None:
                self._changelog_offset = changelog_offset
            self._current_at = self._clock.wall() if current_at is None else current_at

    @contextmanager
    def frozen(self) -> Iterator[FrozenCopy]:
        with self._lock:
            self._check_open()
            copy = FrozenCopy(self, self._changelog_offset, self._current_at, dict(self._data))
        yield copy

    def wipe(self) -> None:
        with self._lock:
            self._check_open()
            self._data, self._size_bytes = {}, 0
            self._changelog_offset = self._current_at = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._data, self._size_bytes = {}, 0

    def _check_open(self) -> None:
        if self._closed:
            raise TableNotHere(f"the store of {self._name} is closed")


class FrozenCopy:
    """A Frozen that holds all of it: a store in memory is small."""

    def __init__(
        self, store: MemoryStore, changelog_offset: int | None, current_at: float | None, data: dict[bytes, bytes]
    ) -> None:
        self.changelog_offset = changelog_offset
        self.current_at = current_at
        self._store = store
        self._data = data

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for item in sorted(self._data.items()):
            self._store._check_open()
            yield item


class MemoryStores:
    """Where in-memory stores come from: always empty."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock

    def open(self, identity: Identity) -> MemoryStore:
        return MemoryStore(str(identity), clock=self._clock)

    def wipe(self, identity: Identity) -> None:
        """Nothing outlives a memory store."""
