"""The engine put together: topics made, counts compared, concrete classes picked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, ConfigurationError, TopologyInvalid
from streamapp.events import CLIENT_LOGGER, Event, log_event
from streamapp.identity import DataDir
from streamapp.kafka import client_config
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.changelog import KafkaChangelogReader, topic_ids
from streamapp.kafka.client_config import Assignor
from streamapp.kafka.offsets import KafkaOffsets
from streamapp.kafka.producer import KafkaProducer
from streamapp.kafka.source import KafkaSource
from streamapp.pipeline.engine import Engine, EngineParts, EngineSettings
from streamapp.pipeline.spec import SourceSet, TableSpec, source_sets
from streamapp.ports import OffsetReader, PartitionSource, SourceListener, Store, TransactionalProducer
from streamapp.records import Outgoing, Partition
from streamapp.settings import Settings
from streamapp.state.memory import MemoryStores
from streamapp.state.recovery import Restorer
from streamapp.state.restore import RestoreOutcome, RestoreTask
from streamapp.state.rocksdb import RocksStores
from streamapp.state.stores import Stores
from streamapp.worker.topology import Topology, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from streamapp.application import StreamApp
    from streamapp.pipeline.table import TableHandle
    from streamapp.worker.topics import Topic

log = logging.getLogger(__name__)

DAY: Final = 86_400
DLQ_RETENTION: Final = 30 * DAY
"""Seconds at least: a month covers a holiday and the repair after it."""
DLQ_HEADROOM: Final = 65_536
"""Bytes above the source's largest record: 32 KiB of headers, and slack."""
DEFAULT_MAX_BYTES: Final = 1_048_588
"""Kafka's default for max.message.bytes."""
DEFAULT_DELETE_RETENTION: Final = float(DAY)
"""Seconds; Kafka's default for delete.retention.ms."""
MISSING_CHECK: Final = 5.0
"""Seconds between two looks for source topics that nobody has created."""
TOTAL_BOUND: Final = 20_000
"""Records waiting in a worker before polling slows down."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the cluster has, after the missing topics were made."""

    counts: dict[str, int]
    configs: Mapping[str, Mapping[str, str]]
    topic_ids: dict[str, str]
    missing: tuple[str, ...]
    """Source topics that do not exist and are not ours to create."""


async def assemble(app: StreamApp) -> AssembledEngine:
    """Return the engine of what `app` declares, not yet started.

    Raises ConfigurationError: it cannot run so; DataDirLocked; BrokerUnreachable: no broker answered within `start_timeout`.
    """
    settings = app.settings
    for notice in settings.notices:
        log_event(log, logging.WARNING, Event.SETTING_NOTICE, notice)
    topology = await describe(app)
    directory = DataDir.open(settings.identity)
    try:
        loop = asyncio.get_running_loop()
        cluster = await loop.run_in_executor(None, prepare, settings, topology, app.declared_topics)
        return AssembledEngine(app, topology, cluster, directory)
    except BaseException:
        directory.close()
        raise


# --- topics


def prepare(settings: Settings, topology: Topology, declared: Sequence[Topic]) -> Cluster:
    """Create what is missing, and compare the counts. Blocks: on a thread.

    Raises TopologyInvalid: counts do not fit, or a topic is missing that may not be created. BrokerUnreachable.
    """
    admin = _admin(settings)
    deadline = Deadline.after(settings.broker.start_timeout)
    sources = list(dict.fromkeys(topic for agent in topology.agents for topic in agent.topics))
    letters = list(dict.fromkeys(agent.dlq for agent in topology.agents if agent.dlq is not None))
    wanted = {name: topic for topic in [*(move.topic for move in topology.moves), *declared] for name in topic.topics}
    names = {*sources, *letters, *wanted, *(table.changelog for table in topology.tables)}
    counts = admin.partition_counts(sorted(names), deadline)
    maker = _Maker(admin, settings, counts, deadline)
    for name, topic in wanted.items():
        maker.make(name, topic.partitions, topic.topic_config(), topic.replicas)
    missing = tuple(topic for topic in sources if topic not in counts and topic not in letters)
    if missing and settings.topics.missing_topic == "fail":
        raise TopologyInvalid(_missing(missing))
    configs = admin.topic_configs([topic for topic in sources if topic in counts], deadline)
    for letter in letters:
        fed_by = [topic for agent in topology.agents if agent.dlq == letter for topic in agent.topics]
        count = max((counts[topic] for topic in fed_by if topic in counts), default=None)
        maker.make(letter, count, _dlq_config([configs.get(topic, {}) for topic in fed_by]))
    for table in topology.tables:
        _make_changelog(maker, table, counts)
    existing = [name for name in names if name in counts]
    ids = _topic_ids(settings, [table.changelog for table in topology.tables if table.changelog in counts], deadline)
    return Cluster(counts, admin.topic_configs(existing, deadline), ids, missing)


