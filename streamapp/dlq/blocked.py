"""Which keys wait for a dead letter (`on_error="block_key"`): read from the changelogs of the agents' tables `<agent>-dlq-held`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from streamapp.pipeline import held
from streamapp.ports import LogReader
from streamapp.records import Partition


@dataclass(frozen=True, slots=True)
class BlockedKey:
    """A key whose records wait."""

    agent: str
    topic: str
    partition: int
    key: bytes
    held: int
    """Records that wait behind the head."""
    since: float
    """Seconds since 1970."""
    head: str
    """The id of the dead letter that they wait for."""


def read_blocked(reader: LogReader, app_id: str, agents: Iterable[str] | None) -> list[BlockedKey]:
    """Return the blocked keys, the longest blocked first. `agents`: None where they are not known. Raises BrokerUnreachable."""
    partitions = reader.partitions()
    found: list[BlockedKey] = []
    for agent, topic in sorted(_tables(partitions, app_id, agents).items()):
        rows: dict[tuple[int, bytes], bytes] = {}
        ranges = {}
        for where in partitions:
            if where.topic == topic:
                start, stable, _ = reader.ends(where)
                ranges[where] = (start, stable)
        for records, _ in reader.read({where: each for where, each in ranges.items() if each[0] < each[1]}):
            for record in records:
                place = (record.partition() or 0, record.key() or b"")
                value = record.value()
                # Of a record that waits only the head's row tells: its own may be large.
                if value is None or not _is_key(place[1]):
                    rows.pop(place, None)
                else:
                    rows[place] = value
        found += [row for (number, name), value in rows.items() if (row := _row(agent, number, name, value)) is not None]
    return sorted(found, key=lambda row: (row.since, row.head))


def _tables(partitions: Iterable[Partition], app_id: str, agents: Iterable[str] | None) -> dict[str, str]:
    begin, end = f"{app_id}-", f"{held.HELD_SUFFIX}-changelog"
    there = {where.topic for where in partitions}
    names: Iterator[str] | Iterable[str] = (
        agents
        if agents is not None
        else (topic[len(begin) : -len(end)] for topic in there if topic.startswith(begin) and topic.endswith(end))
    )
    return {agent: topic for agent in names if (topic := f"{begin}{agent}{end}") in there}


def _is_key(name: bytes) -> bool:
    try:
        return isinstance(held.read_name(name)[1], bytes)
    except (msgspec.DecodeError, ValueError):
        return False


def _row(agent: str, partition: int, name: bytes, value: bytes) -> BlockedKey | None:
    try:
        topic, key = held.read_name(name)
        row = held.read_blocked(value)
    except (msgspec.DecodeError, ValueError):
        return None
    return (
        None if isinstance(key, int) else BlockedKey(agent, topic, partition, key, len(row.offsets), row.since / 1000, row.head)
    )


__all__ = ["BlockedKey", "read_blocked"]
