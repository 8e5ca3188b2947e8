"""What a run of the fault rig found, a file per scenario, for EVIDENCE.md to be made from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = Path(os.environ.get("STREAMAPP_EVIDENCE_DIR", str(ROOT / "build" / "evidence")))


@dataclass(slots=True, kw_only=True)
class Scenario:
    """One scenario's figures. What was not counted is None: unknown, never 0."""

    name: str
    """What was done to the app, in a person's words: `SIGKILL at random, three workers`."""
    command: str
    """What repeats it, seed included."""
    seed: int | None = None
    records: int = 0
    """Source records that the checker followed to their end."""
    kills: int = 0
    """Workers that ended by SIGKILL."""
    faults: int = 0
    """All faults, kills included."""
    inside_a_transaction: int | None = None
    """Faults that met an open transaction."""
    violations: dict[str, int] = field(default_factory=dict)
    """By the checker's classes; empty where it found none."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a worker's restart, or a fault's end, to the next commit."""
    aborts: int | None = None
    rebuilds: int | None = None
    replayed: int | None = None
    """Records that were read again after an abort."""
    figures: dict[str, str | int | float] = field(default_factory=dict)
    """Anything else worth a line."""


def keep(scenario: Scenario) -> None:
    """Write it down, in place of what an earlier run of the same name wrote."""
    KEPT.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", scenario.name.lower()).strip("-")
    (KEPT / f"{slug}.json").write_bytes(msgspec.json.format(msgspec.json.encode(scenario)))


def kept() -> list[Scenario]:
    """Return what runs wrote down, by name."""
    return [msgspec.json.decode(file.read_bytes(), type=Scenario) for file in sorted(KEPT.glob("*.json"))]