def _admin(settings: Settings) -> KafkaAdmin:
    return KafkaAdmin({**client_config.admin(settings), "logger": logging.getLogger(CLIENT_LOGGER)})


def _topic_ids(settings: Settings, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
    """Return the ids of topics that exist; one that was created just now takes a moment to be known everywhere."""
    while True:
        ids = topic_ids(client_config.admin(settings), topics, deadline)
        if len(ids) == len(set(topics)):
            return ids
        if deadline.passed:
            raise BrokerUnreachable(f"topic {', '.join(set(topics) - set(ids))} was created and does not appear")
        time.sleep(0.1)


class _Maker:
    """Creates topics that are missing, and keeps the counts."""

    def __init__(self, admin: KafkaAdmin, settings: Settings, counts: dict[str, int], deadline: Deadline) -> None:
        self._admin = admin
        self._settings = settings
        self._deadline = deadline
        self.counts = counts

    def make(self, name: str, partitions: int | None, config: Mapping[str, str], replicas: int | None = None) -> None:
        if name in self.counts:
            return
        topics = self._settings.topics
        if not topics.topic_allow_declare:
            raise TopologyInvalid(
                f"topic {name} does not exist and STREAMAPP_TOPIC_ALLOW_DECLARE is false: create it, or allow it to be created"
            )
        count = partitions or topics.topic_partitions
        factor = topics.topic_replication_factor if replicas is None else replicas
        self._admin.create(name, count, config, factor, self._deadline)
        self.counts[name] = count
        log_event(log, logging.INFO, Event.TOPIC_CREATED, f"topic {name} created with {count} partitions", topic=name)


def _make_changelog(maker: _Maker, table: TableSpec, counts: Mapping[str, int]) -> None:
    present = {topic: counts[topic] for topic in table.topics if topic in counts}
    if len(set(present.values())) > 1:
        told = ", ".join(f"{topic} has {count}" for topic, count in present.items())
        raise TopologyInvalid(
            f"table {table.name} is shared by topics whose partition counts differ ({told}): make them equal, "
            "or give each topic a table of its own"
        )
    if not present:
        return  # its topics are missing; the changelog follows when they are there
    count = next(iter(present.values()))
    if counts.get(table.changelog, count) != count:
        raise TopologyInvalid(
            f"changelog {table.changelog} has {counts[table.changelog]} partitions and its source {next(iter(present))} has {count}: "
            f"delete the changelog to begin the table anew, or give topic and changelog the same count"
        )
    config = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", **table.changelog_config}
    maker.make(table.changelog, count, config)


def _dlq_config(sources: Iterable[Mapping[str, str]]) -> dict[str, str]:
    retention, largest = float(DLQ_RETENTION * 1000), 0
    for source in sources:
        milliseconds = int(source.get("retention.ms", 7 * DAY * 1000))
        retention = -1 if milliseconds < 0 or retention < 0 else max(retention, 4.0 * milliseconds)
        largest = max(largest, int(source.get("max.message.bytes", DEFAULT_MAX_BYTES)))
    return {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(int(retention)),
        "max.message.bytes": str((largest or DEFAULT_MAX_BYTES) + DLQ_HEADROOM),
    }


def _missing(topics: Sequence[str]) -> str:
    return (
        f"source topic {', '.join(topics)} does not exist and nobody said with how many partitions to create it: "
        "create it, or declare it with partitions="
    )


async def create_missing(app: StreamApp, topics: Sequence[Topic]) -> None:
    """Create these topics where they are missing."""
    settings = app.settings

    def create() -> None:
        deadline = Deadline.after(settings.broker.start_timeout)
        admin = _admin(settings)
        wanted = {name: topic for topic in topics for name in topic.topics}
        maker = _Maker(admin, settings, admin.partition_counts(sorted(wanted), deadline), deadline)
        for name, topic in wanted.items():
            maker.make(name, topic.partitions, topic.topic_config(), topic.replicas)

    await asyncio.get_running_loop().run_in_executor(None, create)


def wipe_table(app: StreamApp, name: str) -> None:
    """Delete a table's local data. Raises DataDirLocked while a worker runs."""
    import shutil  # noqa: PLC0415 - a command's

    with DataDir.open(app.settings.identity) as directory:
        shutil.rmtree(directory.path / "tables" / name, ignore_errors=True)


# --- the engine's parts


class AssembledEngine:
    """The engine with what it was given: directory, stores and restorer are closed after it."""

    def __init__(self, app: StreamApp, topology: Topology, cluster: Cluster, directory: DataDir) -> None:
        settings = app.settings
        self._app = app
        self._topology = topology
        self._directory = directory
        self._cluster = cluster
        self._worker_id = directory.worker_id
        self._settings = settings
        kind = MemoryStores() if app.in_memory else RocksStores(directory.path)
        self._stores = Stores(settings.identity.app_id, kind)
        self._restorer = Restorer(self._changelog_reader)
        sets = [self._set(topics) for topics in source_sets(topology.agents, topology.tables)]
        missing = set(cluster.missing)
        self._absent = [each for each in sets if missing & set(each.topics)]
        # A first shared table changes the assignor of the whole group, so it depends on what is declared, not on what exists.
        self._assignor = Assignor.RANGE if any(len(each.topics) > 1 for each in sets) else Assignor.COOPERATIVE_STICKY
        self._watching: asyncio.Task[None] | None = None
        self._closed = False
        letters = [agent.dlq for agent in topology.agents if agent.dlq is not None]
        dlq_bytes = {name: int(cluster.configs.get(name, {}).get("max.message.bytes", DEFAULT_MAX_BYTES)) for name in letters}
        self._max_bytes = max(dlq_bytes.values(), default=None)
        self._engine = Engine(
            settings=engine_settings(settings, self._worker_id),
            sets=[each for each in sets if each not in self._absent],
            agents=topology.agents,
            tables=topology.tables,
            parts=EngineParts(
                producer=self._producer,
                source=self._source,
                offsets=self._offsets,
                restore=TableRestores(self._restorer, self._stores, topology.tables, cluster),
                spare_producer=self._spare_producer,
                dlq_partitions={name: cluster.counts[name] for name in letters},
                dlq_max_bytes=dlq_bytes,
                partitions=cluster.counts,
            ),
        )
        self.failure = self._engine.failure
        self.engine = self._engine

    # --- life

    async def start(self) -> None:
        """Start it, and bind the tables. Raises what the broker says; then everything is closed again."""
        try:
            self._restorer.start()
            for table in self._topology.tables:
                self._app.tables[table.name].bind(self._engine.table(table.name))
            await self._engine.start()
        except BaseException:
            await self._close()
            raise
        if self._absent:
            self._watching = asyncio.get_running_loop().create_task(self._await_topics(), name="missing topics")

    async def stop(self) -> None:
        """Stop it cleanly. May be called twice."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        try:
            await self._engine.stop()
        finally:
            await self._close()

    async def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._restorer.stop)
        await loop.run_in_executor(None, self._stores.close_all)
        self._directory.close()

    async def _await_topics(self) -> None:
        """Name the source topics that are missing, until somebody creates them; then read them."""
        loop = asyncio.get_running_loop()
        while self._absent:
            absent = sorted({topic for each in self._absent for topic in each.topics if topic not in self._cluster.counts})
            if absent:
                log_event(log, logging.WARNING, Event.MISSING_TOPIC, _missing(absent), topics=", ".join(absent))
                await asyncio.sleep(MISSING_CHECK)
            try:
                found = await loop.run_in_executor(None, prepare, self._settings, self._topology, self._app.declared_topics)
            except ConfigurationError as refused:
                if not self.failure.done():
                    self.failure.set_result(refused)
                return
            self._cluster.counts.update(found.counts)
            self._cluster.topic_ids.update(found.topic_ids)
            for each in [each for each in self._absent if all(topic in found.counts for topic in each.topics)]:
                self._absent.remove(each)
                self._engine.add_set(self._set(each.topics))

    # --- what the shell asks

    @property
    def ready(self) -> bool:
        return self._engine.ready

    def table(self, name: str) -> TableHandle:
        return self._engine.table(name)

    def assignment(self) -> set[Partition]:
        return self._engine.assignment()

    def restored(self) -> set[Partition]:
        return self._engine.restored()

    def is_leader(self) -> bool:
        return self._engine.is_leader()

    async def tick(self, function: Callable[[], Awaitable[None]], *, name: str, on_leader: bool = False) -> None:
        await self._engine.tick(function, name=name, on_leader=on_leader)

    def send(self, outgoing: Outgoing) -> None:
        self._engine.send(outgoing)

    # --- factories

    def _set(self, topics: tuple[str, ...]) -> SourceSet:
        counts = {self._cluster.counts[topic] for topic in topics if topic in self._cluster.counts}
        if len(topics) > 1 and len(counts) > 1:
            told = ", ".join(f"{topic} has {self._cluster.counts.get(topic)}" for topic in topics)
            raise TopologyInvalid(f"topics that share a table need the same partition count: {told}")
        return SourceSet(name="+".join(topics), topics=topics, partitions=counts.pop() if len(counts) == 1 else None)

    def _producer(self) -> TransactionalProducer:
        settings = self._settings
        if not settings.transaction.exactly_once:
            return self._spare_producer()
        config = client_config.transactional_producer(settings, self._worker_id, max_message_bytes=self._max_bytes)
        producer = KafkaProducer(config, transactional=True)
        try:
            producer.init_transactions(Deadline.after(settings.broker.start_timeout))
        except BaseException:
            producer.close()
            raise
        return producer

    def _spare_producer(self) -> TransactionalProducer:
        config = client_config.idempotent_producer(
            self._settings, f"{self._worker_id}-idempotent", max_message_bytes=self._max_bytes
        )
        return KafkaProducer(config, transactional=False)

    def _source(self, source_set: SourceSet, listener: SourceListener) -> PartitionSource:
        settings = self._settings
        return KafkaSource(
            source_set.name,
            source_set.topics,
            client_config.source_consumer(settings, self._worker_id, source_set.name, self._assignor),
            listener,
            incremental=settings.group.group_protocol == "consumer" or self._assignor is Assignor.COOPERATIVE_STICKY,
            lane_bound=settings.stream.stream_buffer_maxsize,
            total_bound=TOTAL_BOUND,
            revoke_budget=min(settings.group.max_poll_interval * 0.25, settings.transaction.transaction_timeout),
        )

    def _offsets(self) -> OffsetReader:
        return KafkaOffsets(
            client_config.helper_consumer(self._settings, self._worker_id),
            client_config.watermark_consumer(self._settings, self._worker_id),
        )

    def _changelog_reader(self) -> KafkaChangelogReader:
        return KafkaChangelogReader(
            client_config.changelog_consumer(self._settings, self._worker_id),
            client_config.watermark_consumer(self._settings, self._worker_id),
        )


class TableRestores:
    """The engine's TableRestore over the restore thread and the open stores."""

    def __init__(self, restorer: Restorer, stores: Stores, tables: Sequence[TableSpec], cluster: Cluster) -> None:
        self._restorer = restorer
        self._stores = stores
        self._changelogs = {table.name: table.changelog for table in tables}
        self._cluster = cluster
        self._under_way: dict[tuple[str, int], RestoreTask] = {}

    def begin(self, table: str, number: int) -> Future[Store]:
        restored: Future[Store] = Future()
        changelog = self._changelogs[table]
        config = self._cluster.configs.get(changelog, {})
        milliseconds = config.get("delete.retention.ms")
        task = RestoreTask(
            changelog=Partition(changelog, number),
            open=lambda: self._stores.open(table, number, self._cluster.topic_ids.get(changelog, "")),
            delete_retention=DEFAULT_DELETE_RETENTION if milliseconds is None else int(milliseconds) / 1000,
        )

        def done(outcome: RestoreOutcome) -> None:
            if self._under_way.get((table, number)) is task:
                del self._under_way[table, number]
            if restored.cancelled():
                return
            if outcome.failure is not None:
                restored.set_exception(outcome.failure)
            elif outcome.store is not None:
                restored.set_result(outcome.store)

        self._under_way[table, number] = task
        self._restorer.restore(task, done)
        return restored

    def cancel(self, table: str, number: int) -> None:
        task = self._under_way.pop((table, number), None)
        if task is not None:
            self._restorer.cancel(task)


def engine_settings(settings: Settings, worker_id: str) -> EngineSettings:
    """Return what the engine needs to know of the settings."""
    return EngineSettings(
        app_id=settings.identity.app_id,
        worker_id=worker_id,
        version=settings.identity.app_version or "",
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
    )


__all__ = ["AssembledEngine", "TableRestores", "assemble", "create_missing", "engine_settings", "prepare", "wipe_table"]
