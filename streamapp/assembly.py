"""The engine put together: the app's declarations fitted to the cluster, concrete classes picked, and all of it taken down again."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from streamapp.clock import Deadline
from streamapp.doctor.startup import examine_start
from streamapp.errors import BrokerUnreachable, ConfigurationError, SettingInvalid, TopologyInvalid
from streamapp.events import Event, log_event
from streamapp.identity import DataDir, version_of
from streamapp.kafka import client_config
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.changelog import KafkaChangelogReader
from streamapp.kafka.client_config import Assignor
from streamapp.kafka.follower import KafkaFollower
from streamapp.kafka.offsets import KafkaOffsets
from streamapp.kafka.producer import KafkaProducer
from streamapp.kafka.settled_share import SettledShare
from streamapp.kafka.source import KafkaSource
from streamapp.kafka.versions import await_broker
from streamapp.monitor import traces
from streamapp.pipeline.dead_letter import Redact
from streamapp.pipeline.engine import Engine, EngineListener, EngineParts, EngineSettings
from streamapp.pipeline.facts import StoreMemory
from streamapp.pipeline.spec import AgentSpec, SourceSet, TableSpec
from streamapp.ports import PartitionSource, SourceListener, Store, TransactionalProducer
from streamapp.records import Outgoing, Partition
from streamapp.settings import Settings
from streamapp.state.budget import RocksBudget
from streamapp.state.in_hand import InHandFile
from streamapp.state.memory import MemoryStores
from streamapp.state.recovery import Restorer
from streamapp.state.restore import RestoreOutcome, RestoreTask
from streamapp.state.rocksdb import RocksStores
from streamapp.state.stores import Stores
from streamapp.worker.cluster import Cluster, TopicDeclaration, Topology
from streamapp.worker.digests import HeldTable
from streamapp.worker.doctor_notes import STATISTICS_EVERY, DoctorNotes
from streamapp.worker.sampling import Listeners, lag_sampler
from streamapp.worker.status_follower import OnLoop, StatusFollower
from streamapp.worker.topology import Declared, declaration, declarations, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from streamapp.application import StreamApp
    from streamapp.pipeline.dead_letter_counts import Unresolved
    from streamapp.pipeline.facts import EngineFacts
    from streamapp.pipeline.table import TableHandle
    from streamapp.worker.topics import Topic

log = logging.getLogger(__name__)

UNREACHABLE_SAID_AFTER = 5.0
"""Seconds of silence after which the log says that no broker answers."""

MISSING_TOPIC_EVERY = 3.0
"""Seconds between two looks for a missing source topic; each is named until it is there."""

TOTAL_BOUND = 16_384
"""Fetched records that may wait in the worker in all: a fifth of a second of work at full speed. Large ones count for several (`HEAVY`)."""


class RestoringStores:
    """The pipeline's TableRestore: stores on disk, brought up to their changelogs by the restore thread."""

    def __init__(self, restorer: Restorer, stores: Callable[[str], Stores], tables: Sequence[TableSpec]) -> None:
        self.topology: Topology
        self._restorer = restorer
        self._stores = stores
        self._tables = {table.name: table for table in tables}
        self._tasks: dict[Future[Store], RestoreTask] = {}
        """What is under way, by what `begin` returned."""
        self.told: Callable[[int, float], None] = lambda records, seconds: None
        """Told of each restore that ended: records and seconds. On the restore thread."""
        self._failures: dict[tuple[str, int], str] = {}
        """Why the last try of a restore that is to be tried again failed."""
        self._lock = threading.Lock()

    def begin(self, table: str, number: int) -> Future[Store]:
        changelog = self._tables[table].changelog
        changelog_id = self.topology.changelog_ids[changelog]
        restored: Future[Store] = Future()

        def done(outcome: RestoreOutcome) -> None:
            self.told(outcome.restored, outcome.seconds)
            with self._lock:
                self._tasks.pop(restored, None)
                self._failures.pop((table, number), None)
                if outcome.failure is not None:
                    self._failures[table, number] = str(outcome.failure)
            if not restored.set_running_or_notify_cancel():
                return
            if outcome.failure is not None or outcome.store is None:
                restored.set_exception(outcome.failure or OSError(f"{table}/{number} did not open"))
            else:
                restored.set_result(outcome.store)

        task = RestoreTask(
            changelog=Partition(changelog, number),
            open=lambda: self._stores(table).open(table, number, changelog_id),
            delete_retention=self.topology.tombstones_kept[changelog],
        )
        with self._lock:
            earlier = [restore for restore, other in self._tasks.items() if other.changelog == task.changelog]
        for restore in earlier:
            self.cancel(restore)
        with self._lock:
            self._tasks[restored] = task
        self._restorer.restore(task, done)
        return restored

    def cancel(self, restore: Future[Store]) -> None:
        with self._lock:
            task = self._tasks.pop(restore, None)
        if task is not None:
            self._restorer.cancel(task)

    def progress(self, of: Collection[Partition]) -> list[dict[str, Any]]:
        """Return what the restores of the tables of those source partitions are at, and why some wait to be tried again."""
        wanted = {
            Partition(table.changelog, number): table.name
            for table in self._tables.values()
            for topic, number in of
            if topic in table.topics
        }
        under_way = {each.changelog: each for each in self._restorer.progress() if each.changelog in wanted}
        with self._lock:
            failed = {at: why for at, why in self._failures.items() if Partition(self._tables[at[0]].changelog, at[1]) in wanted}
        found = []
        for changelog, each in sorted(under_way.items()):
            table, number = wanted[changelog], changelog.number
            found.append(
                {
                    "table": table,
                    "partition": number,
                    "state": str(each.state),
                    "offset": each.position,
                    "target": each.target,
                    "records": each.restored,
                    "records_per_second": round(each.rate),
                    "seconds_left": None if each.seconds_left is None else round(each.seconds_left, 1),
                    "waiting": None if each.waiting is None else round(each.waiting, 1),
                    "trouble": each.trouble or failed.get((table, number)),
                }
            )
        for (table, number), why in sorted(failed.items()):
            if Partition(self._tables[table].changelog, number) not in under_way:
                found.append({"table": table, "partition": number, "state": "failed", "trouble": why})
        return found


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Who this worker is and where its tables live."""

    worker_id: str
    data_dir: Path


class Assembly:
    """One worker's engine and what it stands on; `build` makes it, `close` takes it down after the engine has stopped."""

    def __init__(
        self,
        settings: Settings,
        identity: WorkerIdentity,
        agents: Sequence[AgentSpec],
        tables: Sequence[TableSpec],
        topics: Sequence[TopicDeclaration],
        listener: EngineListener | None = None,
        notes: DoctorNotes | None = None,
    ) -> None:
        self.missing: dict[str, list[str]] = {}
        """Set name -> source topics that do not exist (yet)."""
        self._settings = settings
        self._identity = identity
        self._agents = list(agents)
        self._tables = list(tables)
        self._listener = listener
        self._cluster = Cluster(settings, lambda: KafkaAdmin(client_config.admin(settings)), agents, tables, topics)
        self._budget = RocksBudget(settings.stream.rocksdb_memory_bytes)
        self._rocks = Stores(settings.identity.app_id, RocksStores(identity.data_dir, self._budget))
        self._memory = Stores(settings.identity.app_id, MemoryStores())
        in_memory = {table.name for table in tables if table.in_memory}
        self._restorer = Restorer(self._changelog_reader)
        self._restoring = RestoringStores(
            self._restorer, lambda table: self._memory if table in in_memory else self._rocks, self._tables
        )
        self._notes = notes
        if notes is not None:
            self._restoring.told = notes.restored
        self._seeker: asyncio.Task[None] | None = None
        self._follower: StatusFollower | None = None
        self._given_up = threading.Event()

    async def build(self) -> Engine:
        """Return the engine, not started. Raises ConfigurationError, BrokerUnreachable after `start_timeout`."""
        loop = asyncio.get_running_loop()
        settings = engine_settings(self._settings, self._identity.worker_id)
        topology = await loop.run_in_executor(None, self._reach)
        if topology.missing and self._settings.topics.missing_topic == "fail":
            names = sorted(topic for topics in topology.missing.values() for topic in topics)
            raise TopologyInvalid(
                f"missing source topic {', '.join(names)}: create it, declare it with partitions=, or set STREAMAPP_MISSING_TOPIC=wait"
            )
        self._restoring.topology = topology
        self._share_out(topology)
        self.missing = topology.missing
        self._restorer.start()
        engine = self._engine(topology, settings)
        self._follow(engine, topology)
        self._name_missing(topology)
        if topology.missing:
            self._seeker = loop.create_task(self._seek(engine, topology), name="missing topics")
            self._seeker.add_done_callback(lambda task: self._sought(engine, task))
        return engine

    @property
    def topology(self) -> Topology:
        """What was found at the start and since; one object, which changes. After `build`."""
        return self._restoring.topology

    def restoring(self, of: Collection[Partition]) -> list[dict[str, Any]]:
        """Return how far the restores of those source partitions are. Any thread."""
        return self._restoring.progress(of)

    def unresolved(self) -> list[Unresolved]:
        """Return how many dead letters are unresolved in the partitions of dead-letter topics that this worker owns. Any thread."""
        return [] if self._follower is None else self._follower.counts.unresolved()

    async def close(self) -> None:
        """Close the stores. The engine is stopped before. May be called twice."""
        loop = asyncio.get_running_loop()
        self._given_up.set()
        if self._seeker is not None:
            self._seeker.cancel()
        if self._follower is not None:
            await loop.run_in_executor(None, self._follower.stop)
        await loop.run_in_executor(None, self._restorer.stop)
        await loop.run_in_executor(None, self._rocks.close_all)
        await loop.run_in_executor(None, self._memory.close_all)

    def _reach(self) -> Topology:
        """Return the topology, trying for `start_timeout`; says within 10 s that no broker answers, and goes on trying."""
        whole = self._within(self._settings.broker.start_timeout)
        silent_since: float | None = None
        while True:
            try:
                attempt = self._within(min(UNREACHABLE_SAID_AFTER, max(0.5, whole.left)))
                await_broker(client_config.admin(self._settings), attempt, fencing=self._settings.transaction.exactly_once)
                if silent_since is not None:
                    silent = time.monotonic() - silent_since
                    log_event(
                        log,
                        logging.INFO,
                        Event.BROKER_BACK,
                        f"a broker answers after {silent:.0f} s",
                        duration_seconds=round(silent, 3),
                    )
                    silent_since = None
                return self._cluster.fit(self._within(max(10.0, whole.left)))
            except BrokerUnreachable as failure:
                if whole.passed:
                    raise BrokerUnreachable(
                        f"{failure}; gave up after {self._settings.broker.start_timeout:g} s (STREAMAPP_BROKER, STREAMAPP_START_TIMEOUT)"
                    ) from None
                silent_since = silent_since or time.monotonic()
                log_event(log, logging.WARNING, Event.BROKER_UNREACHABLE, f"{failure}; trying on for {whole.left:.0f} s")

    def _within(self, seconds: float) -> Deadline:
        """Return a deadline that `close` cuts: a stop waits for no thread that asks a silent broker."""
        return Deadline.after(seconds, self._given_up)

    async def _seek(self, engine: Engine, topology: Topology) -> None:
        loop = asyncio.get_running_loop()
        while self.missing:
            await asyncio.sleep(MISSING_TOPIC_EVERY)
            try:
                found = await loop.run_in_executor(None, self._cluster.fit, self._within(10.0))
            except BrokerUnreachable as failure:
                log_event(log, logging.WARNING, Event.BROKER_UNREACHABLE, str(failure))
                continue
            appeared = [source_set for source_set in found.ready if source_set.name in self.missing]
            self.missing = found.missing
            topology.learn(found)
            self._follow(engine, topology)
            self._share_out(topology)
            for source_set in appeared:
                engine.add_set(source_set)
            self._name_missing(found)

    def _follow(self, engine: Engine, topology: Topology) -> None:
        """Follow what becomes of dead letters, once there are any dead-letter topics."""
        if self._follower is not None or not topology.has_status:
            return
        self._follower = StatusFollower(
            lambda: KafkaFollower(client_config.follower(self._settings, self._identity.worker_id)),
            OnLoop(asyncio.get_running_loop(), engine.settled, engine.takes),
            engine.assignment,
            app_id=self._settings.identity.app_id,
            dlqs={agent.dlq for agent in self._agents if agent.dlq is not None},
        )
        self._follower.start()

    def _is_settled(self, dead_letter: str) -> bool:
        return self._follower is not None and self._follower.counts.settled(dead_letter)

    def _share_out(self, topology: Topology) -> None:
        """Have RocksDB's memory and open files do for every partition of every table: this worker may be the only one left."""
        on_disk = [table for table in self._tables if not table.in_memory]
        self._budget.expect(sum(topology.partitions.get(table.topics[0], 0) for table in on_disk))

    def store_memory(self) -> StoreMemory | None:
        """Return what RocksDB uses of its memory; None where no table is on disk."""
        if all(table.in_memory for table in self._tables):
            return None
        used = self._budget.usage()
        return StoreMemory(limit=used.budget, held=used.held)

    def _sought(self, engine: Engine, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            engine.fatal(failure if isinstance(failure, ConfigurationError) else RuntimeError(f"looking for topics: {failure!r}"))

    @staticmethod
    def _name_missing(topology: Topology) -> None:
        for topic in topology.absent:
            log_event(
                log, logging.WARNING, Event.MISSING_TOPIC,
                f"topic {topic} is declared and does not exist, and STREAMAPP_TOPIC_ALLOW_DECLARE is false: create it", topic=topic,
            )  # fmt: skip
        for topics in topology.missing.values():
            for topic in topics:
                log_event(
                    log, logging.WARNING, Event.MISSING_TOPIC,
                    f"source topic {topic} does not exist; its agents wait for it. Create it, or declare it with partitions=", topic=topic,
                )  # fmt: skip

    def _engine(self, topology: Topology, engine_settings: EngineSettings) -> Engine:
        settings, worker = self._settings, self._identity.worker_id
        return Engine(
            settings=engine_settings,
            sets=topology.ready,
            agents=self._agents,
            tables=self._tables,
            parts=EngineParts(
                producer=lambda: self._producer(topology),
                source=self._source,
                offsets=lambda: KafkaOffsets(
                    client_config.helper_consumer(settings, worker), client_config.watermark_consumer(settings, worker)
                ),
                restore=self._restoring,
                spare_producer=lambda: self._idempotent_producer(topology, f"{worker}-spare"),
                dlq_partitions=topology.dlq_partitions,
                dlq_max_bytes=topology.dlq_max_bytes,
                partitions=topology.partitions,
                settled=self._is_settled,
                in_hand=InHandFile(self._identity.data_dir / "in-hand"),
                tracer=traces.tracer(
                    group=settings.identity.app_id,
                    version=version_of(settings.identity),
                    keys=settings.observe.otel_keys,
                ),
            ),
            listener=self._listener,
        )

    def _producer(self, topology: Topology) -> TransactionalProducer:
        settings, worker = self._settings, self._identity.worker_id
        if not settings.transaction.exactly_once:
            return self._idempotent_producer(topology, worker)
        config: dict[str, object] = {
            **client_config.transactional_producer(settings, worker, max_message_bytes=topology.largest_dead_letter)
        }
        if settings.producer.producer_linger == 0 and self._notes is not None:
            # How full batches are is only asked where it may be worth a word (T03).
            config |= {"statistics.interval.ms": round(STATISTICS_EVERY * 1000), "stats_cb": self._notes.statistics}
        producer = KafkaProducer(config, transactional=True)
        try:
            # Longer than the transaction timeout: a transaction that a dead predecessor left open ends by then.
            producer.init_transactions(self._within(settings.transaction.transaction_timeout + 30.0))
        except BaseException:
            producer.close()
            raise
        return producer

    def _idempotent_producer(self, topology: Topology, name: str) -> TransactionalProducer:
        config = client_config.idempotent_producer(self._settings, name, max_message_bytes=topology.largest_dead_letter)
        return KafkaProducer(config, transactional=False)

    def _source(self, source_set: SourceSet, listener: SourceListener) -> PartitionSource:
        settings = self._settings
        # A first shared table changes the assignor of the whole group, so it depends on what is declared, not on what exists.
        assignor = Assignor.RANGE if self._cluster.shares_a_table else Assignor.COOPERATIVE_STICKY
        classic = settings.group.group_protocol == "classic"
        return KafkaSource(
            source_set.name,
            source_set.topics,
            client_config.source_consumer(settings, self._identity.worker_id, source_set.name, assignor),
            listener,
            incremental=not classic or assignor is Assignor.COOPERATIVE_STICKY,
            lane_bound=settings.stream.stream_buffer_maxsize,
            total_bound=TOTAL_BOUND,
            revoke_budget=min(settings.group.max_poll_interval * 0.25, settings.transaction.transaction_timeout),
            # An eager rebalance has one join, and under the other protocol the broker itself knows who holds what.
            settled=SettledShare(
                self._identity.data_dir / f"share-{source_set.name}", source_set.topics, settings.group.session_timeout
            )
            if classic and assignor is Assignor.COOPERATIVE_STICKY
            else None,
        )

    def _changelog_reader(self) -> KafkaChangelogReader:
        settings, worker = self._settings, self._identity.worker_id
        return KafkaChangelogReader(
            client_config.changelog_consumer(settings, worker), client_config.watermark_consumer(settings, worker)
        )


def engine_settings(settings: Settings, worker_id: str) -> EngineSettings:
    """Return what the engine needs to know of the settings."""
    return EngineSettings(
        app_id=settings.identity.app_id,
        worker_id=worker_id,
        version=version_of(settings.identity),
        transactional_id=client_config.transactional_id(settings, worker_id),
        exactly_once=settings.transaction.exactly_once,
        commit_interval=settings.transaction.commit_interval,
        commit_every=settings.transaction.commit_every,
        transaction_timeout=settings.transaction.transaction_timeout,
        max_poll_interval=settings.group.max_poll_interval,
        lane_bound=settings.stream.stream_buffer_maxsize,
        overlay_max_bytes=settings.stream.overlay_max_bytes,
        warn_after=settings.stream.agent_warning_after,
        auto_offset_reset=settings.topics.auto_offset_reset,
        max_record_bytes=settings.producer.producer_max_request_size,
        dlq_redact=_redaction(settings.observe.dlq_redact),
        dlq_streams_headers=settings.observe.dlq_compat == "streams",
        isolate_after=settings.stream.isolate_after,
    )


def _redaction(named: str | None) -> Redact | None:
    """Return the function that `dlq_redact` names. Raises SettingInvalid: letters would go out with what it was to hide."""
    if named is None:
        return None
    module, _, name = named.partition(":")
    try:
        found = attrgetter(name)(import_module(module))
    except Exception as failure:  # user code runs while it is imported
        raise SettingInvalid(
            f"STREAMAPP_DLQ_REDACT={named}: cannot be imported: {type(failure).__name__}: {failure}"
        ) from failure
    if not callable(found):
        raise SettingInvalid(f"STREAMAPP_DLQ_REDACT={named}: must be a function of message and stack")
    return cast("Redact", found)


# --- an app's


async def assemble(app: StreamApp) -> AppEngine:
    """Return the engine of what `app` declares, not yet started.

    Raises ConfigurationError: it cannot run so; DataDirLocked; BrokerUnreachable: no broker answered within `start_timeout`.
    """
    settings = app.settings
    for notice in settings.notices:
        log_event(log, logging.WARNING, Event.SETTING_NOTICE, notice)
    declared = await describe(app)
    directory = DataDir.open(settings.identity)
    app.worker_id = directory.worker_id
    _say_started(settings, directory)
    listeners = Listeners(app.engine_service.rebalances)
    assembly = Assembly(
        settings,
        WorkerIdentity(directory.worker_id, directory.path),
        declared.agents,
        declared.tables,
        declarations(app, declared),
        listener=listeners,
        notes=app.doctor_notes,
    )
    app.doctor_notes.opened(directory)
    try:
        directory.announce(web_address(app))
        engine = await assembly.build()
        app.findings = await asyncio.get_running_loop().run_in_executor(None, examine_start, app, declared, directory)
        made = AppEngine(app, declared, assembly, engine, directory)
    except BaseException:
        await assembly.close()
        directory.close()
        raise
    listeners.also(made.sampler)
    return made


def _say_started(settings: Settings, directory: DataDir) -> None:
    guarantee, version = settings.transaction.processing_guarantee, version_of(settings.identity)
    made = f"worker id {directory.worker_id}, made now and kept in {directory.path}"
    known = f"worker {directory.worker_id} starts in {directory.path}"
    log_event(
        log, logging.INFO, Event.WORKER_STARTED, f"{made if directory.is_new_worker else known}: version {version}, {guarantee}",
        group=settings.identity.app_id, directory=str(directory.path), guarantee=guarantee,
    )  # fmt: skip


def web_address(app: StreamApp) -> str:
    """Return where this machine reaches the worker's web server; empty where it has none."""
    if app.settings.web.web_port == 0:
        return ""
    host = app.conf.web_bind
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what is listened on, not by us
    return f"http://{anywhere.get(host, f'[{host}]' if ':' in host else host)}:{app.conf.web_port}"


async def create_missing(app: StreamApp, topics: Iterable[Topic]) -> None:
    """Create these topics where they are missing. Raises TopologyInvalid, BrokerUnreachable."""
    count = app.settings.topics.topic_partitions
    wanted = [declaration(name, topic, default=count) for topic in topics for name in topic.topics]
    cluster = Cluster(app.settings, lambda: KafkaAdmin(client_config.admin(app.settings)), [], [], wanted)
    deadline = Deadline.after(app.settings.broker.start_timeout)
    await asyncio.get_running_loop().run_in_executor(None, cluster.fit, deadline)


def wipe_table(app: StreamApp, name: str) -> None:
    """Delete a table's local data. Raises DataDirLocked while a worker runs."""
    with DataDir.open(app.settings.identity) as directory:
        shutil.rmtree(directory.path / "tables" / name, ignore_errors=True)


class AppEngine:
    """An app's engine with what it was given: its tables bound to it, directory and stores closed after it."""

    def __init__(self, app: StreamApp, declared: Declared, assembly: Assembly, engine: Engine, directory: DataDir) -> None:
        self.engine = engine
        self.failure = engine.failure
        self._app = app
        self._declared = declared
        self._assembly = assembly
        self._directory = directory
        self.sampler = lag_sampler(
            app.settings, directory, assembly.topology, self, tables={table.name: table.topics for table in declared.tables}
        )

    async def start(self) -> None:
        """Bind the tables and start. Raises what the broker says; then everything is closed again."""
        try:
            for table in self._declared.tables:
                if table.name in self._app.tables:  # the others are agents' own
                    self._app.tables[table.name].bind(self.engine.table(table.name))
            await self.engine.start()
        except BaseException:
            await self._close()
            raise
        self.sampler.start()

    async def stop(self) -> None:
        """Stop it cleanly. May be called twice."""
        self.sampler.end()
        try:
            await self.engine.stop()
        finally:
            await self._close()

    async def _close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.sampler.stop)
        await self._assembly.close()
        self._directory.close()

    # --- what the shell asks

    @property
    def ready(self) -> bool:
        return self.engine.ready

    def facts(self) -> EngineFacts:
        return replace(self.engine.facts(), store_memory=self._assembly.store_memory())

    def table(self, name: str) -> TableHandle:
        return self.engine.table(name)

    def assignment(self) -> set[Partition]:
        return self.engine.assignment()

    def restored(self) -> set[Partition]:
        return self.engine.restored()

    def restoring(self) -> list[dict[str, Any]]:
        return self._assembly.restoring(self.engine.assignment() - self.engine.restored())

    def held_tables(self) -> list[HeldTable]:
        return [
            HeldTable(spec.name, partition.number, spec.changelog, partition.store)
            for spec in self._declared.tables
            for partition in self.engine.table_partitions(spec.name)
        ]

    def unresolved(self) -> list[Unresolved]:
        return self._assembly.unresolved()

    def source_partitions(self) -> Mapping[str, int]:
        return self._assembly.topology.partitions

    def is_leader(self) -> bool:
        return self.engine.is_leader()

    async def tick(self, function: Callable[[], Awaitable[None]], *, name: str, on_leader: bool = False) -> None:
        await self.engine.tick(function, name=name, on_leader=on_leader)

    def send(self, outgoing: Outgoing) -> None:
        self.engine.send(outgoing)


__all__ = ["AppEngine", "Assembly", "WorkerIdentity", "assemble", "create_missing", "wipe_table"]
