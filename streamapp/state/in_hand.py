"""Which record each of the last lives in this data directory had in hand, tried alone, when it ended (OPERATIONS §1.8).

The count beside a committed offset is raised before the record is handed over, and goes with its commit. A process that ends in one of these two
commits did not end for the record; without this file it would look as if it had.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Final

from streamapp.records import Partition

log = logging.getLogger(__name__)

LIVES: Final = 16
"""That are remembered. More than die in a row before a record is found, with room for those that nobody counts."""


class InHandFile:
    """An InHand. Written without fsync: a process that dies loses nothing by that, and a machine that dies nothing but this knowledge."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lives = _read(path)

    def took(self, life: str, partition: Partition, offset: int) -> None:
        self._note(life, [partition.topic, partition.number, offset])

    def put_down(self, life: str) -> None:
        self._note(life, None)

    def had(self, life: str, partition: Partition, offset: int) -> bool | None:
        if life not in self._lives:
            return None
        return self._lives[life] == [partition.topic, partition.number, offset]

    def _note(self, life: str, record: list[Any] | None) -> None:
        self._lives.pop(life, None)
        self._lives[life] = record
        while len(self._lives) > LIVES:
            del self._lives[next(iter(self._lives))]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._lives), encoding="utf-8")
        except OSError as failure:
            # What it said before would be wrong by now: rather nobody remembers, and each try counts.
            log.warning("%s: what is tried alone will not be remembered: %s", self._path, failure)
            try:
                self._path.unlink(missing_ok=True)
            except OSError as stays:
                log.warning("%s cannot be removed: %s", self._path, stays)


def _read(path: Path) -> dict[str, list[Any] | None]:
    """Return what is there; nothing where that is no file of ours, or one that a full disk cut off."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


__all__ = ["LIVES", "InHandFile"]
