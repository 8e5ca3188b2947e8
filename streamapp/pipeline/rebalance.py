"""How often partitions came, and how long it took until the last of them ran: what a rebalance costs this worker."""

from __future__ import annotations

from collections.abc import Callable, Collection
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

    def __init__(self, clock: Clock, they_run: Callable[[list[Lane], float], None]) -> None:
        """`they_run`: told once all partitions that came run, which and how many seconds after the first of them came."""
        self.count = 0
        self._clock = clock
        self._they_run = they_run
        self._took = Histogram(REBALANCES)
        self._began: float | None = None
        self._is_assigned = False
        self._coming: dict[Lane, float] = {}
        """Lanes that came and do not run yet, and when (monotonic seconds)."""
        self._ran: dict[Lane, float] = {}
        """Those that run by now, while others of them do not."""

    def told(self) -> Distribution:
        return self._took.told()

    def given(self, lanes: Collection[Lane]) -> None:
        """These were assigned."""
        now = self._clock.monotonic()
        self._coming = {
            lane: at for lane, at in self._coming.items() if NO_POSITION not in lane.pauses
        }  # they wait for an operator
        if not self._is_assigned:
            self._is_assigned = True
            self.count += 1
            self._began = self._began or now
        self._coming |= dict.fromkeys(lanes, now)
        self._end_if_all_run()

    def gone(self, lanes: Collection[Lane]) -> None:
        """These were taken away; each knows since when it was to be given back."""
        if self._began is None:
            asked = [lane.whys[REVOKED].since for lane in lanes if REVOKED in lane.whys]
            self._began = min(asked, default=self._clock.monotonic())
        for lane in lanes:
            self._coming.pop(lane, None)
            self._ran.pop(lane, None)
        self._end_if_all_run()

    def run(self, lanes: Collection[Lane]) -> None:
        """These run."""
        self._ran |= {lane: self._coming.pop(lane) for lane in lanes if lane in self._coming}
        if self._ran and not self._coming:
            ran, self._ran = self._ran, {}
            self._they_run(list(ran), self._clock.monotonic() - min(ran.values()))
        self._end_if_all_run()

    def _end_if_all_run(self) -> None:
        if self._is_assigned and not self._coming and self._began is not None:
            self._took.add(self._clock.monotonic() - self._began)
            self._is_assigned, self._began = False, None


__all__ = ["RebalanceTimes"]
