"""How a command of upkeep ends without having done what it was asked: by a guard, or for want of anything to do."""

from __future__ import annotations


class Refused(Exception):
    """A guard refuses the command (exit 5); the text says what would let it pass."""


class NothingMatched(Exception):
    """There is nothing that the command could be about (exit 4)."""


__all__ = ["NothingMatched", "Refused"]
