"""Contenders from registries, each in an environment of its own below `build/bench/`."""

from __future__ import annotations

from typing import Final

from tests.benchmarks.foreign.contender import ForeignContender

FOREIGN: Final[tuple[ForeignContender, ...]] = ()
