"""The rows of the status topic as a writing command follows them: what is known of each letter, job and lock, and what is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from streamapp.pipeline.resolution import JOB, LOCK, TAKE, Entry, Job, Lock, Resolution, Row, Take, decode


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
        self._rows: dict[str, Row] = {}

    def poll(self, seconds: float) -> list[Entry]:
        """Return the rows that came within `seconds`, in order; the first ends the wait. Raises BrokerUnreachable."""
        return self._folded(self._reader.poll(seconds))

    def catch_up(self, *, stable: bool = False) -> list[Entry]:
        """Return the rows that came, up to what is written now, or with `stable` can be seen now. Raises BrokerUnreachable."""
        return self._folded(self._reader.catch_up(stable=stable))

    def resolution(self, letter_id: str) -> Resolution | None:
        row = self._rows.get(letter_id)
        return row if isinstance(row, Resolution) else None

    def job(self, name: str) -> Job | None:
        row = self._rows.get(JOB + name)
        return row if isinstance(row, Job) else None

    def lock(self, dlq: str) -> Lock | None:
        row = self._rows.get(LOCK + dlq)
        return row if isinstance(row, Lock) else None

    def take(self, place: str) -> Take | None:
        row = self._rows.get(TAKE + place)
        return row if isinstance(row, Take) else None

    def close(self) -> None:
        self._reader.close()

    def _folded(self, records: Iterable[KeyedRecord]) -> list[Entry]:
        entries = []
        for record in records:
            key = record.key()
            entry = decode(key, record.value())
            if entry is None or key is None:
                continue
            if entry.row is None:
                self._rows.pop(key.decode(), None)
            else:
                self._rows[key.decode()] = entry.row
            entries.append(entry)
        return entries


__all__ = ["RowReader", "StatusLog"]
