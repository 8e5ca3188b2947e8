"""Dead letters on their way into their topic, and what becomes of one that cannot be written.

A unit that holds such a letter can only be aborted, and so could the next. Who was to blame is not always told, so the first letter of
each partition that went down with an undelivered unit is taken for it: its partition stands, the verdict is kept, and after a wait the
letter goes into a unit that holds little else, without another call. The other partitions go on; the letter is never skipped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streamapp.errors import AssignmentLost, ProducerUnusable, UnitAborted
from streamapp.events import Event, log_event
from streamapp.pipeline.lane import Inlet
from streamapp.pipeline.obstacles import Condemned, Place

if TYPE_CHECKING:
    from streamapp.pipeline.engine import Engine
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.unit_of_work import UnitOfWork

log = logging.getLogger(__name__)

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds before a letter is tried again: doubled each time, so that a topic that is away for long costs the others little."""

WRITTEN_WITHIN = 5.0
"""Seconds that the unit of such a letter gets: all partitions stand meanwhile, and one record is written in milliseconds."""

GATE = "a dead letter's own unit"


class Letters:
    """This worker's, from their admission to their commit. On the loop, unless it says otherwise."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._sent: dict[tuple[Inlet, int], Condemned] = {}
        self._alone = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Give up what was to be tried again: its offset is not committed, so the next owner writes it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def sent(self, inlet: Inlet, offset: int, verdict: Condemned) -> None:
        """The letter of the record at `offset` joins the open unit; without a reason, what it did after failed attempts does."""
        self._sent[inlet, offset] = verdict

    def wait(self, inlet: Inlet, offset: int, verdict: Condemned) -> None:
        """The partition stands until its letter is due, and is written."""
        reason = f"dead letter of {offset} by {inlet.agent.name}"
        inlet.lane.pause(
            reason, kind="unwritten", since=verdict.since, agent=inlet.agent.name, offset=offset, detail=verdict.refusal
        )
        task = self._loop.create_task(self._again(inlet, offset, verdict, reason), name=reason)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    # --- on the transaction thread

    def committed(self, unit: UnitOfWork) -> None:
        """The unit is durable, its letters with it."""
        if not self._sent:
            return
        for inlet, offset in list(self._sent):
            if offset < unit.lanes.get(inlet.lane, 0):
                verdict = self._sent.pop((inlet, offset))
                if verdict.letter is not None:
                    inlet.agent.counts.written(verdict.letter)
                    self._engine.fingerprints.add(inlet.agent.name, str(inlet.agent.spec.dlq), verdict.letter)
                if verdict.unwritten:
                    self._say_written(inlet, offset, verdict)

    def dropped(self, cause: Exception, units: Sequence[UnitOfWork], *, unknown: bool) -> None:
        """Everything that is not committed goes down with `units`, and is read again. Called before the lanes are opened."""
        sent, self._sent = self._sent, {}
        if not sent:
            return
        suspicious = isinstance(cause, (UnitAborted, ProducerUnusable)) and not isinstance(cause, AssignmentLost)
        suspicious = suspicious and not unknown and not getattr(cause, "fenced", False) and not getattr(cause, "for_good", False)
        undelivered = {lane: upto for unit in units if not unit.delivered for lane, upto in unit.lanes.items()}
        first: dict[Lane, int] = {}
        for (inlet, offset), verdict in sent.items():
            if verdict.reason is not None and suspicious and offset < undelivered.get(inlet.lane, 0):
                first[inlet.lane] = min(offset, first.get(inlet.lane, offset))
        self._loop.call_soon_threadsafe(self._keep, sent, first, cause)

    # --- on the loop again

    def _keep(self, sent: dict[tuple[Inlet, int], Condemned], first: dict[Lane, int], cause: Exception) -> None:
        for (inlet, offset), verdict in sent.items():
            if first.get(inlet.lane) == offset:
                self._suspect(inlet, offset, verdict, cause)
            elif verdict.tries is not None and Place(inlet.stage, offset) not in inlet.lane.condemned:
                # Judged by them, when it is called again; what is condemned is not called, and has its own.
                inlet.retries[offset] = verdict.tries
                inlet.attentive = True

    def _suspect(self, inlet: Inlet, offset: int, verdict: Condemned, cause: Exception) -> None:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0**verdict.unwritten)
        due = self._engine.clock.monotonic() + wait
        again = replace(verdict, unwritten=verdict.unwritten + 1, not_before=due, refusal=str(cause))
        lane, dlq = inlet.lane, inlet.agent.spec.dlq
        with self._engine.admission.lock:  # committing thins it out
            lane.condemned[Place(inlet.stage, offset)] = again
        if not verdict.unwritten and str(dlq) not in str(cause):
            return  # it may have been another output; the next try tells
        inlet.agent.counts.letter_write_failures += 1
        where: dict[str, Any] = {
            "topic": lane.partition.topic,
            "partition": lane.partition.number,
            "offset": offset,
            "agent": inlet.agent.name,
        }
        log_event(
            log, logging.ERROR, Event.DLQ_WRITE_FAILED,
            f"{lane}@{offset}: its dead letter cannot be written to {dlq}, tried again in {wait:.0f} s: {cause}",
            **where, dlq=dlq, attempt=again.unwritten,
        )  # fmt: skip
        log_event(log, logging.ERROR, Event.LANE_STALLED, f"{lane}@{offset}: dlq not writable: {cause}", **where)

    async def _again(self, inlet: Inlet, offset: int, verdict: Condemned, reason: str) -> None:
        engine, lane, number = self._engine, inlet.lane, inlet.lane.number

        def here() -> bool:
            at_head = bool(inlet.queue) and inlet.head_offset == offset
            return lane.number == number and lane.running and "revoked" not in lane.pauses and at_head

        await asyncio.sleep(max(0.0, verdict.not_before - engine.clock.monotonic()))
        async with self._alone:
            engine.admission.close_gate(GATE)
            try:
                while here() and lane.line.holder not in (None, inlet.queue[0]):  # noqa: ASYNC110 - a condition of that agent
                    await asyncio.sleep(0.005)  # a record of another topic of the line, which ends within its attempt's time
                if not here() or not await engine.commit_now() or not here():
                    return
                inlet.agent.bury_alone(inlet, verdict)
                with engine.admission.lock:
                    engine.admission.unit.within = WRITTEN_WITHIN
                await engine.commit_now()
            finally:
                engine.admission.open_gate(GATE)
                if lane.number == number:
                    lane.unpause(reason)
                    engine.wake_line(lane.line)
                    engine.drained(lane)  # the letter's record may have been the last

    @staticmethod
    def _say_written(inlet: Inlet, offset: int, verdict: Condemned) -> None:
        lane = inlet.lane
        log_event(
            log, logging.WARNING, Event.LANE_RESUMED,
            f"{lane}@{offset}: its dead letter is written to {inlet.agent.spec.dlq} at try {verdict.unwritten + 1}, its partition goes on",
            topic=lane.partition.topic, partition=lane.partition.number, offset=offset, agent=inlet.agent.name,
        )  # fmt: skip

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._engine.fatal(failure)


__all__ = ["Letters"]
