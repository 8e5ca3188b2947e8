"""The app of the commands of upkeep."""

from __future__ import annotations

from tests.support.upkeep_rig import upkeep_app

__all__ = ["upkeep_app"]
