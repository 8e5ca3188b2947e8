"""The record path: one cursor per actor hands its agent one record after the other, each as a savepoint of its own.

`Cursor.__anext__` is the hot path. Measured on the dedupe job, per record: no task, no future, no log call, no thread hop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, cast

from streamapp.errors import DecodeFailed
from streamapp.pipeline.dead_letter import REPLAY_OF
from streamapp.pipeline.lane import Entry, Inlet, record_of
from streamapp.pipeline.measures import QUICK
from streamapp.pipeline.savepoint import ALREADY_PROCESSED, Savepoint, current_savepoint
from streamapp.records import RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.dead_letter import Stage
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.process import AgentRun
    from streamapp.pipeline.retry import RetryState

RECORDS_PER_TURN = 200
"""Records an actor takes before the loop may turn: about 5 ms at 25 µs a record, so that timers and batches get in."""

RECORDS_PER_LANE = 100
"""Records in a row from one lane while others wait."""


class Rewound(BaseException):
    """The agent's coroutine starts afresh: its record was dropped, and its locals may hold what never committed.

    A BaseException, so that the agent's own `except Exception` does not take it for a failure.
    """


class Cursor:
    """One actor's place in the stream. Everything here runs on the loop, in the actor's own task."""

    __slots__ = (
        "_admission",
        "_dedupe",
        "_fresh",
        "_inlet",
        "_is_at_work",
        "_items",
        "_run_since",
        "_turn",
        "agent",
        "attempts",
        "interrupted",
        "record",
        "records",
        "savepoint",
        "since",
        "stale",
        "task",
        "value",
        "values",
        "waiter",
    )

    def __init__(self, agent: AgentRun) -> None:
        self.agent = agent
        self.savepoint: Savepoint | None = None
        """The savepoint of the record in hand; None between records."""
        self.record: RawRecord | None = None
        self.value: object = None
        self.records: list[RawRecord] = []
        """`take`: the batch in hand."""
        self.values: list[object] = []
        self.task: asyncio.Task[None] | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.stale = False
        """Set when a unit was dropped: the coroutine has to start afresh."""
        self.interrupted: BaseException | None = None
        """Why the engine cancelled the actor's task: the attempt's timeout, or a rewind."""
        self._inlet: Inlet | None = None
        self._items: list[RawRecord | Entry] = []
        self._admission = agent.admission
        self._dedupe = agent.dedupe
        self._fresh = 0
        """Records that may still be taken without a look at anything else: of this lane, in this turn."""
        self._turn = RECORDS_PER_TURN
        self.since = 0.0
        """By perf_counter: when what is in hand was begun, which is when what came before ended."""
        self.attempts = 0
        """At records and batches, that ended."""
        self._run_since = 0.0
        self._is_at_work = False

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> object:
        """Finish the record in hand and return the value of the next one, when there is one.

        The calling task's context then belongs to that record's savepoint. Raises Rewound.
        """
        if (done := self.savepoint) is not None:
            if done.entry is not None or self._items or done.record.headers():
                self.finish()
            else:
                # What `finish` does for a plain record, in place: the call would cost as much as the clock, the one that a record
                # pays for. Its end is the next one's beginning, unless that is waited for.
                self.savepoint = None
                now = perf_counter()
                self.attempts += 1
                if now - self.since > QUICK:
                    self.agent.work.slow.add(now - self.since)
                self.since = now
                kept = self._admission.admit(done, done.record.offset() + 1)  # type: ignore[operator]  # a record read has an offset
                if self._inlet.attentive:  # type: ignore[union-attr]  # a savepoint has an inlet
                    self.agent.forget_retries(self._inlet, done)  # type: ignore[arg-type]  # as above
                if not kept or self.stale:
                    raise Rewound
        dedupe = self._dedupe
        while True:
            inlet = self._inlet
            if inlet is None or self._fresh <= 0 or not inlet.queue or not self._may_start(inlet):
                inlet = await self._pick()
            self._fresh -= 1
            lane = inlet.lane
            item = inlet.queue.popleft()
            if lane.straight:
                record: RawRecord = item  # type: ignore[assignment]  # entries are made for the other lanes only
                lane.line.holder = savepoint = Savepoint(lane, record, True)
            else:
                savepoint = self._enter(inlet, item)
                record = savepoint.record
            self.savepoint = savepoint
            self.record = record
            if lane.condemned and (refused := self.agent.condemned(inlet, record)) is not None:
                self.fail(refused[0], stage=refused[1])
                continue
            raw = record.value()
            try:
                value = self._missing(inlet) if raw is None else inlet.decode(raw)
            except Exception as failure:
                self._undecodable(inlet, savepoint, raw, failure)
                continue
            current_savepoint.set(savepoint)
            self.value = value  # before dedupe, whose key function may ask for the event
            if dedupe is not None:
                try:
                    duplicate = dedupe.seen(savepoint, value)
                except Exception as failure:
                    self.fail(failure, stage="handler")
                    continue
                if duplicate:
                    savepoint.outcome = ALREADY_PROCESSED
                    self.finish()
                    continue
            return value

    def finish(self) -> None:
        """The record (or batch) in hand is done. Raises Rewound when it was dropped meanwhile."""
        savepoint = self.savepoint
        if savepoint is None:
            return
        self.savepoint = None
        self._attempt_ended()
        inlet: Inlet = self._inlet  # type: ignore[assignment]  # a savepoint has an inlet
        if self._items:
            self._finish_batch(inlet, savepoint)
            return
        for header in savepoint.record.headers() or ():
            if header[0] == REPLAY_OF:
                self._answer(savepoint, (savepoint.record,))
                break
        if savepoint.entry is None:
            kept = self._admission.admit(savepoint, savepoint.record.offset() + 1)  # type: ignore[operator]  # a record read has an offset
            if inlet.attentive:
                self.agent.forget_retries(inlet, savepoint)
        else:
            kept = self._leave(inlet, savepoint)
        if not kept or self.stale:
            raise Rewound

    def _finish_batch(self, inlet: Inlet, savepoint: Savepoint) -> None:
        items = self._in_hand(savepoint)
        self.agent.counts.batched += len(items) - 1
        self._answer(savepoint, self.records if getattr(savepoint, "is_batch", False) else (savepoint.record,))
        if savepoint.entry is None:
            kept = self._admission.admit_batch(savepoint, [record_of(item) for item in items])
            if inlet.attentive:
                self.agent.forget_retries(inlet, savepoint)
        else:
            kept = self._leave(inlet, savepoint)
        if not kept or self.stale:
            raise Rewound

    def _answer(self, savepoint: Savepoint, records: Sequence[RawRecord]) -> None:
        """Say that these are resolved, where they were replayed."""
        if savepoint.is_open:
            for record in records:
                self.agent.resolved(savepoint, record, getattr(savepoint, "outcome", None))

    async def take(self, limit: int, within: float | None) -> list[object]:
        """Finish the batch in hand and return the next: 1 to `limit` values of one partition, one savepoint.

        Waits at most `within` seconds for the batch to fill once it has a record (None: until it is full). A batch that failed
        comes again record by record. Raises Rewound.
        """
        first = await anext(self)
        inlet = cast("Inlet", self._inlet)
        savepoint = cast("Savepoint", self.savepoint)
        self.records = [cast("RawRecord", self.record)]
        self.values = [first]
        self._items = [savepoint.entry or savepoint.record]
        loop = asyncio.get_running_loop()
        ends_at = None if within is None else loop.time() + within
        self.agent.counts.took(limit)
        solo = self.agent.alone_until(inlet, self.record)
        while len(self.values) < limit and not solo:
            if self.stale or savepoint.number != inlet.lane.number:
                self.savepoint = None
                raise Rewound
            if not inlet.queue:
                left = None if ends_at is None else ends_at - loop.time()
                if left is not None and left <= 0:
                    break
                if inlet.lane.paused:
                    break
                self.rest(self.since)
                await self._wait(left)
                self._work()
                continue
            if inlet.lane.condemned and self.agent.condemned(inlet, record_of(inlet.queue[0])) is not None:
                break  # it gets its dead letter alone
            failure = self._add(inlet, savepoint)
            if failure is not None:
                self.fail(failure)
                return await self.take(limit, within)
        return self.values

    def fail(self, failure: Exception, *, stage: Stage = "handler") -> None:
        """The record in hand failed: drop its buffer, then retry or dead-letter it. Returns at once."""
        savepoint = self.savepoint
        if savepoint is None:
            return
        self.savepoint = None
        savepoint.is_open = False
        self._attempt_ended()
        self.agent.counts.failed += 1
        self.agent.failed(cast("Inlet", self._inlet), savepoint, self._in_hand(savepoint), failure, stage)

    def retry_state(self) -> RetryState | None:
        """Return the attempts so far of the record in hand; None on its first."""
        if self.savepoint is None or self._inlet is None or not self._inlet.retries:
            return None
        return self._inlet.retries.get(cast("int", self.savepoint.record.offset()))

    async def wait_for_record(self) -> None:
        """Wait until some record could be started; takes none. Raises Rewound."""
        await self._pick()
        self.rest(self.since)

    def _attempt_ended(self) -> None:
        now = perf_counter()
        self.attempts += 1
        if now - self.since > QUICK:
            self.agent.work.slow.add(now - self.since)
        self.since = now

    def rest(self, now: float) -> None:
        """Nothing is in hand from `now` on."""
        if self._is_at_work:
            self._is_at_work = False
            self.agent.work.spent += self.since - self._run_since
            self.agent.work.ended(now)

    def _work(self) -> None:
        """Something is in hand from now on."""
        self.since = self._run_since = perf_counter()
        self._is_at_work = True
        self.agent.work.began(self.since)

    @property
    def spent(self) -> float:
        """Seconds of the attempts that ended in the run that goes on."""
        return self.since - self._run_since if self._is_at_work else 0.0

    def reset(self) -> None:
        """Forget what the last life of the coroutine left."""
        self.rest(perf_counter())
        self._turn += self._fresh
        self._fresh = 0  # so that the next record begins where it is picked, whatever the function does before
        self.stale = False
        self.record = None
        self.interrupted = None
        self.records = []
        self.values = []
        self._items = []
        current_savepoint.set(None)

    @property
    def items(self) -> list[RawRecord | Entry]:
        """What is in hand, in offset order; while a batch fills, what it has."""
        return [] if self.savepoint is None else self._in_hand(self.savepoint)

    def items_of(self, lane: Lane) -> list[RawRecord | Entry]:
        return self.items if self.savepoint is not None and self.savepoint.lane is lane else []

    def _in_hand(self, savepoint: Savepoint) -> list[RawRecord | Entry]:
        """Return all that `savepoint` covers, in offset order: one record, or the batch that `take` collected."""
        last = savepoint.entry or savepoint.record
        return self._items if self._items and self._items[-1] is last else [last]

    # --- starting a record

    def _may_start(self, inlet: Inlet) -> bool:
        if self.stale:
            raise Rewound
        lane = inlet.lane
        if lane.paused or not lane.running or not self._admission.gate_open:
            return False
        holder = lane.line.holder
        if holder is not None and holder is not inlet.queue[0]:
            return False
        return lane.straight or self.agent.has_room(inlet)

    async def _pick(self) -> Inlet:
        """Return an inlet whose next record may start now; waits for one."""
        inlet = self._inlet
        self.rest(self.since)
        self._turn += self._fresh  # what was not used
        self._fresh = 0
        while True:
            if self.stale:
                raise Rewound
            if self._turn <= 0:
                self._turn = RECORDS_PER_TURN
                self.agent.engine.serve()
                await asyncio.sleep(0)
                continue
            if inlet is not None and not inlet.queue:
                self.agent.engine.drained(inlet.lane)
            if inlet is not None and len(inlet.lane.line.lanes) > 1:
                # Another topic's records share the line, and their agent may sleep because this one held it: let it have a turn.
                shared, inlet = inlet.lane.line, None
                self.agent.engine.wake_line(shared)
                await asyncio.sleep(0)
                continue
            inlet = self._inlet = self.agent.pick()
            if inlet is not None:
                self._fresh = min(RECORDS_PER_LANE, self._turn)
                self._turn -= self._fresh
                self._work()
                return inlet
            self._turn = RECORDS_PER_TURN
            await self._wait(None)

    async def _wait(self, seconds: float | None) -> None:
        """Wait until something may have become ready, or for `seconds`."""
        loop = asyncio.get_running_loop()
        waiter = self.waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _settle, waiter)
        self.agent.waiters.append(self)
        try:
            await waiter
        finally:
            self.waiter = None
            if timer is not None:
                timer.cancel()
            if self in self.agent.waiters:
                self.agent.waiters.remove(self)

    def _enter(self, inlet: Inlet, item: RawRecord | Entry) -> Savepoint:
        """Start a record on a lane where records overlap or several agents read."""
        lane = inlet.lane
        if isinstance(item, Entry):
            entry = item
        else:
            entry = Entry(item, cast("int", item.offset()) + 1)
            lane.window.append(entry)
        savepoint = Savepoint(lane, entry.record, exclusive=lane.exclusive, entry=entry)
        savepoint.stage = inlet.stage
        if entry.savepoints:
            savepoint.below = list(entry.savepoints)
        entry.savepoints.append(savepoint)
        if lane.exclusive:
            lane.line.holder = entry
        lane.in_hand += 1
        return savepoint

    def _leave(self, inlet: Inlet, savepoint: Savepoint) -> bool:
        """The agent is done with an entry: the next agent's turn, or admission in offset order."""
        lane = inlet.lane
        savepoint.is_open = False
        if savepoint.number != lane.number or not lane.running:
            return False
        lane.in_hand -= 1
        self.agent.forget_retries(inlet, savepoint)
        for entry in self._in_hand(savepoint):
            self.agent.advance(inlet, cast("Entry", entry))
        return True

    def _add(self, inlet: Inlet, savepoint: Savepoint) -> Exception | None:
        """Add the lane's next record to the batch in hand; return what the batch fails with, so that its records come one by one."""
        lane = inlet.lane
        item = inlet.queue.popleft()
        if lane.straight:
            record = cast("RawRecord", item)
        else:
            entry = item if isinstance(item, Entry) else Entry(item, cast("int", item.offset()) + 1)
            if not isinstance(item, Entry):
                lane.window.append(entry)
            batch = cast("Entry", savepoint.entry)
            batch.savepoints.remove(savepoint)
            if entry.savepoints:
                savepoint.below = [*(savepoint.below or ()), *entry.savepoints]
            entry.savepoints.append(savepoint)
            savepoint.entry = entry
            record = entry.record
            if lane.exclusive:
                lane.line.holder = entry
        savepoint.record = self.record = record
        savepoint.is_batch = True
        self._items.append(savepoint.entry or record)
        raw = record.value()
        try:
            value = self._missing(inlet) if raw is None else inlet.decode(raw)
        except Exception as failure:
            explained = self._explained(inlet, raw, failure)
            if self.agent.spec.stops or self.agent.holding is not None:
                return explained
            self.agent.bury_in(savepoint, inlet, record, explained)
            return None
        try:
            if self.agent.dedupe is not None and self.agent.dedupe.seen(savepoint, value):
                self.agent.resolved(savepoint, record, ALREADY_PROCESSED)
                return None
        except Exception as failure:
            return failure
        self.records.append(record)
        self.values.append(value)
        return None

    @staticmethod
    def _missing(inlet: Inlet) -> object:
        if inlet.takes_none:
            return None
        raise DecodeFailed("the record has no value", code="no-value")

    def _undecodable(self, inlet: Inlet, savepoint: Savepoint, raw: bytes | None, failure: Exception) -> None:
        self.fail(self._explained(inlet, raw, failure), stage="decode")

    @staticmethod
    def _explained(inlet: Inlet, raw: bytes | None, failure: Exception) -> Exception:
        explain: Callable[[Exception, bytes | None], Exception] | None = inlet.source.explain
        if isinstance(failure, DecodeFailed):
            return failure
        if explain is None:
            told: Exception = DecodeFailed(f"{type(failure).__name__}: {failure}")
        else:
            told = explain(failure, raw)
        told.__cause__ = failure
        return told


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
