"""Where a group would read on: each partition's next offset moved, and what that repeats or loses. Pure: no client, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from streamapp.errors import SettingInvalid
from streamapp.pipeline.spec import TableSpec
from streamapp.records import Partition

_DURATION: Final = re.compile(
    r"P(?=.)(?:(?P<w>\d+(?:\.\d+)?)W)?(?:(?P<d>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=.)(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}


class Goal(StrEnum):
    """What somebody asks for."""

    EARLIEST = "to-earliest"
    LATEST = "to-latest"
    OFFSET = "to-offset"
    DATETIME = "to-datetime"
    DURATION = "by-duration"
    SHIFT = "shift-by"
    FILE = "from-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A partition as it stands."""

    partition: Partition
    committed: int | None
    start: int
    """Of the log."""
    stable: int
    """The last stable offset: what lies behind is not decided yet, and is read later."""
    high: int
    begins_at: str = "earliest"
    """Where the group begins without an offset, `earliest`, `latest` or `error`: the setting auto_offset_reset."""

    @property
    def next(self) -> int:
        """The next record that the group would process if nothing were changed."""
        if self.committed is not None:
            return max(self.start, self.committed)
        return self.start if self.begins_at == "earliest" else self.stable


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a partition's offset."""

    place: Place
    target: int
    note: str = ""
    """Why it is another than what was asked for."""

    @property
    def partition(self) -> Partition:
        return self.place.partition

    @property
    def repeats(self) -> int:
        """Records that are processed again, at most: commit markers and compaction leave offsets without a record."""
        return max(0, self.place.next - self.target)

    @property
    def loses(self) -> int:
        """Records that are never processed, at most."""
        return max(0, self.target - self.place.next)

    def document(self) -> dict[str, object]:
        return {
            "kind": "offset",
            "topic": self.partition.topic,
            "partition": self.partition.number,
            "committed": self.place.committed,
            "target": self.target,
            "log_start_offset": self.place.start,
            "log_end_offset": self.place.stable,
            "repeats": self.repeats,
            "loses": self.loses,
            "note": self.note or None,
        }


def moved(place: Place, goal: Goal, value: int | None) -> Move:
    """Return where the partition's offset goes.

    `value`: the offset, the records to shift by, or for a time the first offset at it, None where no record is that late.
    """
    wanted = {
        Goal.EARLIEST: place.start,
        Goal.LATEST: place.stable,
        Goal.SHIFT: place.next + (value or 0),
    }.get(goal, place.stable if value is None else value)
    inside = min(max(wanted, place.start), place.high)
    if inside == wanted:
        return Move(place, wanted)
    bound = f"the log begins at {place.start}" if inside == place.start else f"the log ends at {place.high}"
    return Move(place, inside, f"{wanted} is not there: {bound}")


def words(moves: Sequence[Move], tables: Iterable[TableSpec]) -> list[str]:
    """Say what the moves together mean, tables included."""
    repeats, loses = sum(move.repeats for move in moves), sum(move.loses for move in moves)
    topics = {move.partition.topic for move in moves}
    told = [f"at most {repeats} records are processed again, at most {loses} never"]
    touched = [table for table in tables if topics.intersection(table.topics)]
    if touched and (repeats or loses):
        names = ", ".join(sorted(table.name for table in touched))
        told.append(f"tables do not rewind with it: {names} keep what they hold, so what is processed again counts again")
    told += [
        f"{table.name} drops records that it has seen, up to {table.horizon / 86_400:g} d old: those are not processed again"
        for table in touched
        if table.horizon is not None and repeats
    ]
    return told


def duration(text: str) -> float:
    """Return the seconds of an ISO 8601 duration, `PT1H` or `P1DT12H`. Raises SettingInvalid."""
    found = _DURATION.fullmatch(text)
    seconds = sum(float(number) * _SECONDS[unit] for unit, number in found.groupdict().items() if number) if found else 0.0
    if seconds <= 0:
        raise SettingInvalid(f"--by-duration {text}: must be an ISO 8601 duration, as PT1H or P7D")
    return seconds


def moment(text: str) -> float:
    """Return a time in seconds since 1970; one without a zone is UTC. Raises SettingInvalid."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError as refused:
        raise SettingInvalid(f"--to-datetime {text}: must be a time, as 2026-11-23T08:00:00Z") from refused
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def exported(offsets: Mapping[Partition, int]) -> list[str]:
    """Return `topic,partition,offset` lines, as kafka-consumer-groups.sh --export writes and --from-file reads them."""
    return [f"{where.topic},{where.number},{offset}" for where, offset in sorted(offsets.items())]


def imported(lines: Iterable[str], name: str) -> dict[Partition, int]:
    """Return the offsets of a file that `exported` wrote; `name` is its name. Raises SettingInvalid."""
    found: dict[Partition, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        topic, *rest = (part.strip().strip('"') for part in line.split(","))
        if len(rest) != 2 or not topic or not all(part.isdecimal() for part in rest):
            raise SettingInvalid(f"{name}, line {number}: must be topic,partition,offset")
        found[Partition(topic, int(rest[0]))] = int(rest[1])
    if not found:
        raise SettingInvalid(f"{name}: has no offsets")
    return found


__all__ = ["Goal", "Move", "Place", "duration", "exported", "imported", "moment", "moved", "words"]
