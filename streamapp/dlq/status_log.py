"""The rows of the status topic as a writing command follows them: what is known of each letter, job and lock, and what is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from streamapp.dlq.statuses import Statuses
from streamapp.pipeline.resolution import Entry, Job, Lock, Resolution


class KeyedRecord(Protocol):
    """What of a record is looked at."""

    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...


class RowReader(Protocol):
    """Follows the status topic (kafka.log_tail)."""

    def poll(self, seconds: float) -> Sequence[KeyedRecord]: ...
    def catch_up(self, *, stable: bool = False) -> Sequence[KeyedRecord]: ...
    def close(self) -> None: ...


class StatusLog:
    """Rows by key, the last counts. One thread."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self._rows = Statuses()

    def poll(self, seconds: float) -> list[Entry]:
        """Return the rows that came within `seconds`, in order; the first ends the wait. Raises BrokerUnreachable."""
        return self._folded(self._reader.poll(seconds))

    def catch_up(self, *, stable: bool = False) -> list[Entry]:
        """Return the rows that came, up to what is written now, or with `stable` can be seen now. Raises BrokerUnreachable."""
        return self._folded(self._reader.catch_up(stable=stable))

    def resolution(self, letter_id: str) -> Resolution | None:
        return self._rows.resolutions.get(letter_id)

    def job(self, name: str) -> Job | None:
        return self._rows.jobs.get(name)

    def lock(self, dlq: str) -> Lock | None:
        return self._rows.locks.get(dlq)

    def close(self) -> None:
        self._reader.close()

    def _folded(self, records: Iterable[KeyedRecord]) -> list[Entry]:
        entries = (self._rows.apply(record.key(), record.value()) for record in records)
        return [entry for entry in entries if entry is not None]


__all__ = ["RowReader", "StatusLog"]
