"""Samples that outlive the process: without those from before a deploy nobody can say what it did.

One file in the worker's directory, written now and then and replaced whole. Nothing depends on it: one that cannot be read is none.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from streamapp.monitor.lag.inputs import Happening
from streamapp.monitor.rings import Memory, Reach
from streamapp.records import Partition

FILE: Final = "lag-history"
FORMAT: Final = 1


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    topic: str
    number: int
    short: bytes
    long: bytes
    happenings: tuple[Happening, ...]


class _File(msgspec.Struct, frozen=True, array_like=True):
    format: int
    app_id: str
    partitions: tuple[_Kept, ...]


def save(directory: Path, app_id: str, memories: Mapping[Partition, Memory]) -> None:
    """Write what is remembered. Raises OSError."""
    kept = tuple(
        _Kept(where.topic, where.number, memory.short.raw(), memory.long.raw(), tuple(memory.happenings))
        for where, memory in memories.items()
    )
    descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE}-", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.msgpack.encode(_File(FORMAT, app_id, kept)))
        Path(temporary).replace(directory / FILE)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(directory: Path, app_id: str, reach: Reach, now: float) -> dict[Partition, Memory]:
    """Return what was written, as far as it is recent; nothing where it cannot be read."""
    try:
        file = msgspec.msgpack.decode((directory / FILE).read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        return {}
    found = {}
    for kept in file.partitions if (file.format, file.app_id) == (FORMAT, app_id) else ():
        memory = Memory(reach)
        try:
            memory.short.load(kept.short)
            memory.long.load(kept.long)
        except ValueError:
            continue
        memory.happenings.extend(kept.happenings)
        memory.newest = next(iter(reversed(tuple(memory.short))), None)
        # A clock that was ahead leaves samples from the future, after which no other could come.
        if memory.newest is not None and memory.newest.at <= now:
            found[Partition(kept.topic, kept.number)] = memory
    return found


__all__ = ["FILE", "load", "save"]
