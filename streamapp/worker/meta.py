"""The topic `<app id>-meta`: what an app remembers from one start to the next. One partition, compacted; key a path, value JSON.

`worker/<worker id>`: who ran when, in which version. `topic/<topic>`: with how many partitions a source was seen first. A key that is not
known here is somebody else's, or a later version's: it is left alone. Nothing of the engine depends on a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

META_CONFIG: Final[Mapping[str, str]] = {"cleanup.policy": "compact"}
STARTS_KEPT: Final = 10
"""Of a worker: three within ten minutes are a crash loop, and the row stays small."""


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """The last starts of one worker id."""

    version: str
    """`app_version` of the last start."""
    previous_version: str | None = None
    """The other one that it had before; None: always this one."""
    starts: tuple[float, ...] = ()
    """Seconds since 1970, oldest first, at most `STARTS_KEPT`."""

    def started(self, version: str, at: float) -> WorkerRow:
        """Return the row after another start."""
        previous = self.version if version != self.version else self.previous_version
        return WorkerRow(version=version, previous_version=previous, starts=(*self.starts, at)[-STARTS_KEPT:])


class TopicRow(msgspec.Struct, frozen=True, kw_only=True):
    """How many partitions a source topic had when the app first saw it, and since when it has more."""

    partitions: int
    seen: float
    """Seconds since 1970."""
    grown_to: int | None = None
    grown_at: float | None = None


Row = TypeVar("Row", WorkerRow, TopicRow)


def meta_topic(app_id: str) -> str:
    return f"{app_id}-meta"


def worker_key(worker_id: str) -> bytes:
    return f"worker/{worker_id}".encode()


def topic_key(topic: str) -> bytes:
    return f"topic/{topic}".encode()


def encode(row: WorkerRow | TopicRow) -> bytes:
    return msgspec.json.encode(row)


def decode(kind: type[Row], value: bytes | None) -> Row | None:
    """Return a row, None for a tombstone and for what nobody here wrote."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


__all__ = ["META_CONFIG", "STARTS_KEPT", "TopicRow", "WorkerRow", "decode", "encode", "meta_topic", "topic_key", "worker_key"]
