"""The engine: agents over lanes, admission, transactions. What the shell starts and stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from streamapp.clock import Clock, Deadline, SystemClock
from streamapp.errors import DeliveryFailed, Fatal, OutputRejected, StateUnusable, StreamAppError, TableNotHere, ValidationFailed
from streamapp.events import Event, log_event
from streamapp.pipeline.admission import Admission
from streamapp.pipeline.dead_letter import DeadLetterTopic, Failure, Stage, Writer, bury
from streamapp.pipeline.dedupe import Expiry
from streamapp.pipeline.group import Group, TableRestore
from streamapp.pipeline.partitioner import partition_of
from streamapp.pipeline.process import AgentRun
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.pipeline.table import TableHandle
from streamapp.pipeline.tick import LineBusy, TickSavepoint
from streamapp.pipeline.transaction import TransactionThread
from streamapp.pipeline.unit_of_work import Tick, UnitOfWork
from streamapp.records import Outgoing, Partition, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Lane, Line
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.retry import Reason, Retry, RetryState
    from streamapp.pipeline.spec import AgentSpec, SourceSet, TableSpec
    from streamapp.ports import OffsetReader, PartitionSource, SourceListener, TransactionalProducer

log = logging.getLogger(__name__)

WATCH_INTERVAL = 0.25
"""Seconds between looks at records in hand and at expired marks."""

EXPIRY_SCAN = 2_000
"""Marks looked at in one step: some 3 ms of the loop."""

TICK_TRIES = 100
"""Times a timer's run is begun anew because a record was in hand where it touched a table."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What the engine needs to know, in seconds and bytes; `application` takes it from the settings."""

    app_id: str
    worker_id: str
    version: str
    transactional_id: str
    exactly_once: bool
    commit_interval: float
    commit_every: int | None
    transaction_timeout: float
    max_poll_interval: float
    lane_bound: int
    overlay_max_bytes: int
    warn_after: float
    auto_offset_reset: str
    max_record_bytes: int


@dataclass(frozen=True, kw_only=True)
class EngineParts:
    """The concrete classes, as factories: the pipeline knows ports only."""

    producer: Callable[[], TransactionalProducer]
    """Makes a producer that has taken over the transactional.id (or an idempotent one). Blocks; called on a thread."""
    source: Callable[[SourceSet, SourceListener], PartitionSource]
    offsets: Callable[[], OffsetReader]
    restore: TableRestore
    spare_producer: Callable[[], TransactionalProducer]
    """An idempotent producer for sends of a worker that owns nothing: no offset could fence them."""
    dlq_partitions: Mapping[str, int]
    """Partition counts of the dead-letter topics."""
    dlq_max_bytes: Mapping[str, int]
    partitions: Mapping[str, int]
    """Partition counts of the source topics."""
    clock: Clock = field(default_factory=SystemClock)


class EngineListener(Protocol):
    """What the shell wants to know. Called on the loop."""

    def on_assigned(self, partitions: set[Partition]) -> None: ...
    def on_revoked(self, partitions: set[Partition]) -> None: ...
    def on_restored(self, partitions: set[Partition]) -> None: ...


