"""What a member had when its group had last shared out everything, remembered on disk for whoever comes after it.

In a cooperative rebalance what a member has to give back is in nobody's share at first: it gives it back, joins again, and only then it is
shared out. A static member that ends before it has joined again, killed or in order, and comes back within its session is handed what it is to
keep by the broker without another rebalance (read in apache/kafka, GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin: the state
is Stable and the protocol's name the same), and the rest belongs to nobody until somebody else joins or leaves. It may end before it has heard
of the rebalance at all. So whoever finds its first share short of what its predecessor had leaves the group, and joins it as a member that
it does not know. Where another rebalance had given these partitions away meanwhile, that costs one more.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from streamapp.records import Partition

log = logging.getLogger(__name__)

SIGN_OF_LIFE: Final = 1.0
"""Seconds between two of them."""


class SettledShare:
    """One member's share. A directory that goes with the process takes it along: then partitions may wait for the next rebalance (P07 of the doctor)."""

    def __init__(self, path: Path, topics: Collection[str], session_timeout: float) -> None:
        """`session_timeout`: seconds after which the group has shared out everything without a member that ended."""
        self._path = path
        self._answers_due = 0
        self._lives_at: float | None = None
        """Monotonic seconds of the last sign of life; None until the group gave a share."""
        self._settled = {where for where in _read(path, session_timeout) if where.topic in topics}

    def is_short(self, share: Collection[Partition]) -> bool:
        """Whether the share that a consumer was given when it joined lacks something of what was settled before."""
        return not self._settled.issubset(share)

    def gave_back(self) -> None:
        """Partitions are being given back: what follows is settled with the second share from now."""
        self._answers_due = 2

    def assigned(self, held: Iterable[Partition]) -> None:
        """The group gave a share; `held` is all that the member has now."""
        self._answers_due = max(0, self._answers_due - 1)
        self._lives_at = time.monotonic()
        if self._answers_due:
            return
        self._settled = set(held)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(sorted(self._settled)), encoding="utf-8")
        except OSError as failure:  # no reason to lose partitions: only an end in the middle of a rebalance would need it
            log.warning("%s: a rebalance that this worker does not live to end will not be remembered: %s", self._path, failure)

    def alive(self) -> None:
        """The member takes part in its group. To be called often; cheap."""
        if self._lives_at is not None and time.monotonic() - self._lives_at >= SIGN_OF_LIFE:
            self._lives_at = time.monotonic()
            with suppress(OSError):
                os.utime(self._path)

    def forget(self) -> None:
        """The group shares out everything without regard to what was."""
        self._answers_due = 0
        self._lives_at = None
        self._settled = set()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as failure:  # costs a rebalance at the next start
            log.warning("%s cannot be removed: %s", self._path, failure)


def _read(path: Path, session_timeout: float) -> set[Partition]:
    """Return what is there; nothing where it is older than a session, or cut off."""
    try:
        if time.time() - path.stat().st_mtime > session_timeout:
            return set()
        return {Partition(topic, number) for topic, number in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        return set()


__all__ = ["SIGN_OF_LIFE", "SettledShare"]
