"""What a check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is, worst first."""

    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"
    UNCHECKED = "unchecked"
    """It could not be looked at: never a pass."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. Ids are stable; OPERATIONS §4 lists them."""

    id: str
    level: Level
    subject: str
    """What it is about: a topic, a partition, a worker, a setting."""
    line: str
    """One line with its numbers; of UNCHECKED: the reason."""
    why: str
    fix: str
    """The command or setting that mends it; empty where there is nothing to do."""


__all__ = ["Finding", "Level"]