class Engine:
    """One worker's engine. Everything public is called on the loop unless it says otherwise."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        sets: Sequence[SourceSet],
        agents: Sequence[AgentSpec],
        tables: Sequence[TableSpec],
        parts: EngineParts,
        listener: EngineListener | None = None,
    ) -> None:
        self.settings = settings
        self.clock = parts.clock
        self.lane_bound = settings.lane_bound
        self.warn_after = settings.warn_after
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._parts = parts
        self._sets = list(sets)
        self._listener = listener
        self._tables = {table.name: table for table in tables}
        self._admission = Admission(parts.clock, overlay_max_bytes=settings.overlay_max_bytes, every=settings.commit_every)
        self._admission.interval = settings.commit_interval
        self._admission.opened = self._gate_opened
        self._agents = [AgentRun(self, spec) for spec in agents]
        self._agents_of: dict[str, list[AgentRun]] = {}
        for agent in self._agents:
            for topic in agent.sources:
                self._agents_of.setdefault(topic, []).append(agent)
        self._set_names = {topic: source_set.name for source_set in self._sets for topic in source_set.topics}
        self._transactions = TransactionThread(
            self._admission,
            parts.producer,
            self,
            parts.clock,
            transaction_timeout=settings.transaction_timeout,
            exactly_once=settings.exactly_once,
        )
        self.group = Group(
            admission=self._admission,
            agents_of=lambda topic: self._agents_of[topic],
            tables_of=self._tables_of,
            set_of=lambda topic: self._set_names[topic],
            partitions=parts.partitions,
            offsets=parts.offsets,
            restore=parts.restore,
            events=self,
            commit_now=self._transactions.commit_now,
            auto_offset_reset=settings.auto_offset_reset,
            revoke_grace=min(2.0, settings.max_poll_interval * 0.05),
            revoke_budget=min(settings.max_poll_interval * 0.25, settings.transaction_timeout),
        )
        self._sources: list[PartitionSource] = []
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(
            app=settings.app_id,
            group=settings.app_id,
            worker=settings.worker_id,
            version=settings.version,
            transactional_id=settings.transactional_id,
        )
        self._expiries: dict[TablePartition, Expiry] = {}
        self._task_writes: list[tuple[str, bytes, bytes | None]] = []
        self._rerun: set[asyncio.Task[None]] = set()
        self._watching: asyncio.TimerHandle | None = None
        self._spare: TransactionalProducer | None = None
        self._stopped = False
        self.dead_letters = 0

    # --- life

    async def start(self) -> None:
        """Take over the transactional.id, then join the group. Raises what the broker says; then everything is closed again."""
        try:
            # Before the subscription: a restore would wait for the dead predecessor's transaction.
            await self._loop.run_in_executor(None, self._transactions.start)
            for agent in self._agents:
                agent.start()
            self._admission.open_gate("not started")
            for source_set in self._sets:
                source = self._parts.source(source_set, self.group)
                self._sources.append(source)
                source.start()
        except BaseException:
            await self.stop(finish=False)
            raise
        self._watch()

    def add_set(self, source_set: SourceSet) -> None:
        """Begin to read a source set whose topics were missing at start."""
        self._set_names.update(dict.fromkeys(source_set.topics, source_set.name))
        source = self._parts.source(source_set, self.group)
        self._sources.append(source)
        source.start()

    async def stop(self, *, finish: bool = True) -> None:
        """Finish what is in hand (for at most an attempt's time), commit, leave. May be called twice, and before `start`."""
        if self._stopped:
            return
        self._stopped = True
        if self._watching is not None:
            self._watching.cancel()
        self._admission.close_gate("stopping")
        if finish and not self.failure.done():
            longest = max((agent.retry.attempt_timeout for agent in self._agents), default=0.0)
            deadline = Deadline.after(longest)
            while self._in_hand() and not deadline.passed:
                self._watch_records()
                await asyncio.sleep(0.01)
            await self._settled(self._transactions.commit_now(), Deadline.after(self.settings.transaction_timeout))
        for agent in self._agents:
            await agent.stop()
        closing = Deadline.after(8.0)
        await asyncio.gather(*(self._loop.run_in_executor(None, source.stop, closing) for source in self._sources))
        await self._loop.run_in_executor(None, self._transactions.stop, Deadline.after(5.0))
        await self.group.stop()
        for task in list(self._rerun):
            task.cancel()
        spare, self._spare = self._spare, None
        if spare is not None:
            await self._loop.run_in_executor(None, _flush_and_close, spare)

    def fatal(self, failure: BaseException) -> None:
        """The engine cannot go on: the shell stops the worker with this. Any thread."""
        self._loop.call_soon_threadsafe(self._fail, failure)

    def _fail(self, failure: BaseException) -> None:
        if not self.failure.done():
            self._admission.close_gate("failed")
            self.failure.set_result(failure)

    @staticmethod
    async def _settled(asked: Future[bool], deadline: Deadline) -> bool:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), deadline.left)
        except TimeoutError:
            return False

    def _in_hand(self) -> bool:
        return any(cursor.savepoint is not None for agent in self._agents for cursor in agent.cursors)

    # --- what the shell asks

    @property
    def ready(self) -> bool:
        """Whether every lane runs; a spare without partitions is ready once it has joined."""
        return len(self.group.joined) == len(self._sources) > 0 and all(lane.running for lane in list(self.group.lanes.values()))

    def assignment(self) -> set[Partition]:
        return set(self.group.lanes)

    def restored(self) -> set[Partition]:
        return {partition for partition, lane in self.group.lanes.items() if lane.running}

    def leader_lane(self) -> Lane | None:
        """Return the lane of partition 0 of the first source topic by name, if it runs here: its owner is the leader."""
        topics = sorted(self._set_names)
        lane = self.group.lanes.get(Partition(topics[0], 0)) if topics else None
        return lane if lane is not None and lane.running and not lane.paused else None

    def is_leader(self) -> bool:
        return self.leader_lane() is not None

    def table(self, name: str) -> TableHandle:
        return TableHandle(self, self._tables[name])

    def table_partitions(self, name: str) -> list[TablePartition]:
        return self.group.table_partitions(name)

    def counters(self) -> dict[str, int]:
        """Return what happened so far."""
        return {
            "commits": self._transactions.commits,
            "aborts": self._transactions.aborts,
            "producer_rebuilds": self._transactions.rebuilds,
            "dead_letters": self.dead_letters,
            "dedupe_hits": sum(agent.dedupe.hits for agent in self._agents if agent.dedupe is not None),
        }

    # --- the record path, for cursors and agents

    @property
    def gate_open(self) -> bool:
        return self._admission.gate_open

    def admit(self, savepoint: Savepoint, next_offset: int) -> bool:
        return self._admission.admit(savepoint, next_offset)

    def admit_window(self, lane: Lane) -> None:
        """Admit what is done at the head of a lane where records overlap, in offset order."""
        window = lane.window
        while window and window[0].done:
            entry = window.popleft()
            if not self._admission.admit_all(lane, entry.savepoints, entry.upto):
                return
            if lane.line.holder is entry:
                lane.line.holder = None
        if lane.exclusive:
            if lane.line.holder is not None and getattr(lane.line.holder, "done", False):
                lane.line.holder = None
            self.wake_line(lane.line)
        if not window:
            self.drained(lane)

    def serve(self) -> None:
        self._admission.serve()

    def drained(self, lane: Lane) -> None:
        """Nothing waits on the lane: commit the tail of control records away, so that lag ends at 0."""
        end = lane.end_seen
        if end <= lane.next_offset and not lane.unresolved:
            return
        if not lane.running or lane.paused or lane.window or lane.waiting or lane.line.holder is not None:
            return
        lane.unresolved = False
        self._admission.reach(lane, max(end, lane.next_offset))

    def commit_soon(self, within: float) -> None:
        """Commit early unless the regular commit falls within `within` seconds anyway: a wait holds no transaction open."""
        if within < self.settings.commit_interval:
            return
        self._admission.commit_by(self.clock.monotonic())

    def wake_line(self, line: Line) -> None:
        """A line or a lane became free: let the agents that wait for it look again."""
        for lane in line.lanes:
            for inlet in lane.inlets:
                if inlet.queue:
                    inlet.agent.offer(inlet, 1)

    def fitted_retry(self, spec: AgentSpec) -> Retry:
        return spec.retry.fitted(
            transaction_timeout=self.settings.transaction_timeout,
            max_poll_interval=self.settings.max_poll_interval,
            agent=spec.name,
        )

    def dedupe_horizon(self, table: str) -> float:
        horizon = self._tables[table].horizon
        if horizon is None:
            raise Fatal(f"table {table} is no dedupe table")
        return horizon

    def dead_letter(
        self,
        spec: AgentSpec,
        record: RawRecord,
        state: RetryState,
        reason: Reason,
        failure: Exception,
        stage: Stage,
        max_bytes: int | None = None,
    ) -> Outgoing | None:
        """Return the dead letter of a record that failed for good, or None when the agent has no dead-letter topic."""
        if spec.dlq is None:
            return None
        now = self.clock.wall()
        burial = bury(
            record,
            Failure(
                agent=spec.name,
                exception=failure,
                stage=_stage(stage, failure),
                reason=reason,
                attempts=state.attempts,
                first_failed_at=now if state.first_failed_at is None else state.first_failed_at,
                failed_at=now,
            ),
            writer=self._writer,
            topic=DeadLetterTopic(
                name=spec.dlq,
                partitions=self._parts.dlq_partitions[spec.dlq],
                max_bytes=max_bytes or self._parts.dlq_max_bytes.get(spec.dlq, self.settings.max_record_bytes),
            ),
        )
        self.dead_letters += 1
        log_event(
            log, logging.WARNING, Event.RECORD_DEAD_LETTERED,
            f"{burial.position}: dead-lettered to {spec.dlq}, {reason} after {state.attempts} attempts: {type(failure).__name__}",
            topic=burial.position.topic, partition=burial.position.partition, offset=burial.position.offset, agent=spec.name,
            dlq_id=burial.id, fingerprint=burial.fingerprint, error_type=type(failure).__name__, attempt=state.attempts,
        )  # fmt: skip
        if "value" in burial.truncated:
            log_event(
                log, logging.WARNING, Event.DEAD_LETTER_CUT,
                f"{burial.id}: the value did not fit into {spec.dlq} and was left out; a replay needs it from the source topic",
                dlq_id=burial.id,
            )  # fmt: skip
        return burial.outgoing

    # --- ticks, tasks, views

    async def tick(self, function: Callable[[], Awaitable[None]], *, name: str, on_leader: bool = False) -> None:
        """Run a timer's function as a savepoint that joins the unit. Run anew when it meets a busy line, or its unit is aborted.

        Raises what the function raises; nothing of that run is sent or written.
        """
        held: list[Lane] = []
        for _ in range(TICK_TRIES):
            await self._acquire(held)
            savepoint = TickSavepoint(self, name, held, int(self.clock.wall() * 1000))
            for lane in held:
                lane.line.holder = savepoint
            token = current_savepoint.set(savepoint)
            try:
                await function()
            except LineBusy as busy:
                held = sorted({*held, busy.lane}, key=lambda lane: lane.partition)
                savepoint.release()
                continue
            except BaseException:
                savepoint.release()
                raise
            finally:
                current_savepoint.reset(token)
            savepoint.is_open = False
            admitted = self._admit_tick(savepoint, Tick(function, name, on_leader))
            savepoint.release()
            if admitted:
                return
            held = []
            await asyncio.sleep(0)
        raise Fatal(f"timer {name}: its lines stayed busy for {TICK_TRIES} runs")

    async def _acquire(self, lanes: Sequence[Lane]) -> None:
        while any(lane.line.holder is not None or lane.in_hand for lane in lanes):
            for lane in lanes:
                lane.pause("timer")
            await asyncio.sleep(0.001)  # a record in hand ends within its attempt's time; the lane starts no other meanwhile
        for lane in lanes:
            lane.unpause("timer")

    def _admit_tick(self, savepoint: TickSavepoint, tick: Tick | None) -> bool:
        if not savepoint.outputs and not savepoint.writes:
            return True
        lanes = [other for lane in savepoint.held for other in lane.line.lanes]
        if tick is not None and tick.on_leader:
            leader = self.leader_lane()
            if leader is None:
                return True  # no longer ours to do: whoever leads now ticks for itself
            lanes.append(leader)
        if not lanes:
            anchor = next((lane for lane in self.group.lanes.values() if lane.running and not lane.paused), None)
            if anchor is None:
                self._send_spare(savepoint.outputs or [])
                return True
            lanes = [anchor]
        return self._admission.admit_tick(savepoint, [(lane, lane.number) for lane in dict.fromkeys(lanes)], tick)

    def send(self, outgoing: Outgoing) -> None:
        """Send from a task or a view: a savepoint of its own that joins the unit; without partitions, an idempotent producer."""
        savepoint = TickSavepoint(self, "task", [], int(self.clock.wall() * 1000))
        savepoint.send(outgoing)
        if not self._admit_tick(savepoint, None):
            self._send_spare([outgoing])

    def _send_spare(self, outputs: Sequence[Outgoing]) -> None:
        if self._spare is None:
            self._spare = self._parts.spare_producer()
        for outgoing in outputs:
            while not self._spare.produce(outgoing):
                self._spare.wait(0.01)
        self._spare.serve()

    def lane_of_key(self, table: str, key: bytes) -> Lane | None:
        """Return the running lane whose partition of `table` the key belongs to (murmur2, as for a record with that key)."""
        for topic in self._tables[table].topics:
            lane = self.group.lanes.get(Partition(topic, partition_of(key, self._parts.partitions[topic])))
            if lane is not None and lane.running and table in lane.tables:
                return lane
        return None

    def read_committed_value(self, table: str, key: bytes) -> bytes | None:
        """Return what is committed under `key`. Raises TableNotHere."""
        lane = self.lane_of_key(table, key)
        if lane is None:
            raise TableNotHere(f"table {table}: the partition of this key is not on this worker")
        return lane.tables[table].store.get(key)

    def write_from_task(self, table: str, key: bytes, value: bytes | None) -> None:
        """Write outside any record: a savepoint of its own, as soon as the record in hand there is done. Raises TableNotHere."""
        if self.lane_of_key(table, key) is None:
            raise TableNotHere(
                f"table {table}: the partition of this key is not on this worker; write it from an agent or a timer"
            )

        async def write() -> None:
            self.table(table).put(key, value)

        self._run_again(Tick(write, f"write to {table}", on_leader=False))

    def _run_again(self, tick: Tick) -> None:
        async def run() -> None:
            try:
                await self.tick(tick.function, name=tick.name, on_leader=tick.on_leader)
            except Exception as failure:  # user code
                log_event(log, logging.ERROR, Event.TASK_FAILED, f"{tick.name}: {failure!r}")

        task = self._loop.create_task(run(), name=tick.name)
        self._rerun.add(task)
        task.add_done_callback(self._rerun.discard)

    # --- TransactionListener: on the transaction thread

    def still_owned(self, unit: UnitOfWork) -> list[Lane]:
        return self.group.still_owned(unit)

    def unit_committed(self, unit: UnitOfWork, refused: dict[TablePartition, Exception]) -> None:
        for partition, failure in refused.items():
            log_event(
                log, logging.ERROR, Event.APPLY_FAILED,
                f"{partition}: committed, but the disk refused it; restoring it: {failure}", table=partition.table, partition=partition.number,
            )  # fmt: skip

    def closing_units(self) -> None:
        self.group.stop_admission()

    def units_dropped(self, cause: Exception, units: Sequence[UnitOfWork], *, unknown: bool) -> None:
        if isinstance(cause, DeliveryFailed) and cause.too_large:
            self._isolate(units[0], cause)
        self._loop.call_soon_threadsafe(self._restart_actors, [tick for unit in units for tick in unit.ticks])
        # Whatever has to be asked or restored first goes the long way; a plain abort only seeks.
        if unknown or isinstance(cause, StateUnusable):
            self.group.recover_all()
        else:
            self.group.rewind()

    def stopped_for(self, failure: BaseException) -> None:
        self.fatal(failure)

    def _isolate(self, unit: UnitOfWork, cause: DeliveryFailed) -> None:
        """The broker refused a record for its size: commit record by record until the one is found, then bury it."""
        if unit.records == 1 and len(unit.lanes) >= 1:
            lane = next(iter(unit.lanes))
            lane.condemned = (unit.lanes[lane] - 1, OutputRejected(str(cause), too_large=True))
            return
        log_event(
            log, logging.WARNING, Event.OUTPUT_REFUSED, f"an output is too large for its topic; looking for its record: {cause}"
        )
        with self._admission.lock:
            for lane, upto in unit.lanes.items():
                lane.isolate_until = max(lane.isolate_until, upto)
                self._admission.isolating.add(lane)

    # --- LaneEvents: on the loop

    def lanes_given(self, lanes: Sequence[Lane]) -> None:
        names = ", ".join(str(lane) for lane in lanes)
        if names:
            log_event(
                log,
                logging.INFO,
                Event.PARTITIONS_ASSIGNED,
                f"partitions assigned: {names}; {len(self.group.lanes)} held",
                count=len(lanes),
            )
        elif not self.group.lanes:
            log_event(log, logging.INFO, Event.IDLE_MEMBER, "no partition is left for this worker: it stays as a spare")
        if self._listener is not None:
            self._listener.on_assigned({lane.partition for lane in lanes})

    def lanes_opened(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            for spec in self._tables_of(lane.partition.topic):
                if spec.horizon is not None and spec.name in lane.tables:
                    partition = lane.tables[spec.name]
                    self._expiries.setdefault(partition, Expiry(partition, spec.horizon))
            if lane.unresolved and not lane.waiting:
                lane.unresolved = False
                self._admission.reach(lane, lane.next_offset)
            self.wake_line(lane.line)
        if self._listener is not None:
            self._listener.on_restored({lane.partition for lane in lanes})

    def lanes_gone(self, lanes: Sequence[Lane]) -> None:
        gone: set[object] = set(lanes)
        for lane in lanes:
            for partition in lane.tables.values():
                self._expiries.pop(partition, None)
        for agent in self._agents:
            agent.restart(only=gone)
        if self._listener is not None:
            self._listener.on_revoked({lane.partition for lane in lanes})

    def source_broken(self, source: PartitionSource, failure: Exception) -> None:
        self._fail(failure)

    def bury_condemned(self, lane: Lane) -> None:
        """The record at the lane's head made an output that the broker refuses: its dead letter takes its place."""
        if lane.condemned is None:
            return
        offset, failure = lane.condemned
        inlet = lane.inlets[0]
        head = inlet.queue[0]
        if not hasattr(head, "offset") or cast("RawRecord", head).offset() != offset:
            return
        lane.condemned = None
        inlet.queue.popleft()
        record = cast("RawRecord", head)
        agent = inlet.agent
        state = agent.first_state(record, inlet)
        letter = self.dead_letter(agent.spec, record, state, "oversize-output", failure, "sink")
        savepoint = Savepoint(lane, record, exclusive=True)
        if letter is not None:
            savepoint.send(letter)
        self.admit(savepoint, offset + 1)

    def _restart_actors(self, ticks: Sequence[Tick]) -> None:
        for agent in self._agents:
            agent.restart()
        for tick in ticks:
            self._run_again(tick)

    def _gate_opened(self) -> None:
        self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for agent in self._agents:
            agent.wake(len(agent.cursors), all_of=True)

    def _tables_of(self, topic: str) -> list[TableSpec]:
        return [table for table in self._tables.values() if topic in table.topics]

    # --- a few times a second

    def _watch(self) -> None:
        self._watching = self._loop.call_later(WATCH_INTERVAL, self._watch)
        self._watch_records()
        self.serve()
        self._expire()

    def _watch_records(self) -> None:
        now = self.clock.monotonic()
        for agent in self._agents:
            agent.watch(now)

    def _expire(self) -> None:
        """Write tombstones for marks that can no longer count: a step of one table partition per call, alone on its line."""
        now_ms = int(self.clock.wall() * 1000)
        for partition, expiry in self._expiries.items():
            if not expiry.due(now_ms):
                continue
            lane = next((lane for lane in self.group.lanes.values() if lane.running and partition in lane.tables.values()), None)
            if lane is None or lane.line.holder is not None or lane.in_hand:
                continue
            event_time = self._event_time(lane, now_ms)
            if event_time is None:
                continue
            keys = expiry.past(now_ms, event_time, scan=EXPIRY_SCAN)
            savepoint = TickSavepoint(self, "expiry", [lane], now_ms)
            for key in keys:
                if key not in partition.open and key not in partition.committing:
                    savepoint.write(partition, key, None)
            if savepoint.writes:
                self._admission.admit_tick(savepoint, [(lane, lane.number)], None)
            return

    @staticmethod
    def _event_time(lane: Lane, now_ms: int) -> int | None:
        """Return the lowest timestamp among the records that come next; the wall clock at the end of the log; None if unknown."""
        coming = [item for inlet in lane.inlets for item in list(inlet.queue)[:200]]
        if not coming:
            return now_ms if lane.end_seen and lane.end_seen <= lane.next_offset else None
        records = [getattr(item, "record", item) for item in coming]
        return min(cast("RawRecord", record).timestamp()[1] for record in records)


def _stage(stage: Stage, failure: Exception) -> Stage:
    if stage == "decode" and isinstance(failure, ValidationFailed):
        return "validate"
    if isinstance(failure, OutputRejected):
        return "sink"
    return stage


def _flush_and_close(producer: TransactionalProducer) -> None:
    try:
        producer.flush(Deadline.after(10.0))
    except StreamAppError as failure:
        log.warning("sends outside the transaction were not all delivered: %s", failure)
    producer.close()


__all__ = ["Engine", "EngineListener", "EngineParts", "EngineSettings"]
