"""One agent at work: its actors, the lanes that have records for it, and what becomes of a record that fails."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from streamapp.errors import AgentFailed
from streamapp.events import Event, log_event
from streamapp.pipeline.breakers import Breakers
from streamapp.pipeline.burial import told_stage
from streamapp.pipeline.cursor import Cursor, Rewound
from streamapp.pipeline.dead_letter import fingerprint, named
from streamapp.pipeline.dedupe import Dedupe
from streamapp.pipeline.holding import Holding
from streamapp.pipeline.lane import Entry, Inlet, record_of
from streamapp.pipeline.measures import Counts, Work
from streamapp.pipeline.obstacles import Condemned, Place, Standing
from streamapp.pipeline.replayed import PROCESSED
from streamapp.pipeline.retry import FailureClass, RetryState, Verdict, Wait, classify, decide
from streamapp.pipeline.savepoint import Savepoint
from streamapp.pipeline.tracing import cursor_of
from streamapp.records import Outgoing, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.burial import Buried
    from streamapp.pipeline.dead_letter import Order, Reason, Stage
    from streamapp.pipeline.engine import Engine
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.spec import AgentSpec

log = logging.getLogger(__name__)

STOP_TRIES = 3
"""Times, a second apart, that an actor is told to end: a stop has ten seconds in all."""

UNIT_ENDS_SOON = 0.002
"""Seconds between two looks whether a unit that was to be committed at once is closed: only a commit under way holds that up."""

FRESH_START = 1.0
"""Seconds before a function that ended without a record is called again: a dependency that is away is not hammered."""


class AgentRun:
    """An agent of a running worker: `concurrency` actors over the inlets of all its lanes. Everything here runs on the loop."""

    def __init__(self, engine: Engine, spec: AgentSpec) -> None:
        self.engine = engine
        self.admission = engine.admission
        self.spec = spec
        self.name = spec.name
        self.retry = engine.fitted_retry(spec)
        self.sources = {source.topic: source for source in spec.sources}
        self.dedupe: Dedupe | None = (
            None if spec.dedupe is None else Dedupe(spec.dedupe, engine.dedupe_horizon(spec.dedupe.table))
        )
        self.ready: deque[Inlet] = deque()
        self.waiters: list[Cursor] = []
        self.holding = Holding(self) if spec.on_error == "block_key" else None
        self.cursors = [cursor_of(self, self.holding, engine.calls) for _ in range(spec.concurrency)]
        self.work = Work()
        self.counts = Counts(engine.error_types)
        self.breakers = None if spec.breaker is None or not spec.breaker.enabled or spec.stops else Breakers(self, spec.breaker)
        self._alone: dict[Inlet, int] = {}
        self._stopping = False
        self._watched: dict[Cursor, tuple[Savepoint, float, bool]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # --- actors

    def start(self) -> None:
        """Start the actors; each runs the agent's function until `stop`."""
        for number, cursor in enumerate(self.cursors):
            task = asyncio.get_running_loop().create_task(self._act(cursor), name=f"agent {self.name}[{number}]")
            cursor.task = task
            self._tasks.append(task)
            task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Cancel the actors and wait for them, within STOP_TRIES seconds. May be called twice."""
        self._stopping = True
        tasks, self._tasks = set(self._tasks), []
        for _ in range(STOP_TRIES):
            if not tasks:
                return
            for task in tasks:
                task.cancel()  # again where the agent swallowed it
            _, tasks = await asyncio.wait(tasks, timeout=1.0)
        log_event(
            log, logging.ERROR, Event.CLEANUP_FAILED,
            f"agent {self.name} swallows its cancellation and does not end; it is left behind", agent=self.name,
        )  # fmt: skip

    def restart(self, *, only: set[object] | None = None) -> None:
        """Make every actor start afresh (`only`: those that hold a record of these lanes): what they hold was dropped."""
        for cursor in self.cursors:
            savepoint = cursor.savepoint
            if only is not None and (savepoint is None or savepoint.lane not in only):
                continue
            if savepoint is not None:
                savepoint.is_open = False
                cursor.savepoint = None
            cursor.stale = True
            if cursor.waiter is None and cursor.task is not None and savepoint is not None:
                cursor.interrupted = Rewound()
                cursor.task.cancel()
        self.wake(len(self.cursors), all_of=True)

    async def _act(self, cursor: Cursor) -> None:
        """Run the agent's function over and over; a failure is its record's, not the worker's."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        while True:
            if cursor.interrupted is not None:
                task.uncancel()  # the agent swallowed its cancellation: it is over all the same
            cursor.reset()
            try:
                await self.spec.run(cursor)
                if cursor.savepoint is None and cursor.record is None:
                    await self._took_nothing(cursor, None)
                cursor.finish()
            except Rewound:
                continue
            except asyncio.CancelledError as cancelled:
                if self._stopping or (cursor.interrupted is None and task.cancelling()):
                    raise
                if cursor.interrupted is None:
                    # Nobody cancelled the actor: the agent awaited something that was. Left alone, it would end the actor.
                    failure: Exception = AgentFailed("the agent awaited something that was cancelled")
                    failure.__cause__ = cancelled
                    await self._raised(cursor, failure)
                    continue
                if isinstance(cursor.interrupted, Exception):
                    cursor.fail(cursor.interrupted)
            except (MemoryError, RecursionError) as failure:
                if isinstance(failure, RecursionError):
                    cursor.fail(failure)
                    continue
                raise
            except Exception as failure:  # user code: whatever it raises is this record's failure
                await self._raised(cursor, failure)

    async def _raised(self, cursor: Cursor, failure: Exception) -> None:
        if cursor.savepoint is not None:
            cursor.fail(failure)
        elif classify(failure) is FailureClass.FATAL:
            self.engine.fatal(failure)
            await self._until_record(cursor)
        elif not cursor.stale:  # else it is what a dropped attempt came to, of no record any more
            await self._took_nothing(cursor, failure)

    async def _took_nothing(self, cursor: Cursor, failure: Exception | None) -> None:
        """The function returned or raised with no record in hand: nothing to retry or to bury. Begin anew, but not at once.

        At once, a function that never awaits a record would hold the loop for ever.
        """
        if not await self._until_record(cursor):
            return
        told = "returned without taking a record" if failure is None else f"raised without a record in hand: {named(failure)}"
        log_event(
            log, logging.ERROR, Event.AGENT_RESTARTED,
            f"agent {self.name} {told}; it is started again in {FRESH_START:g} s, and records wait", agent=self.name,
        )  # fmt: skip
        await asyncio.sleep(FRESH_START)

    @staticmethod
    async def _until_record(cursor: Cursor) -> bool:
        """Wait until some record could be started; False when a rewind lets the function start afresh before that."""
        try:
            await cursor.wait_for_record()
        except Rewound:
            return False
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            self.engine.fatal(failure)

    def watch(self, now: float) -> None:
        """Look at the records in hand: name the slow ones, and end attempts that take too long. Called a few times a second.

        A record is timed from the first look that found it, by the engine's clock: a limit's quarter of a second is not worth reading it.
        """
        if self.breakers is not None:
            self.breakers.step(now)
        for cursor in self.cursors:
            savepoint = cursor.savepoint
            if savepoint is None or cursor.waiter is not None:
                self._watched.pop(cursor, None)
                continue
            seen = self._watched.get(cursor)
            if seen is None or seen[0] is not savepoint:
                self._watched[cursor] = (savepoint, now, False)
                if cursor.interrupted is not None and cursor.task is not None:
                    # An earlier record's attempt swallowed its cancellation and went on: this one is timed like any other.
                    cursor.interrupted = None
                    cursor.task.uncancel()
                continue
            _, since, named = seen
            if not named and now - since >= self.engine.warn_after:
                self._watched[cursor] = (savepoint, since, True)
                log_event(
                    log, logging.WARNING, Event.SLOW_RECORD,
                    f"{savepoint.lane}@{savepoint.record.offset()} has been with agent {self.name} for {now - since:.0f} s",
                    topic=savepoint.lane.partition.topic, partition=savepoint.lane.partition.number,
                    offset=savepoint.record.offset(), agent=self.name,
                )  # fmt: skip
            state = cursor.retry_state()
            limit = self.retry.attempt_timeout if state is None else state.timeout(self.retry, since)
            if now - since >= limit and cursor.task is not None and cursor.interrupted is None:
                cursor.interrupted = TimeoutError(f"agent {self.name} did not finish the record within {limit:g} s")
                cursor.task.cancel()

    def in_hand_for(self, savepoint: Savepoint) -> float:
        """Return for about how many seconds the record has been in hand."""
        for seen, since, _ in self._watched.values():
            if seen is savepoint:
                return self.engine.clock.monotonic() - since
        return 0.0

    # --- which record is next

    def pick(self) -> Inlet | None:
        """Return an inlet whose first record may start now, the lanes in turn; None when there is none."""
        if not self.admission.gate_open:
            return None
        ready = self.ready
        for _ in range(len(ready)):
            inlet = ready.popleft()
            if not inlet.queue:
                inlet.is_ready = False
                continue
            ready.append(inlet)
            lane = inlet.lane
            if not lane.running or (lane.paused and (inlet.probe is None or not self._probes(inlet))):
                continue
            if lane.line.holder is not None and lane.line.holder is not inlet.queue[0]:
                continue
            if not lane.straight and not self.has_room(inlet):
                continue
            if len(ready) > 1 and self.waiters:
                self.wake(1)
            return inlet
        return None

    def _probes(self, inlet: Inlet) -> bool:
        return self.breakers is not None and self.breakers.lets_through(inlet)

    def holds(self, lane: Lane) -> bool:
        """Return whether a record of `lane` is in hand here."""
        return any(cursor.savepoint is not None and cursor.savepoint.lane is lane for cursor in self.cursors)

    def has_room(self, inlet: Inlet) -> bool:
        """Return whether the inlet's first record may join its lane's window: at the bound, only one that is in it already."""
        lane = inlet.lane
        return isinstance(inlet.queue[0], Entry) or (len(lane.window) < self.engine.lane_bound and not lane.drains)

    def offer(self, inlet: Inlet, records: int) -> None:
        """`inlet` has records: put it in the round and wake as many actors as there are records."""
        if not inlet.is_ready:
            inlet.is_ready = True
            self.ready.append(inlet)
        if self.waiters:
            self.wake(records)

    def wake(self, actors: int, *, all_of: bool = False) -> None:
        """Let waiting actors look again."""
        for _ in range(len(self.waiters) if all_of else min(actors, len(self.waiters))):
            waiter = self.waiters.pop(0).waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def close_inlet(self, inlet: Inlet) -> None:
        """Forget an inlet whose lane is gone."""
        inlet.queue.clear()
        inlet.retries.clear()
        inlet.standing = None
        self._alone.pop(inlet, None)
        if inlet.is_ready:
            inlet.is_ready = False
            self.ready.remove(inlet)

    # --- done

    def advance(self, inlet: Inlet, entry: Entry) -> None:
        """This agent is done with `entry`: hand it to the next one, or admit what is done in offset order."""
        lane = inlet.lane
        entry.stage += 1
        if entry.stage < len(lane.inlets):
            following = lane.inlets[entry.stage]
            if lane.exclusive:
                following.queue.appendleft(entry)  # it has the line: what waits there for a turn of its own cannot go first
            else:
                following.queue.append(entry)
            following.agent.offer(following, 1)
            return
        entry.done = True
        self.engine.admit_window(lane)

    def resolved(self, savepoint: Savepoint, record: RawRecord, outcome: str | None) -> None:
        """The agent is done with `record`: where it was replayed, its savepoint says what became of it."""
        row = self.engine.answers.resolved(self.spec, record, outcome)
        if row is not None:
            self.counts.settled(outcome or PROCESSED)
            savepoint.send(row)

    def forget_retries(self, inlet: Inlet, savepoint: Savepoint) -> None:
        """The record is done: its attempts no longer count, unless its outputs are refused."""
        offset = cast("int", savepoint.record.offset())
        savepoint.tries = tries = inlet.retries.pop(offset, None)
        if tries is not None:
            self.engine.letters.sent(
                inlet, offset, Condemned(None, tries)
            )  # no letter, but its attempts count on if its unit is dropped
        if self.breakers is not None:
            self.breakers.done(inlet, savepoint)
        inlet.attentive = bool(inlet.retries) or (inlet.breaker is not None and inlet.breaker.listens)

    def condemned(self, inlet: Inlet, record: RawRecord) -> tuple[Exception, Stage] | None:
        """Return what `record` fails with, without a call, and at which stage; None when it may be tried."""
        offset = cast("int", record.offset())
        found = inlet.lane.condemned.get(Place(inlet.stage, offset))
        if found is None or found.failure is None:
            return None
        if found.tries is not None:
            inlet.retries[offset] = replace(found.tries)
            inlet.attentive = True
        return found.failure, found.stage

    def split_batch(self, inlet: Inlet, until: int) -> None:
        """A batch that ended before `until` failed: its records come one by one."""
        self._alone[inlet] = until

    def alone_until(self, inlet: Inlet, record: RawRecord | None) -> bool:
        """Return whether `record` belongs to a batch that failed and now comes record by record, or keys are blocked."""
        if self.holding is not None and self.holding.blocks(inlet):
            return True
        until = self._alone.get(inlet)
        if until is None or record is None:
            return False
        if cast("int", record.offset()) < until:
            return True
        del self._alone[inlet]
        return False

    # --- failed

    def failed(
        self, inlet: Inlet, savepoint: Savepoint, items: list[RawRecord | Entry], failure: Exception, stage: Stage
    ) -> None:
        """A record's buffer is dropped: put it back, then wait for the next attempt or write its dead letter."""
        lane = inlet.lane
        if not lane.straight:
            self._release(inlet, savepoint, items)
        elif lane.line.holder is savepoint:
            lane.line.holder = None
        if savepoint.number != lane.number or not lane.running:
            return  # dropped by a rewind or a revoke meanwhile: it will be read again, here or elsewhere
        kind = classify(failure, permanent=self.retry.permanent, transient=self.retry.transient)
        if kind <= FailureClass.ENGINE:
            if kind is FailureClass.FATAL:
                self.engine.fatal(failure)
            self._put_back(inlet, items)
            return
        if len(items) > 1:
            self.split_batch(inlet, cast("int", record_of(items[-1]).offset()) + 1)
            self._put_back(inlet, items)
            return
        record = savepoint.record
        offset = cast("int", record.offset())
        state = inlet.retries.setdefault(offset, self._new_state(savepoint))
        inlet.attentive = True
        calls = self.engine.calls
        if calls is not None:
            state.trace_id = calls.trace_of(self.name, lane.partition, offset) or state.trace_id
        found = lane.condemned.get(Place(inlet.stage, offset)) if lane.condemned else None
        if found is not None and found.reason is not None:
            del inlet.retries[offset]
            self._bury(inlet, items[0], record, state, found.reason, failure, stage)
            return
        self._count(state, stage)
        if self.breakers is not None and self.breakers.keeps(inlet, offset, state, kind, failure):
            self._put_back(inlet, items)
            return
        match decide(self.retry, state, failure, now=self.engine.clock.monotonic(), random=random.random):
            case Wait(seconds=seconds):
                if calls is not None:
                    calls.retried(self.name, lane.partition, offset, state.calls, failure, seconds)
                self._put_back(inlet, items)
                self._say_retried(lane, offset, state, failure, stage, seconds)
                self._back_off(inlet, offset, seconds, failure)
            case Verdict(outage=float() as seconds) if self.breakers is not None:
                self._put_back(inlet, items)
                self.breakers.outage(inlet, offset, state, seconds, failure)
            case Verdict() as verdict:
                del inlet.retries[offset]
                if self.breakers is not None:
                    self.breakers.verdict(inlet, offset, kind, failure)
                self._bury(inlet, items[0], record, state, verdict.reason, failure, stage)

    def bury_in(self, savepoint: Savepoint, inlet: Inlet, record: RawRecord, failure: Exception) -> None:
        """A record inside a batch cannot be decoded: its dead letter joins the batch's savepoint."""
        state = self._new_state(savepoint)
        self._count(state, "decode")
        burial = self.engine.burial.letter(self.spec, record, state, "permanent", failure, "decode")
        if burial is not None:
            verdict = Condemned(failure, state, stage="decode", reason="permanent", letter=burial.told)
            self.engine.letters.sent(inlet, cast("int", record.offset()), verdict)
            savepoint.send(burial.outgoing)
            self._reopen(savepoint, record)

    def _new_state(self, savepoint: Savepoint) -> RetryState:
        # As the watch over records in hand counts, which ends attempts.
        return RetryState(started=self.engine.clock.monotonic() - self.in_hand_for(savepoint))

    def _count(self, state: RetryState, stage: Stage) -> None:
        if stage not in ("decode", "process"):
            state.attempts += 1
        if state.first_failed_at is None:
            state.first_failed_at = self.engine.clock.wall()

    def _release(self, inlet: Inlet, savepoint: Savepoint, items: list[RawRecord | Entry]) -> None:
        lane = inlet.lane
        if savepoint.number != lane.number:
            return
        lane.in_hand -= 1
        holder: Entry | None = None
        for entry in items:
            if isinstance(entry, Entry):
                entry.savepoints = [kept for kept in entry.savepoints if kept is not savepoint]
                if entry.savepoints:
                    holder = entry
        if lane.exclusive:
            lane.line.holder = holder

    def _put_back(self, inlet: Inlet, items: list[RawRecord | Entry]) -> None:
        inlet.queue.extendleft(reversed(items))
        self.offer(inlet, 1)

    def _say_retried(self, lane: Lane, offset: int, state: RetryState, failure: Exception, stage: Stage, seconds: float) -> None:
        self.counts.retried(failure)
        if not log.isEnabledFor(logging.INFO):
            return
        log_event(
            log, logging.INFO, Event.RECORD_RETRIED,
            f"{lane}@{offset}: attempt {state.calls} of agent {self.name} failed, the next one in {seconds:.2g} s: {type(failure).__name__}",
            topic=lane.partition.topic, partition=lane.partition.number, offset=offset, agent=self.name, attempt=state.calls,
            error_type=type(failure).__name__, fingerprint=fingerprint(failure, told_stage(stage, failure)), delay=round(seconds, 3),
        )  # fmt: skip

    def _back_off(self, inlet: Inlet, offset: int, seconds: float, failure: Exception) -> None:
        """The partition stands still until the next attempt, which joins a later unit than the one that is open now.

        What was done before is committed early, so that it is safe and the wait holds no transaction open.
        """
        lane = inlet.lane
        number = lane.number
        reason = f"retry of {offset} by {self.name}"
        lane.pause(reason, kind="retrying", agent=self.name, offset=offset, detail=type(failure).__name__)
        unit = self.admission.unit
        begun = not unit.is_empty
        self.engine.commit_soon(within=seconds)
        loop = asyncio.get_running_loop()

        def again() -> None:
            if lane.number != number:
                return
            if begun and self.admission.unit is unit:
                self.engine.commit_soon(within=0.0)
                loop.call_later(UNIT_ENDS_SOON, again)
                return
            lane.unpause(reason)
            self.engine.wake_line(lane.line)

        loop.call_later(seconds, again)

    def _bury(
        self,
        inlet: Inlet,
        item: RawRecord | Entry,
        record: RawRecord,
        state: RetryState,
        reason: Reason,
        failure: Exception,
        stage: Stage,
        *,
        answer: Outgoing | None = None,
        alone: bool = False,
    ) -> None:
        """The record's dead letter and its offset go into one unit; a record that may not be buried stops its partition.

        `answer`: what whoever asked for the dead letter of a stopped partition is told beside it.
        """
        lane = inlet.lane
        order: Order = "skipped" if answer is None else "stopped"
        if self.holding is not None and answer is None:
            if self.holding.stands_at(inlet, item, record):
                return
            order = self.holding.order(inlet, record)
        burial: Buried | None = None
        found = lane.condemned.get(Place(inlet.stage, cast("int", record.offset()))) if lane.condemned else None
        refused = 0 if found is None else found.letters
        if refused < 2 and (not self.spec.stops or answer is not None):
            burial = self.engine.burial.letter(
                self.spec, record, state, reason, failure, stage, max_bytes=1 if refused else None, order=order,
            )  # fmt: skip
        if self.engine.calls is not None:
            self.engine.calls.failed(self.name, lane.partition, cast("int", record.offset()), failure, reason)
        if found is not None and found.unwritten and not alone and answer is None:
            self._put_back(inlet, [item])
            self.engine.letters.wait(inlet, cast("int", record.offset()), found)
            return
        if burial is None:
            self._put_back(inlet, [item])
            self._stand(inlet, Condemned(failure, state, letters=refused, stage=stage, reason=reason), record)
            return
        letter = burial.outgoing
        verdict = Condemned(failure, state, letters=refused, stage=stage, reason=reason, letter=burial.told)
        if found is not None and found.unwritten:
            verdict = replace(verdict, unwritten=found.unwritten, since=found.since)
        self.counts.buried += 1
        self.engine.letters.sent(inlet, cast("int", record.offset()), verdict)
        savepoint = Savepoint(lane, record, exclusive=lane.exclusive, entry=item if isinstance(item, Entry) else None)
        savepoint.stage = inlet.stage
        savepoint.is_letter = True
        savepoint.send(letter)
        self._reopen(savepoint, record)
        if answer is not None:
            savepoint.send(answer)
        elif self.holding is not None:
            self.holding.bury(inlet, savepoint, letter)
        savepoint.is_open = False
        if isinstance(item, Entry):
            if lane.exclusive:
                lane.line.holder = item  # let go when the attempt failed: it is the next agent's turn, not the next record's
            item.savepoints.append(savepoint)
            self.advance(inlet, item)
        else:
            self.admission.admit(savepoint, cast("int", record.offset()) + 1)
            self.offer(inlet, 1)

    def _reopen(self, savepoint: Savepoint, record: RawRecord) -> None:
        """Beside a dead letter: where it is the next of a replayed record, it says so."""
        row = self.engine.answers.reopened(self.spec, record)
        if row is not None:
            self.counts.settled("reopened")
            savepoint.send(row)

    def bury_standing(self, inlet: Inlet, answer: Outgoing) -> bool:
        """Dead-letter the record on which the inlet's partition stands, with `answer` in its unit, and go on.

        False where it has nowhere to go. Only while nothing else is in hand on its line.
        """
        standing, lane = inlet.standing, inlet.lane
        refused = lane.condemned.get(Place(inlet.stage, standing.offset)) if standing is not None else None
        if standing is None or self.spec.dlq is None or (refused is not None and refused.letters >= 2):
            return False
        item = inlet.queue.popleft()
        record = record_of(item)
        inlet.standing = None
        if standing.pause is not None:
            lane.unpause(standing.pause)
            log_event(
                log, logging.WARNING, Event.LANE_RESUMED,
                f"{lane}@{standing.offset}: dead-lettered on request, its partition goes on",
                topic=lane.partition.topic, partition=lane.partition.number, offset=standing.offset, agent=self.name,
            )  # fmt: skip
        self._bury(inlet, item, record, standing.state, "taken", standing.failure, standing.stage, answer=answer)
        self.engine.wake_line(lane.line)
        return True

    def bury_alone(self, inlet: Inlet, verdict: Condemned) -> None:
        """Write the dead letter of the record at the inlet's head, whose verdict has fallen."""
        item = inlet.queue.popleft()
        record = record_of(item)
        state = verdict.tries or RetryState(started=self.engine.clock.monotonic())
        self._bury(
            inlet,
            item,
            record,
            state,
            cast("Reason", verdict.reason),
            cast("Exception", verdict.failure),
            verdict.stage,
            alone=True,
        )

    def _stand(self, inlet: Inlet, verdict: Condemned, record: RawRecord) -> None:
        """The partition stands at the record, which is not called again: not after a rewind either, only by another owner."""
        lane, offset, failure = inlet.lane, cast("int", record.offset()), cast("Exception", verdict.failure)
        place = Place(inlet.stage, offset)
        pause = f"stopped at {offset} by {self.name}: {type(failure).__name__}"
        known = lane.condemned.get(place)
        since = verdict.since if known is None or known.reason is None else known.since
        detail = type(failure).__name__ if verdict.letters < 2 else f"{self.spec.dlq} refuses its dead letter"
        lane.pause(pause, kind="stopped", since=since, agent=self.name, offset=offset, detail=detail)
        inlet.standing = Standing(offset, cast("RetryState", verdict.tries), failure, verdict.stage, pause)
        if known is not None and known.reason is not None:
            return  # read again after a rewind, and said before
        with self.admission.lock:  # committing thins it out
            lane.condemned[place] = verdict
        way_out = "mend the cause and restart the worker"
        if verdict.letters >= 2:
            why = f"cannot write its dead letter, {self.spec.dlq} refuses it"
        elif self.spec.dlq is None:
            why = "reads dead letters and has no dead-letter topic of its own"
        else:
            why = 'stops at failures (on_error="stop")'
            way_out += f", or dead-letter the record: streamapp dlq take {lane.partition.topic}/{lane.partition.number}/{offset} --execute"
        log_event(
            log, logging.ERROR, Event.LANE_STOPPED,
            f"{lane}@{offset}: agent {self.name} {why}, so its partition stands here: "
            f"{named(failure)}; {way_out}",
            topic=lane.partition.topic, partition=lane.partition.number, offset=offset, agent=self.name,
            error_type=type(failure).__name__,
        )  # fmt: skip
