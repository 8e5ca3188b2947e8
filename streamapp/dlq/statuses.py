"""The status topic of an app, read into what its last rows say."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamapp.pipeline.resolution import JOB, LOCK, TAKE, Entry, Job, Lock, Resolution, Take, decode, status_topic
from streamapp.ports import LogReader
from streamapp.records import Partition


@dataclass(slots=True)
class Statuses:
    """The last row of every key, up to `position`. Without the topic, which the first worker makes, there are none."""

    resolutions: dict[str, Resolution] = field(default_factory=dict)
    """By a dead letter's id."""
    jobs: dict[str, Job] = field(default_factory=dict)
    locks: dict[str, Lock] = field(default_factory=dict)
    """By dead-letter topic."""
    takes: dict[str, Take] = field(default_factory=dict)
    """By position."""
    position: int | None = None
    """The next offset to read; None before the first reading."""

    def apply(self, key: bytes | None, value: bytes | None) -> Entry | None:
        """Take in a record; None where it is none of ours."""
        entry = decode(key, value)
        if entry is None:
            return None
        name, row = entry
        if row is None:
            self._drop(key or b"", name)
        elif isinstance(row, Resolution):
            self.resolutions[name] = row
        elif isinstance(row, Job):
            self.jobs[name] = row
        elif isinstance(row, Lock):
            self.locks[name] = row
        else:
            self.takes[name] = row
        return entry

    def _drop(self, key: bytes, name: str) -> None:
        if key.startswith(JOB.encode()):
            self.jobs.pop(name, None)
        elif key.startswith(LOCK.encode()):
            self.locks.pop(name, None)
        elif key.startswith(TAKE.encode()):
            self.takes.pop(name, None)
        else:
            self.resolutions.pop(name, None)


def read_statuses(reader: LogReader, app_id: str) -> Statuses:
    """Return what the app's status topic says now. Raises BrokerUnreachable."""
    statuses = Statuses()
    read_on(reader, app_id, statuses)
    return statuses


def read_on(reader: LogReader, app_id: str, statuses: Statuses) -> list[Entry]:
    """Take in what came since `statuses` was read, and return it, oldest first. Raises BrokerUnreachable."""
    where = Partition(status_topic(app_id), 0)
    if statuses.position is None and where not in reader.partitions():
        return []
    start, end, _ = reader.ends(where)
    begin = start if statuses.position is None else max(start, statuses.position)
    entries: list[Entry] = []
    for records, _ in reader.read({where: (begin, end)}) if begin < end else ():
        for record in records:
            entry = statuses.apply(record.key(), record.value())
            if entry is not None:
                entries.append(entry)
    statuses.position = max(begin, end)
    return entries


__all__ = ["Statuses", "read_on", "read_statuses"]
