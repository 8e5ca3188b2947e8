"""What finds a record that kills the process: starts are counted before the first record, and suspects' records come one by one.

The counting is in `pipeline/suspects.py`. Everything here runs on the loop, and nothing of it for a record of a partition that is no suspect.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

from streamapp.clock import Clock
from streamapp.errors import KilledWorker
from streamapp.events import Event, log_event
from streamapp.pipeline.obstacles import Condemned, Place
from streamapp.pipeline.retry import RetryState
from streamapp.pipeline.suspects import TURN_SECONDS, Count, Life, Turn, life_of, without_own

if TYPE_CHECKING:
    from streamapp.pipeline.admission import Admission
    from streamapp.pipeline.lane import Lane, Line
    from streamapp.pipeline.unit_of_work import UnitOfWork
    from streamapp.ports import InHand
    from streamapp.records import Partition

log = logging.getLogger(__name__)

TOGETHER = 0.01
"""Seconds that a start waits for others, so that one transaction counts all that were assigned together; their records are on the way."""

LOOK = 0.002
"""Seconds between looks at what a turn waits for; a transaction takes some ten milliseconds."""

STAND_WITHIN = 15.0
"""Seconds in which everybody else has to stand before a suspect's turn: what is in hand there is done, or cut off by its attempt's time."""

START = "start"
ISOLATION = "isolation"


class Isolation:
    """Counts the starts of lanes, and takes suspects in turns, everybody else between two of them."""

    def __init__(
        self,
        *,
        admission: Admission,
        lanes: Callable[[], Sequence[Lane]],
        commit_now: Callable[[], Future[bool]],
        wake_line: Callable[[Line], None],
        wake_all: Callable[[], None],
        drained: Callable[[Lane], None],
        clock: Clock,
        isolate_after: int,
        worker_id: str,
        in_hand: InHand,
    ) -> None:
        self._wake_line = wake_line
        self._wake_all = wake_all
        self._drained = drained
        self._admission = admission
        self._lanes = lanes
        self._commit_now = commit_now
        self._clock = clock
        self._isolate_after = isolate_after
        self._me = life_of(worker_id)
        self._in_hand = in_hand
        if isolate_after:
            in_hand.put_down(self._me)  # before the first try is counted
        self._began: dict[Partition, tuple[int, Count]] = {}
        """Where each partition began when it was here last, and what of others was found there."""
        self._order: list[Lane] = []
        """Suspects; whose turn was last is last."""
        self._in_turn: dict[Lane, int] = {}
        """The offset of a suspect's record that its agents have, and that is not committed."""
        self._tried: Lane | None = None
        """Whose record is in hand, tried alone, and not yet with the broker."""
        self._standing = False
        """Whether everybody but a suspect stands."""
        self._counting: asyncio.Task[None] | None = None
        self._turns: asyncio.Task[None] | None = None
        self._ended = False

    async def stop(self) -> None:
        """Try nothing any more. May be called twice."""
        self._ended = True
        tasks = [task for task in (self._counting, self._turns) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- lanes come and go

    def settled(self, lane: Lane, end: int) -> None:
        """The lane's committed offset and its count are known; `end` is its log's. Asked for anew, they say what became of a unit."""
        offset = cast("int", lane.committed)
        if lane.life is not None:
            lane.life.read_again(offset, lane.count)
            return
        found = without_own(lane.count, offset, self._me, self._began.get(lane.partition))
        self._began[lane.partition] = (offset, found)
        life = lane.life = Life(
            offset, found, has_records=offset < end, isolate_after=self._isolate_after, me=self._me,
            was_in_hand=self._was_in_hand(lane, found),
        )  # fmt: skip
        life.is_counted = life.is_counted or (lane.count.by == self._me and lane.count == life.started())
        if self._isolate_after and life.culprit is not None:
            self._condemn(lane, life.culprit, life.tries)
            log_event(
                log, logging.ERROR, Event.RECORD_KILLED_WORKER,
                f"{lane}@{life.culprit}: the process ended {life.tries} times while it worked on this record alone; no agent is called with it again",
                topic=lane.partition.topic, partition=lane.partition.number, offset=life.culprit,
            )  # fmt: skip
        if life.is_suspect:
            lane.held = deque()
            why = f"starts without progress: {life.starts}" if not life.tries else "the last life ended while a record was tried"
            log_event(
                log, logging.WARNING, Event.PARTITION_SUSPECT,
                f"{lane}@{offset} is a suspect, its records are tried one by one; {why}",
                topic=lane.partition.topic, partition=lane.partition.number, offset=offset, starts=life.starts,
            )  # fmt: skip

    def _was_in_hand(self, lane: Lane, found: Count) -> bool:
        return (
            not found.tried or found.offset is None or self._in_hand.had(found.tried, lane.partition, found.offset) is not False
        )

    @staticmethod
    def _condemn(lane: Lane, offset: int, times: int) -> None:
        # Each of its agents buries it: which one was at it when the process ended, nobody knows.
        failure = KilledWorker(f"the process ended {times} times while it worked on this record alone")
        for inlet in lane.inlets:
            tries = RetryState(started=0.0, attempts=times)
            lane.condemned[Place(inlet.stage, offset)] = Condemned(failure, tries, stage="process")

    def opened(self, lanes: Sequence[Lane]) -> None:
        """These run from now on: those whose start is not counted stand until it is, suspects until it is their turn."""
        for lane in lanes:
            life = lane.life
            if life is None:
                continue
            self._in_turn.pop(lane, None)
            if life.is_suspect:
                life.opened(self._clock.monotonic())
                if lane not in self._order:
                    self._order.append(lane)
            elif not life.is_counted:
                lane.pause(START, detail="its start is counted before its first record")
                self._count_soon()
        if self._order and self._turns is None and not self._ended:
            self._standing = True  # the first turn is a suspect's, and nobody else's start is counted before his own turn
            self._turns = asyncio.get_running_loop().create_task(self._take_turns(), name="suspects in turns")
        if self._standing:
            for lane in lanes:
                if lane not in self._order:
                    lane.pause(ISOLATION)

    def delivered(self, unit: UnitOfWork) -> None:
        """The unit's records are with the broker: if the process ends now, it is not for a record. On the transaction thread."""
        if self._tried is not None and self._tried in unit.firsts:
            self._tried = None
            self._in_hand.put_down(self._me)

    # --- starts

    def _count_soon(self) -> None:
        if self._counting is None and not self._ended:
            self._counting = asyncio.get_running_loop().create_task(self._count_starts(), name="count starts")

    async def _count_starts(self) -> None:
        """Commit the starts of all lanes that wait for it, together, before their first record; until none is left."""
        while True:
            await asyncio.sleep(TOGETHER)
            if self._standing:
                break
            # One that is being rewound comes again, through `opened`.
            lanes = [lane for lane in self._lanes() if START in lane.pauses and self._may(lane)]
            if not lanes:
                break
            for lane in lanes:
                life = cast("Life", lane.life)
                if not life.is_counted:
                    self._admission.tell(lane, life.started())
            await self._committed()
            for lane in lanes:
                if cast("Life", lane.life).is_counted and START in lane.pauses:
                    lane.unpause(START)
                    self._look_again(lane)
        self._counting = None

    async def _committed(self) -> None:
        asked = self._commit_now()
        await self._until(asked.done)  # and not awaited: cancelled, it could not be answered

    def _look_again(self, lane: Lane) -> None:
        self._wake_line(lane.line)
        if not lane.waiting:
            self._drained(lane)

    # --- turns

    async def _take_turns(self) -> None:
        try:
            while self._order:
                lane = self._next()
                if lane is not None:
                    self._order.remove(lane)
                    self._order.append(lane)
                    self._standing = True
                    if await self._others_stand(lane):
                        await self._try(lane)
                    await self._rest()
                self._clear()
                self._go_on()
                await asyncio.sleep(LOOK)
                if lane is not None:
                    await self._until(lambda: not any(other.waiting or other.is_busy for other in self._others()), TURN_SECONDS)
        finally:
            self._turns = None
            self._go_on()

    def _others(self) -> list[Lane]:
        return [lane for lane in self._lanes() if lane not in self._order]

    def _next(self) -> Lane | None:
        """Return the suspect that waits longest for a turn and has something to do; one that never had one may yet get its records."""
        for lane in self._order:
            is_new = lane.life is not None and not lane.life.is_counted
            if self._may(lane) and not lane.pauses - {ISOLATION} and (lane.held or lane in self._in_turn or is_new):
                return lane
        return None

    @staticmethod
    def _may(lane: Lane, number: int | None = None) -> bool:
        return lane.running and "revoked" not in lane.pauses and number in (None, lane.number)

    async def _others_stand(self, lane: Lane) -> bool:
        """Have nobody else work, whatever is in hand done; False when somebody cannot stop just now, or still has the lane's line."""

        def may_work() -> list[Lane]:
            # Of another suspect, its agents have at most what was put off.
            return [
                other for other in self._lanes() if other is not lane and (other not in self._order or other in self._in_turn)
            ]

        others = may_work()
        for other in others:
            if other.straight:
                other.pause(ISOLATION)
            else:
                other.drains = True  # paused between two of its agents, a record would keep the line
        self._wake_all()  # batches that wait for more
        await self._until(lambda: not any(other.window or other.is_busy for other in others), TURN_SECONDS)
        others = may_work()
        for other in others:
            other.pause(ISOLATION)
        stand = await self._until(lambda: not any(other.is_busy for other in others), STAND_WITHIN)
        return stand and lane.line.holder is None

    async def _try(self, lane: Lane) -> None:
        """One turn: record after record, each committed before the next one is handed over."""
        number, life = lane.number, cast("Life", lane.life)
        turn = Turn(self._clock.monotonic(), self._me)
        lane.unpause(ISOLATION)
        try:
            await self._until(
                lambda: lane.held or lane in self._in_turn or lane.end_seen or not self._may(lane, number), TURN_SECONDS
            )
            while not turn.is_over and turn.left(self._clock.monotonic()) and self._may(lane, number):
                offset = self._in_turn.get(lane)
                if offset is None:
                    if not lane.held:
                        break
                    offset = cast("int", lane.held[0].offset())
                if not await self._counts(lane, life.trying(offset, lane.next_offset)) or not self._may(lane, number):
                    break
                lane.turn = turn
                self._hand_over(lane, offset)
                if not await self._done(lane, number, offset, turn):
                    lane.pause(ISOLATION)  # it waits for its next attempt, or stands for good
                    break
                del self._in_turn[lane]
                life.clean += 1
        finally:
            lane.turn = None

    async def _counts(self, lane: Lane, count: Count) -> bool:
        """Return whether `count` is what stands beside the lane's committed offset, after a commit that writes it if need be."""
        if lane.count != count or not cast("Life", lane.life).is_counted:
            self._admission.tell(lane, count)
            await self._committed()
        return lane.count == count

    def _hand_over(self, lane: Lane, offset: int) -> None:
        self._in_hand.took(self._me, lane.partition, offset)
        self._tried = lane
        if lane not in self._in_turn:
            assert lane.held
            self._in_turn[lane] = offset
            inlet = lane.inlets[0]
            inlet.queue.append(lane.held.popleft())
            for each in lane.inlets:
                each.agent.split_batch(each, offset + 1)  # no batch waits for a second record
        self._wake_line(lane.line)

    async def _done(self, lane: Lane, number: int, offset: int, turn: Turn) -> bool:
        """Wait until the record is committed; False when its turn ends before: its lane is gone or begins anew, or it waits for something."""

        def is_committed() -> bool:
            return lane.committed is not None and lane.committed > offset

        def is_put_off() -> bool:
            return (
                bool(lane.pauses) and not lane.is_busy and lane.next_offset <= offset and not turn.left(self._clock.monotonic())
            )

        await self._until(lambda: is_committed() or not self._may(lane, number) or is_put_off())
        return is_committed() and self._may(lane, number)

    async def _rest(self) -> None:
        """After a turn: whoever dies now is not taken for a suspect's record. One that is being rewound is waited for, a while."""

        def raised() -> list[Lane]:
            return [lane for lane in self._order if "revoked" not in lane.pauses and self._resting(lane) != lane.count]

        ends = asyncio.get_running_loop().time() + TURN_SECONDS
        while (lanes := raised()) and asyncio.get_running_loop().time() < ends:
            for lane in lanes:
                self._admission.tell(lane, self._resting(lane))
            await self._committed()
            await asyncio.sleep(LOOK)

    @staticmethod
    def _resting(lane: Lane) -> Count:
        return cast("Life", lane.life).resting(lane.next_offset)

    def _clear(self) -> None:
        """Take from the suspects those that are gone, and those that need not be tried any longer."""
        for lane in list(self._order):
            life = cast("Life", lane.life)
            gone = lane not in self._lanes()
            if not gone and not life.is_cleared(self._clock.monotonic()):
                continue
            self._order.remove(lane)
            self._in_turn.pop(lane, None)
            held, lane.held = lane.held, None
            if gone:
                continue
            life.is_suspect = False
            if not life.is_counted:
                lane.pause(START, detail="its start is counted before its first record")
                self._count_soon()
            if held:
                lane.inlets[0].queue.extend(held)
            lane.unpause(ISOLATION)
            self._look_again(lane)
            log.info("%s: %d records were tried one by one and did no harm; it is no suspect any more", lane, life.clean)

    def _go_on(self) -> None:
        """Everybody else's turn."""
        if not self._standing:
            return
        self._standing = False
        for lane in self._others():
            lane.drains = False
            lane.unpause(ISOLATION)
            self._look_again(lane)
            if START in lane.pauses:
                self._count_soon()

    @staticmethod
    async def _until(condition: Callable[[], object], seconds: float | None = None) -> bool:
        loop = asyncio.get_running_loop()
        ends = None if seconds is None else loop.time() + seconds
        while not condition():
            if ends is not None and loop.time() >= ends:
                return False
            await asyncio.sleep(LOOK)
        return True
