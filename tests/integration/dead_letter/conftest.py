"""The rig of the dead-letter commands."""

from __future__ import annotations

from tests.support.replay_rig import replay_rig

__all__ = ["replay_rig"]
