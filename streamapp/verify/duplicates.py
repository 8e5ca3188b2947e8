"""Duplicates of one topic by an id that its records carry: seen before, in bounded memory, with the offsets of both."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

from streamapp.digest import hashed
from streamapp.errors import SettingInvalid
from streamapp.ports import Store
from streamapp.records import RawRecord

_PLACE: Final = struct.Struct(">IQ")
_ID_SHOWN: Final = 80
"""Characters of an id that are shown."""

Extract = Callable[[RawRecord], "bytes | None"]
"""Returns a record's id, or None where it has none."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A record whose id was there before. Of one id, the first sight is always the same."""

    id: str
    partition: int
    offset: int
    first_partition: int
    first_offset: int


def extractor(by: str) -> Extract:
    """Return how to get an id as `--by` names it: `key`, `header:NAME` or `json:FIELD` (dots lead into objects). Raises SettingInvalid."""
    kind, colon, name = by.partition(":")
    if by == "key":
        return lambda record: record.key()
    if colon and name and kind == "header":
        return lambda record: _header(record, name)
    if colon and name and kind == "json":
        path = name.split(".")
        return lambda record: _field(record.value(), path)
    raise SettingInvalid(f"--by {by}: must be key, header:NAME or json:FIELD")


def _header(record: RawRecord, name: str) -> bytes | None:
    return next((value for key, value in record.headers() or () if key == name), None)


def _field(value: bytes | None, path: Iterable[str]) -> bytes | None:
    try:
        document: object = msgspec.json.decode(value) if value is not None else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    if document is None:
        return None
    # 1 and "1" are two ids; of an object, the order of its fields is not told apart.
    return msgspec.json.encode(document, order="sorted")


class DuplicateFinder:
    """Holds a 16-byte hash and the first place of every id in a store on disk: 30 bytes each there, in memory only a batch.

    Two ids with one hash would count as a duplicate: of a billion ids, with a chance of 1 in 10^20.
    """

    def __init__(self, seen: Store, extract: Extract, *, per_partition: bool, named: int, hidden: bool = False) -> None:
        """`per_partition`: the same id in two partitions is none. `named`: so many duplicates are kept. `hidden`: ids as hashes."""
        self.records = self.without_id = self.duplicates = 0
        self.first: list[Duplicate] = []
        self._seen = seen
        self._extract = extract
        self._per_partition = per_partition
        self._named = named
        self._hidden = hidden

    def take(self, records: Iterable[RawRecord]) -> None:
        """Take in a batch: a few thousand records, as they are written to disk at its end."""
        fresh: dict[bytes, bytes | None] = {}
        for record in records:
            self.records += 1
            found = self._extract(record)
            if found is None:
                self.without_id += 1
                continue
            partition, offset = record.partition() or 0, record.offset() or 0
            scope = partition.to_bytes(4) if self._per_partition else b""
            key = blake2b(scope + found, digest_size=16).digest()
            place = fresh.get(key) or self._seen.get(key)
            if place is None:
                fresh[key] = _PLACE.pack(partition, offset)
            else:
                self._again(found, partition, offset, *_PLACE.unpack(place))
        if fresh:
            self._seen.apply(fresh, None)

    def _again(self, found: bytes, partition: int, offset: int, first_partition: int, first_offset: int) -> None:
        self.duplicates += 1
        if len(self.first) < self._named:
            shown = hashed(found) if self._hidden else readable(found)
            self.first.append(Duplicate(shown, partition, offset, first_partition, first_offset))


def readable(raw: bytes) -> str:
    """Return bytes for people: as text where they are, cut, and without what a terminal would obey or a tab-separated line break at."""
    decoded = raw.decode(errors="backslashreplace")
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in decoded)
    return text if len(text) <= _ID_SHOWN else f"{text[:_ID_SHOWN]}…"


__all__ = ["Duplicate", "DuplicateFinder", "Extract", "extractor", "hashed", "readable"]
