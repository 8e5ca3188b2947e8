"""How long a worker was away at each restart: its data directory holds when it was last alive, and its next life counts from there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

FILE: Final = "restarts"
KEPT: Final = 20
"""Restarts that are kept: a percentile of the recent ones is asked for."""
LONGEST: Final = 3600.0
"""Seconds from which on it was switched off rather than restarted."""
BEAT: Final = 5.0
"""Seconds between two signs of life: how exact the time of a kill is known."""


class _Kept(msgspec.Struct):
    alive: float
    """Seconds since 1970."""
    away: list[float]


class Restarts:
    """One worker's. Blocks for a small file; one thread."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        kept = _read(self._file)
        self._away = [] if kept is None else kept.away
        self._left: float | None = None if kept is None else kept.alive
        """When the life before this one ended, as far as is known; None once that is settled."""

    @property
    def away(self) -> tuple[float, ...]:
        return tuple(self._away)

    def back(self, now: float) -> None:
        """The worker works again: what it was away counts, once per life."""
        left, self._left = self._left, None
        if left is not None and 0 <= now - left <= LONGEST:
            self._away = [*self._away, round(now - left, 1)][-KEPT:]

    def alive(self, now: float) -> None:
        """Write down a sign of life. Nothing depends on it: a disk that refuses is passed over."""
        # Until it is back, the time still counts from the last life's end.
        kept = _Kept(now if self._left is None else self._left, self._away)
        try:
            self._file.write_bytes(msgspec.json.encode(kept))
        except OSError:
            return


def read_restarts(directory: Path) -> tuple[float, ...]:
    """Return the seconds that the worker of this directory was away, at each of its last restarts."""
    kept = _read(directory / FILE)
    return () if kept is None else tuple(kept.away)


def _read(file: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None


__all__ = ["BEAT", "Restarts", "read_restarts"]
