"""The engine: agents over lanes, admission, transactions. What the shell starts and stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from streamapp.clock import Clock, Deadline, SystemClock
from streamapp.errors import DeliveryFailed, Fatal, StateUnusable
from streamapp.events import Event, log_event
from streamapp.pipeline.admission import Admission
from streamapp.pipeline.burial import Burial
from streamapp.pipeline.dead_letter import Redact, Writer
from streamapp.pipeline.expiry import Sweeper
from streamapp.pipeline.group import Group, TableRestore
from streamapp.pipeline.isolation import Isolation
from streamapp.pipeline.letters import Letters
from streamapp.pipeline.measures import ErrorTypes, Fingerprints
from streamapp.pipeline.process import AgentRun
from streamapp.pipeline.rebalance import RebalanceTimes
from streamapp.pipeline.refused import Refused
from streamapp.pipeline.replayed import Answers
from streamapp.pipeline.resolution import status_topic
from streamapp.pipeline.snapshot import Snapshot
from streamapp.pipeline.table import TableHandle
from streamapp.pipeline.takes import Takes
from streamapp.pipeline.ticks import Ticks
from streamapp.pipeline.tracing import Calls, Tracer
from streamapp.pipeline.transaction import TransactionThread
from streamapp.pipeline.unit_of_work import Tick, UnitOfWork
from streamapp.records import Partition

if TYPE_CHECKING:
    from streamapp.pipeline.facts import EngineFacts
    from streamapp.pipeline.lane import Lane, Line
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.retry import Retry
    from streamapp.pipeline.spec import AgentSpec, SourceSet, TableSpec
from streamapp.pipeline.suspects import Forgetful
from streamapp.ports import InHand, OffsetReader, PartitionSource, SourceListener, TransactionalProducer

log = logging.getLogger(__name__)

WATCH_INTERVAL = 0.25
"""Seconds between looks at records in hand and at expired marks."""


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
    isolate_after: int
    dlq_redact: Redact | None = None
    """Rewrites what a dead letter tells of the exception."""
    dlq_streams_headers: bool = False
    """Whether dead letters carry Kafka Streams' headers too."""


