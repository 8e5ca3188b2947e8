"""Outputs that the broker refuses for good: which record made them, and what becomes of it.

A unit with such an output can only be aborted, and would fail again. Where the client itself refuses, the record is known at
once. Where the broker does, it refuses a batch: the records are read again and their outputs sent one by one, each flushed, until
one is refused. That record then fails without another call, and its dead letter takes the place of its outputs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from streamapp.errors import DeliveryFailed, OutputRejected
from streamapp.events import Event, log_event
from streamapp.pipeline.obstacles import Condemned, Place
from streamapp.pipeline.tick import TickSavepoint

if TYPE_CHECKING:
    from streamapp.pipeline.admission import Admission
    from streamapp.pipeline.savepoint import Savepoint
    from streamapp.pipeline.unit_of_work import Tick, UnitOfWork

log = logging.getLogger(__name__)


class Refused:
    """Finds and condemns the makers of such outputs."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._loop = asyncio.get_running_loop()

    def found(self, unit: UnitOfWork, culprit: Savepoint | None, cause: DeliveryFailed, ticks: Sequence[Tick]) -> list[Tick]:
        """A unit was dropped for such an output. Return which of `ticks` may run again. On the transaction thread."""
        if culprit is None:
            self._sift(unit, cause)
            return list(ticks)
        if not getattr(culprit, "is_batch", False):  # else the search goes on among its records
            with self._admission.lock:
                self._admission.isolating.clear()
        if isinstance(culprit, TickSavepoint):
            # Run again it would be refused again, for ever; a timer has no dead letter.
            log_event(log, logging.ERROR, Event.TASK_FAILED, f"{culprit.name}: its output was refused, it is left out: {cause}")
            return [tick for tick in ticks if tick is not culprit.tick]
        # Before the lanes are opened again, which is posted to the loop later than this.
        self._loop.call_soon_threadsafe(self._condemn, culprit, cause)
        return list(ticks)

    def _sift(self, unit: UnitOfWork, cause: DeliveryFailed) -> None:
        log_event(log, logging.WARNING, Event.OUTPUT_REFUSED, f"an output was refused for good; looking for its record: {cause}")
        with self._admission.lock:
            for lane, upto in unit.lanes.items():
                lane.isolate_until = max(lane.isolate_until, upto)
                self._admission.isolating.add(lane)

    @staticmethod
    def _condemn(savepoint: Savepoint, cause: DeliveryFailed) -> None:
        lane = savepoint.lane
        place = Place(getattr(savepoint, "stage", 0), cast("int", savepoint.record.offset()))
        if getattr(savepoint, "is_batch", False):
            inlet = lane.inlets[place.stage]
            inlet.agent.split_batch(inlet, place.offset + 1)
            return
        earlier = lane.condemned.get(place)
        if not getattr(savepoint, "is_letter", False):
            failure = OutputRejected(str(cause), too_large=cause.too_large)
            lane.condemned[place] = Condemned(failure, getattr(savepoint, "tries", None))
        elif earlier is None:
            lane.condemned[place] = Condemned(None, None, letters=1)
        else:
            lane.condemned[place] = Condemned(earlier.failure, earlier.tries, letters=earlier.letters + 1)
