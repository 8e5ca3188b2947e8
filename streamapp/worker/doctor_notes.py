"""What only a worker knows and `streamapp doctor` asks for: noted while it happens, told with the status document."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from streamapp.monitor.status import DoctorFacts, RebalanceNote
from streamapp.worker.restarts import BEAT, Restarts

if TYPE_CHECKING:
    from streamapp.identity import DataDir
    from streamapp.pipeline.facts import EngineFacts

REMEMBERED: Final = 3600.0
"""Seconds that a rebalance is remembered."""
MOST_REBALANCES: Final = 200
STATISTICS_EVERY: Final = 10.0
"""Seconds between two looks at the producer's batches, where they are looked at."""


class DoctorNotes:
    """Of one worker. On the loop, but for `restored` and `statistics`, which come from the threads of restore and commit."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._is_new = False
        self._restarts: Restarts | None = None
        self._rebalances: deque[RebalanceNote] = deque(maxlen=MOST_REBALANCES)
        self._began: float | None = None
        """When the rebalance that goes on began."""
        self._gained = self._lost = 0
        self._restored = 0
        self._restoring = 0.0
        self._batches: float | None = None

    def opened(self, directory: DataDir) -> None:
        """The worker has its directory."""
        self._is_new = directory.is_new_worker
        self._restarts = Restarts(directory.path)

    # --- restarts

    async def live(self, is_ready: Callable[[], bool]) -> None:
        """Write down signs of life, for as long as the worker runs."""
        loop = asyncio.get_running_loop()
        while self._restarts is not None:
            if is_ready():
                self._restarts.back(self._now())
            await loop.run_in_executor(None, self._restarts.alive, self._now())
            await asyncio.sleep(BEAT if is_ready() else BEAT / 10)

    def stops(self) -> None:
        """The worker goes: what it is away counts from here."""
        if self._restarts is not None:
            self._restarts.alive(self._now())

    # --- rebalances

    def comes(self, partitions: int) -> None:
        if self._began is None:
            self._began, self._gained = self._now(), 0
        self._gained += partitions

    def goes(self, partitions: int) -> None:
        self._lost += partitions

    def settled(self) -> None:
        """The last partition that came is restored."""
        if self._began is not None:
            lasted = max(0.0, self._now() - self._began)
            self._rebalances.append(RebalanceNote(at=self._began, seconds=lasted, gained=self._gained, lost=self._lost))
            self._began, self._lost = None, 0

    # --- restores, batches

    def restored(self, records: int, seconds: float) -> None:
        # A tail of a few records says more of the broker's answer than of the rate.
        if records >= 1_000 and seconds > 0:
            self._restored += records
            self._restoring += seconds

    def statistics(self, text: str) -> None:
        """Take the client library's statistics of the producer. Never raises: it is called from within the library."""
        try:
            topics = json.loads(text)["topics"].values()
            batches = [(topic["batchsize"]["avg"], topic["batchsize"]["cnt"]) for topic in topics]
            counted = sum(count for _, count in batches)
            if counted:
                self._batches = sum(size * count for size, count in batches) / counted
        except (ValueError, KeyError, TypeError, AttributeError):
            return

    def facts(self, engine: EngineFacts | None, *, batch_size: int) -> DoctorFacts:
        """Return what was noted. `batch_size`: the setting producer_batch_size."""
        since = self._now() - REMEMBERED
        return DoctorFacts(
            new_worker_id=self._is_new,
            restarts=() if self._restarts is None else self._restarts.away,
            rebalances=tuple(note for note in self._rebalances if note.at + note.seconds >= since),
            batch_max={} if engine is None else {agent.name: agent.batch_max for agent in engine.agents if agent.batch_max},
            batch_fill=None if self._batches is None else min(1.0, self._batches / batch_size),
            restore_rate=self._restored / self._restoring if self._restoring else None,
        )


__all__ = ["STATISTICS_EVERY", "DoctorNotes"]