def _nothing_settled(id_: str) -> bool:
    return False


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
    settled: Callable[[str], bool] = _nothing_settled
    """Whether the dead letter of that id is known to be resolved or discarded. Any thread."""
    tracer: Tracer | None = None
    """Who hears of calls and commits; None: nobody, at no cost."""
    in_hand: InHand = field(default_factory=Forgetful)
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
        self.calls = None if parts.tracer is None else Calls(parts.tracer)
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._parts = parts
        self._sets = list(sets)
        self._listener = listener
        self._tables = {table.name: table for table in tables}
        self.admission = Admission(parts.clock, overlay_max_bytes=settings.overlay_max_bytes, every=settings.commit_every)
        self.admission.interval = settings.commit_interval
        self.admission.opened = self._gate_opened
        self.error_types = ErrorTypes()
        self.fingerprints = Fingerprints()
        self._agents = [AgentRun(self, spec) for spec in agents]
        self._agents_of: dict[str, list[AgentRun]] = {}
        for agent in self._agents:
            for topic in agent.sources:
                self._agents_of.setdefault(topic, []).append(agent)
        self._set_names = {topic: source_set.name for source_set in self._sets for topic in source_set.topics}
        self._transactions = TransactionThread(
            self.admission,
            parts.producer,
            self,
            parts.clock,
            transactional_id=settings.transactional_id,
            transaction_timeout=settings.transaction_timeout,
            exactly_once=settings.exactly_once,
            tracer=parts.tracer,
        )
        self._isolation = Isolation(
            admission=self.admission,
            lanes=lambda: list(self.group.lanes.values()),
            commit_now=self._transactions.commit_now,
            wake_line=self.wake_line,
            wake_all=self._wake_all,
            drained=self.drained,
            clock=parts.clock,
            isolate_after=settings.isolate_after,
            worker_id=settings.worker_id,
            in_hand=parts.in_hand,
        )
        self.group = Group(
            admission=self.admission,
            agents_of=lambda topic: self._agents_of[topic],
            tables_of=self._tables_of,
            set_of=lambda topic: self._set_names[topic],
            partitions=parts.partitions,
            offsets=parts.offsets,
            restore=parts.restore,
            events=self,
            commit_now=self._transactions.commit_now,
            isolation=self._isolation,
            auto_offset_reset=settings.auto_offset_reset,
            revoke_grace=min(2.0, settings.max_poll_interval * 0.05),
            revoke_budget=min(settings.max_poll_interval * 0.25, settings.transaction_timeout),
        )
        self._sources: list[PartitionSource] = []
        self._loop = asyncio.get_running_loop()
        self.burial = Burial(
            Writer(
                app=settings.app_id,
                group=settings.app_id,
                worker=settings.worker_id,
                version=settings.version,
                transactional_id=settings.transactional_id,
            ),
            parts.clock,
            dlq_partitions=parts.dlq_partitions,
            dlq_max_bytes=parts.dlq_max_bytes,
            max_record_bytes=settings.max_record_bytes,
            error_types=self.error_types,
            redact=settings.dlq_redact,
            streams_headers=settings.dlq_streams_headers,
        )
        self.answers = Answers(status_topic(settings.app_id), settings.worker_id, parts.clock)
        self.letters = Letters(self)
        self._watching: asyncio.TimerHandle | None = None
        self._stopped = False
        self._leads = False
        self.ticks = Ticks(
            admission=self.admission,
            group=self.group,
            tables=self._tables,
            partitions=parts.partitions,
            leader_lane=self.leader_lane,
            wake_line=self.wake_line,
            spare_producer=parts.spare_producer,
            clock=parts.clock,
        )
        self.tick = self.ticks.run
        self.send = self.ticks.send
        self.refused = Refused(self.admission)
        self.takes = Takes(self.group.lanes, self.answers, self.send, parts.clock)
        self._sweeper = Sweeper(self.admission, self.group, self.ticks, parts.clock)
        self._rebalances = RebalanceTimes(parts.clock, self._say_they_run)
        self._snapshot = Snapshot(
            admission=self.admission,
            group=self.group,
            agents=self._agents,
            transactions=self._transactions,
            rebalances=self._rebalances,
            fingerprints=self.fingerprints,
            clock=parts.clock,
        )

    # --- life

    async def start(self) -> None:
        """Take over the transactional.id, then join the group. Raises what the broker says; then everything is closed again."""
        try:
            # Before the subscription: a restore would wait for the dead predecessor's transaction.
            await self._loop.run_in_executor(None, self._transactions.start)
            for agent in self._agents:
                agent.start()
            self.admission.open_gate("not started")
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
        began = self.clock.monotonic()
        if self._watching is not None:
            self._watching.cancel()
        self.admission.close_gate("stopping")
        await self.letters.stop()
        await self._isolation.stop()
        if finish and not self.failure.done():
            longest = max((agent.retry.attempt_timeout for agent in self._agents), default=0.0)
            deadline = Deadline.after(longest)
            while self._in_hand() and not deadline.passed:
                self._watch_records()
                await asyncio.sleep(0.01)
            self.admission.release(list(self.group.lanes.values()), for_good=True)
            await self._settled(self._transactions.commit_now(), Deadline.after(self.settings.transaction_timeout))
        for agent in self._agents:
            await agent.stop()
        closing = Deadline.after(8.0)
        await asyncio.gather(*(self._loop.run_in_executor(None, source.stop, closing) for source in self._sources))
        await self._loop.run_in_executor(None, self._transactions.stop, Deadline.after(5.0))
        await self.group.stop()
        await self.ticks.stop()
        if finish:
            self._say_what_was_done(self.clock.monotonic() - began)

    def _say_what_was_done(self, took: float) -> None:
        done = self.counters()
        log_event(
            log,
            logging.INFO,
            Event.WORKER_STOPPED,
            f"stopped in {took:.1f} s: {done['records']} records in {done['commits']} commits, {done['aborts']} aborts "
            f"({done['replayed']} records read again), {done['producer_rebuilds']} producers replaced, "
            f"{done['dedupe_hits']} duplicates, {done['dead_letters']} dead letters",
            duration_seconds=round(took, 3),
            counters=done,
        )

    def fatal(self, failure: BaseException) -> None:
        """The engine cannot go on: the shell stops the worker with this. Any thread."""
        self.admission.close_gate("failed")  # at once: the loop may be busy with the very record that failed
        self._loop.call_soon_threadsafe(self._fail, failure)

    def _fail(self, failure: BaseException) -> None:
        if not self.failure.done():
            self.admission.close_gate("failed")
            self.failure.set_result(failure)

    @staticmethod
    async def _settled(asked: Future[bool], deadline: Deadline) -> bool:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), deadline.left)
        except TimeoutError:
            return False

    def _in_hand(self) -> bool:
        return any(cursor.savepoint is not None for agent in self._agents for cursor in agent.cursors)

    # --- what becomes of dead letters

    def settled(self, ids: Collection[str]) -> None:
        """These dead letters are resolved or discarded, and `EngineParts.settled` says so: what waits behind them goes on."""
        for agent in self._agents:
            if agent.holding is not None:
                agent.holding.settled(ids)

    def is_settled(self, letter: str) -> bool:
        return self._parts.settled(letter)

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
        """Return the lane of partition 0 of the first source topic by name, if it is here: its owner is the leader.

        Also while it waits out a backoff or is rewound: nobody else leads meanwhile. A revoke ends it.
        """
        topics = sorted(self._set_names)
        lane = self.group.lanes.get(Partition(topics[0], 0)) if topics else None
        return lane if lane is not None and lane.is_kept else None

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
            "records": self._transactions.records,
            "replayed": self._transactions.replayed,
            "dead_letters": self.burial.written,
            "dedupe_hits": sum(agent.dedupe.hits for agent in self._agents if agent.dedupe is not None),
        }

    def facts(self) -> EngineFacts:
        """Return what is to be told of lanes, agents, transactions and tables as of now. Under a millisecond for a dozen partitions."""
        return self._snapshot.take()

    # --- the record path, for cursors and agents

    def admit_window(self, lane: Lane) -> None:
        """Admit what is done at the head of a lane where records overlap, in offset order."""
        window = lane.window
        was_full = len(window) >= self.lane_bound
        while window and window[0].done:
            entry = window.popleft()
            if not self.admission.admit_all(lane, entry.savepoints, entry.upto, entry.record):
                return
            entry.savepoints.clear()  # a savepoint knows its entry: a cycle, which the collector would stop the loop for (20 ms of 400)
            if lane.line.holder is entry:
                lane.line.holder = None
        if lane.exclusive:
            if lane.line.holder is not None and getattr(lane.line.holder, "done", False):
                lane.line.holder = None
            self.wake_line(lane.line)
        room = self.lane_bound - len(window)
        if was_full and room > 0:
            first = lane.inlets[0]
            first.agent.offer(first, room)  # its actors sleep at the bound
        if not window:
            self.drained(lane)

    def serve(self) -> None:
        self.admission.serve()

    def drained(self, lane: Lane) -> None:
        """Nothing waits on the lane: commit the tail of control records away, so that lag ends at 0."""
        end = lane.end_seen
        if end <= lane.next_offset and not lane.unresolved:
            return
        if not lane.running or lane.paused or lane.window or lane.waiting or lane.line.holder is not None:
            return
        lane.unresolved = False
        self.admission.reach(lane, max(end, lane.next_offset))

    def commit_soon(self, within: float) -> None:
        """Commit early unless the regular commit falls within `within` seconds anyway: a wait holds no transaction open."""
        now = self.clock.monotonic()
        due = self.admission.commit_at
        if due is None or due > now + within:
            self.admission.commit_by(now)

    async def commit_now(self) -> bool:
        """Commit what is admitted by now; tells whether it became durable."""
        return await asyncio.shield(asyncio.wrap_future(self._transactions.commit_now()))

    def wake_line(self, line: Line) -> None:
        """A line or a lane became free: let the agents that wait for it look again, and end what only its holder kept from ending."""
        for lane in line.lanes:
            for inlet in lane.inlets:
                if inlet.queue:
                    inlet.agent.offer(inlet, 1 if lane.exclusive else len(inlet.queue))
            self.drained(lane)

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

    # --- TransactionListener: on the transaction thread

    def still_owned(self, unit: UnitOfWork) -> list[Lane]:
        unit.delivered = True  # a commit asks behind its flush
        self._isolation.delivered(unit)
        return self.group.still_owned(unit)

    def superseded(self, unit: UnitOfWork, partition: TablePartition) -> bool:
        return self.group.superseded(unit, partition)

    def unit_committed(self, unit: UnitOfWork, refused: dict[TablePartition, Exception]) -> None:
        self.letters.committed(unit)
        for partition, failure in refused.items():
            log_event(
                log, logging.ERROR, Event.APPLY_FAILED,
                f"{partition}: committed, but the disk refused it; restoring it: {failure}", table=partition.table, partition=partition.number,
            )  # fmt: skip

    def closing_units(self) -> None:
        self.group.stop_admission()

    def units_dropped(self, cause: Exception, units: Sequence[UnitOfWork], *, unknown: bool) -> None:
        again = [tick for unit in units for tick in unit.ticks]
        if isinstance(cause, DeliveryFailed) and cause.for_good:
            culprit = next((unit.culprit for unit in units if unit.culprit is not None), None)
            again = self.refused.found(units[0], culprit, cause, again)
        self.letters.dropped(cause, units, unknown=unknown)
        self._loop.call_soon_threadsafe(self._restart_actors, again)
        # Whatever has to be asked or restored first goes the long way; a plain abort only seeks.
        if unknown or isinstance(cause, StateUnusable):
            self.group.recover_all()
        else:
            self.group.rewind()

    def stopped_for(self, failure: BaseException) -> None:
        self.fatal(failure)

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
                held=len(self.group.lanes),
            )
        elif not self.group.lanes:
            log_event(log, logging.INFO, Event.IDLE_MEMBER, "no partition is left for this worker: it stays as a spare")
        self._rebalances.given(lanes)
        if self._listener is not None:
            self._listener.on_assigned({lane.partition for lane in lanes})

    def lanes_opened(self, lanes: Sequence[Lane]) -> None:
        self._rebalances.run(lanes)
        self._isolation.opened(lanes)
        for lane in lanes:
            self._sweeper.opened(lane, self._tables_of(lane.partition.topic))
            if lane.unresolved and not lane.waiting:
                lane.unresolved = False
                self.admission.reach(lane, lane.next_offset)
            for inlet in lane.inlets:
                if inlet.agent.holding is not None:
                    inlet.agent.holding.opened(inlet)
            self.wake_line(lane.line)
        if self._listener is not None:
            self._listener.on_restored({lane.partition for lane in lanes})

    def _say_they_run(self, lanes: list[Lane], took: float) -> None:
        log_event(
            log, logging.INFO, Event.PARTITIONS_ASSIGNED,
            f"partitions run after {took:.1f} s: {', '.join(str(lane) for lane in lanes)}; {len(self.restored())} of {len(self.group.lanes)} run",
            count=len(lanes), held=len(self.group.lanes), duration_seconds=round(took, 3),
        )  # fmt: skip

    def lanes_gone(self, lanes: Sequence[Lane]) -> None:
        gone: set[object] = set(lanes)
        for lane in lanes:
            self._sweeper.gone(lane)
            for inlet in lane.inlets:
                if inlet.agent.holding is not None:
                    inlet.agent.holding.gone(inlet)
        for agent in self._agents:
            agent.restart(only=gone)
        self._rebalances.gone(lanes)
        if self.calls is not None:
            self.calls.gone({lane.partition for lane in lanes})
        if self._listener is not None:
            self._listener.on_revoked({lane.partition for lane in lanes})

    def source_broken(self, source: PartitionSource, failure: Exception) -> None:
        self._fail(failure)

    def _restart_actors(self, ticks: Sequence[Tick]) -> None:
        for agent in self._agents:
            agent.restart()
        for tick in ticks:
            self.ticks.run_again(tick)

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
        self._watch_leader()
        self.serve()
        self._sweeper.step()
        self.takes.step()

    def _watch_leader(self) -> None:
        leads = self.is_leader()
        if leads is self._leads:
            return
        self._leads = leads
        message = "this worker leads: it runs what is to run on the leader" if leads else "this worker leads no more"
        log_event(log, logging.INFO, Event.LEADER_CHANGED, message, leads=leads)

    def _watch_records(self) -> None:
        now = self.clock.monotonic()
        for agent in self._agents:
            agent.watch(now)


__all__ = ["Engine", "EngineListener", "EngineParts", "EngineSettings"]
