"""How often partitions came, and how long it took until the last of them ran: what a rebalance costs this worker."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from streamapp.pipeline.facts import Distribution
from streamapp.pipeline.lane import NO_POSITION, REVOKED
from streamapp.pipeline.measures import REBALANCES, Histogram

if TYPE_CHECKING:
    from streamapp.clock import Clock
    from streamapp.pipeline.lane import Lane


class RebalanceTimes:
    """From the first revoke or assignment to the last new partition's run. On the loop.

    Each source set is a member of its own: what overlaps is one rebalance. It counts from its assignment on, be that empty, as a revoke
    without one is a stop.
    """

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self._clock = clock
        self._took = Histogram(REBALANCES)
        self._began: float | None = None
        self._is_assigned = False
        self._coming: set[Lane] = set()

    def told(self) -> Distribution:
        return self._took.told()

    def given(self, lanes: Collection[Lane]) -> None:
        """These were assigned."""
        self._coming = {lane for lane in self._coming if NO_POSITION not in lane.pauses}  # they wait for an operator
        if not self._is_assigned:
            self._is_assigned = True
            self.count += 1
            self._began = self._began or self._clock.monotonic()
        self._coming.update(lanes)
        self._end_if_all_run()

    def gone(self, lanes: Collection[Lane]) -> None:
        """These were taken away; each knows since when it was to be given back."""
        if self._began is None:
            asked = [lane.whys[REVOKED].since for lane in lanes if REVOKED in lane.whys]
            self._began = min(asked, default=self._clock.monotonic())
        self._coming.difference_update(lanes)
        self._end_if_all_run()

    def run(self, lanes: Collection[Lane]) -> None:
        """These run."""
        self._coming.difference_update(lanes)
        self._end_if_all_run()

    def _end_if_all_run(self) -> None:
        if self._is_assigned and not self._coming and self._began is not None:
            self._took.add(self._clock.monotonic() - self._began)
            self._is_assigned, self._began = False, None


__all__ = ["RebalanceTimes"]
