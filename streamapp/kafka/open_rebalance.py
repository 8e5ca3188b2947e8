"""Whether a member stands between the two joins of a cooperative rebalance, remembered on disk for whoever comes after it.

A member that has to give partitions back does so after the first join, and joins again to have them shared out. A static member
that dies in between and comes back within its session is handed its share by the broker without another rebalance (read in
apache/kafka, GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin: the state is Stable and the protocol's name the
same), and what it had given back belongs to nobody until somebody else joins or leaves. Who finds a rebalance left open leaves
the group, and joins it as a member that it does not know.
"""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)


class OpenRebalance:
    """One member's mark. A directory that goes with the process takes it along, and the partitions wait for the next rebalance."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers_due = 0

    @property
    def is_left_open(self) -> bool:
        """Whether the consumer that was here before gave partitions back and did not get its share anew."""
        return self._answers_due > 0 or self._path.exists()

    def gave_back(self) -> None:
        """Partitions are being given back."""
        self._answers_due = 2
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as failure:  # no reason to lose partitions: only a death just now would need the mark
            log.warning("%s: a rebalance that this worker does not live to end will not be remembered: %s", self._path, failure)

    def assigned(self) -> None:
        """The group gave a share: the first after giving back ends the first join, the second the rebalance."""
        if self._answers_due == 1:
            self.end()
        elif self._answers_due == 2:
            self._answers_due = 1

    def end(self) -> None:
        """The group shares out everything without the mark."""
        self._answers_due = 0
        try:
            self._path.unlink(missing_ok=True)
        except OSError as failure:  # costs a rebalance at the next start
            log.warning("%s cannot be removed: %s", self._path, failure)
