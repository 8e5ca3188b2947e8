"""A changelog partition, read and folded up to the offset that a table is current to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamapp.clock import Deadline
from streamapp.records import Partition
from streamapp.verify.tables import Fold

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from streamapp.kafka.inspector import Inspector
    from streamapp.ports import Store
    from streamapp.verify.run import Watcher


class NotInLog(Exception):
    """The offset is not in the changelog."""


class Undecided(Exception):
    """The changelog cannot be read up to the offset now."""


class ChangelogFolder:
    """Folds one changelog partition at a time, in a scratch store of its own."""

    def __init__(
        self, inspector: Inspector, scratch: Callable[[], AbstractContextManager[Store]], watcher: Watcher, timeout: float
    ) -> None:
        self._inspector = inspector
        self._scratch = scratch
        self._watcher = watcher
        self._timeout = timeout

    @contextmanager
    def folded(self, changelog: Partition, offset: int) -> Iterator[Fold]:
        """Fold up to `offset`, and read on to the end for the keys that changed since. Raises NotInLog, Undecided."""
        start, stable = self._settled(changelog, offset)
        with self._scratch() as scratch:
            fold = Fold(scratch, offset)
            self._watcher.begin(f"reading {changelog}", stable - start)
            try:
                self._read(fold, changelog, start, stable)
            finally:
                self._watcher.end()
            yield fold

    def stable_end(self, changelog: Partition) -> int:
        return self._inspector.ends(changelog)[1]

    def _read(self, fold: Fold, changelog: Partition, start: int, stable: int) -> None:
        for messages, passed in self._inspector.read({changelog: (start, stable)}):
            before: dict[bytes, bytes | None] = {}
            since: list[bytes] = []
            for message in messages:
                key, at = message.key(), message.offset()
                if key is None or at is None:
                    continue  # none of ours: somebody wrote to the changelog by hand
                if at < fold.offset:
                    before[key] = message.value()
                else:
                    since.append(key)
            fold.take(before, since)
            self._watcher.advance(passed)

    def _settled(self, changelog: Partition, offset: int) -> tuple[int, int]:
        """Return the changelog's start and stable end, once all below `offset` is decided: markers come after the commit's answer."""
        deadline = Deadline.after(self._timeout)
        while True:
            start, stable, high = self._inspector.ends(changelog)
            if offset > high:
                raise NotInLog(f"its offset {offset} lies beyond the changelog's end {high}; a worker would rebuild it")
            if 0 < offset < start:
                raise NotInLog(f"its offset {offset} lies before the changelog's start {start}; a worker would rebuild it")
            if offset <= stable:
                return start, stable
            if deadline.passed:
                raise Undecided(f"an open transaction holds the changelog at offset {stable}, below the table's {offset}")
            time.sleep(min(0.05, deadline.left))  # the broker tells nobody when a marker is written


__all__ = ["ChangelogFolder", "NotInLog", "Undecided"]
