"""StreamApp: a Faust app whose records go through the engine. The one place that picks concrete classes."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast, overload

import faust
from faust.app.base import SCAN_AGENT
from faust.utils import venusian
from mode.utils.trees import Node

from streamapp import assembly
from streamapp.errors import ConfigurationError
from streamapp.kafka import client_config
from streamapp.kafka.script_producer import ScriptProducer
from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.retry import Retry
from streamapp.project import Project, find_project, import_modules
from streamapp.records import Outgoing
from streamapp.settings import Settings as WorkerSettings
from streamapp.settings import load
from streamapp.settings.credentials import from_faust
from streamapp.worker import timers
from streamapp.worker.agents import Agent
from streamapp.worker.client import ClientProducer
from streamapp.worker.conf import Conf, conf_of, split
from streamapp.worker.dead_letter_page import DeadLetterPage
from streamapp.worker.digests import Digests, HeldTable, TableDigests, TableList
from streamapp.worker.doctor_notes import DoctorNotes
from streamapp.worker.handover import Delivery
from streamapp.worker.letter_forms import LetterForm, LetterJob
from streamapp.worker.lifecycle import Boot, EngineLike, EngineService, say, say_refusals_in_one_line
from streamapp.worker.metrics_view import Metrics
from streamapp.worker.page_view import Page
from streamapp.worker.probes import Healthz, Livez, Readyz, Startupz
from streamapp.worker.refusals import StandIn, refuse
from streamapp.worker.reporting import Reporter
from streamapp.worker.status_view import StatusView
from streamapp.worker.table_view import TableNames, TableOf, TableValue
from streamapp.worker.tables import WINDOW_IDIOM, DedupeKey, DedupeTable, Table, Tables
from streamapp.worker.topics import Topic
from streamapp.worker.web import Web

if TYPE_CHECKING:
    from datetime import tzinfo

    from streamapp.monitor.finding import Finding
    from streamapp.monitor.sampler import Sampler
    from streamapp.monitor.status import StatusDocument
    from streamapp.pipeline.dead_letter_counts import Unresolved

K = TypeVar("K")
V = TypeVar("V")
Run = TypeVar("Run", bound=Callable[..., Any])

TEST_CRASH_AT = "STREAMAPP_TEST_CRASH_AT"
_ENGINE_DOES_IT = "declare agents, tables and timers; their records and commits are the engine's"


class StreamApp(faust.App):
    """A Faust app, exactly once: agents over Kafka topics, tables, timers, commands and pages.

    `StreamApp("shop", broker="kafka://localhost:9092")`. Options are Faust's settings and ours; `STREAMAPP_…` variables and
    `[tool.streamapp]` win over them.
    """

    BootStrategy = Boot
    Settings = Conf
    tables: Tables  # type: ignore[assignment]  # Faust's is a service that restores; the engine does
    engine_service: EngineService

    def __init__(self, id: str | None = None, *, project: Project | None = None, **options: Any) -> None:  # noqa: A002 - Faust's name
        say_refusals_in_one_line()
        self._project = project
        self._modules_wanted = project is not None
        self._modules_failure: ConfigurationError | None = None
        monitor, config_source = options.pop("monitor", None), options.pop("config_source", None)
        loop, beacon = options.pop("loop", None), options.pop("beacon", None)
        self._code_options, self._faust_options = split(options)
        self._version = int(self._faust_options.pop("version", None) or 1)
        self._id_in_code = id
        self._topic_class: type[Topic] = self._faust_options.get("Topic", Topic)
        self._agent_class: type[Agent] = self._faust_options.get("Agent", Agent)
        self._table_class: type[Table[Any, Any]] = self._faust_options.get("Table", Table)
        self._named_topics: dict[str, Topic] = {}
        self._all_topics: list[Topic] = []
        self._running: EngineLike | None = None
        self.flags: dict[str, object] = {}
        """What the command line set; wins over every other source. Before the settings are read."""
        self.draining = False
        self.worker_id = ""
        """Who this worker is, once its directory is open; before that what the settings name, or nobody."""
        self.findings: list[Finding] = []
        """What the doctor found at the start."""
        self.doctor_notes = DoctorNotes()
        self.reporter = Reporter(self)
        self.digests = Digests()
        super().__init__(
            id or (project.app_id if project else None) or "",
            monitor=monitor,
            config_source=config_source,
            loop=loop,
            beacon=beacon,
        )
        self.tables = Tables(self)
        self.topics = cast("Any", _Topics())
        self.engine_service = EngineService(self)

    # --- settings

    @cached_property
    def settings(self) -> WorkerSettings:
        """Our settings, read and checked on first use."""
        code = {name: value for name, value in self._code_options.items() if value is not None}
        credentials = from_faust(self._faust_options.get("broker_credentials"), self._faust_options.get("ssl_context"))
        if self._id_in_code is not None:
            code["app_id"] = self._id_in_code if self._version == 1 else f"{self._id_in_code}-v{self._version}"
        if self._config_source is not None:
            ours, fausts = split(self._load_settings_from_source(self._config_source))
            code.update(ours)
            self._faust_options.update(fausts)
        return load({**code, **credentials}, self._project_settings(), os.environ, flags=self.flags)

    def _project_settings(self) -> Mapping[str, object]:
        """Return `[tool.streamapp]`: the app's own, not that of another app in whose folder this one happens to run."""
        project = self._project
        if project is None:
            try:
                project = find_project(Path.cwd())
            except ConfigurationError:
                return {}
            if project.app_id is not None and project.app_id != self._id_in_code:
                return {}
        return project.settings

    def _load_settings(self, *, silent: bool = False) -> Conf:
        return conf_of(self.settings, self._faust_options)

    @property
    def schema_class(self) -> type[faust.Schema[Any, Any]]:
        return cast("type[faust.Schema[Any, Any]]", self._faust_options.get("Schema", faust.Schema))

    def default_serializer(self, *, is_key: bool) -> Any:
        """Return the app-wide serializer that code names, None for the default (raw keys, JSON values)."""
        name = self._faust_options.get("key_serializer" if is_key else "value_serializer")
        return None if name == ("raw" if is_key else "json") else name

    @property
    def in_memory(self) -> bool:
        """Whether tables live in memory; `app.conf.store = "memory://"` in tests says so late."""
        return str(self.conf.store).startswith("memory:")

    # --- the project's modules

    def load_modules(self) -> None:
        """Import the modules of the app's `[tool.streamapp]`, once. Raises UserModuleFailed, ModuleShadowed, each time anew."""
        if self._modules_failure is not None:
            raise self._modules_failure
        if not self._modules_wanted or self._project is None:
            return
        self._modules_wanted = False
        try:
            import_modules(self._project)
        except ConfigurationError as failure:
            self._modules_failure = failure
            raise

    def worker_init(self) -> None:
        """Called for every command, before its name is looked up: the app's modules, and our commands beside Faust's."""
        self.load_modules()
        # By name: the commands are a floor above, and a library that only declares agents must not load them.
        importlib.import_module("streamapp.cli.faust_commands")
        super().worker_init()

    def worker_init_post_autodiscover(self) -> None:
        """Leave the web server alone: the worker makes it, other commands do not need it."""
        self.on_worker_init.send()

    def main(self) -> NoReturn:
        """Run Faust's command line on this app. Exits 2 with one line when the app is refused."""
        try:
            super().main()
        except ConfigurationError as refused:
            say(refused)
            raise SystemExit(2) from None

    # --- declarations

    def topic(self, *topics: str, **options: Any) -> Topic:
        """Declare a topic, or several with one meaning. One with `partitions=` is created when it is missing."""
        options.pop("loop", None)
        options.pop("maxsize", None)
        topic = self._topic_class(self, topics=list(topics), **options)
        self._all_topics.append(topic)
        return topic

    def topic_of(self, channel: Any) -> Topic:
        """Return the topic that a topic, an agent or a name means. Raises Unsupported for channels."""
        if isinstance(channel, Topic):
            return channel
        if isinstance(channel, Agent):
            return channel.source_topic
        if isinstance(channel, str):
            topic = self._named_topics.get(channel)
            if topic is None:
                topic = self._named_topics[channel] = self._topic_class(self, topics=[channel])
            return topic
        return refuse(f"sending to a {type(channel).__name__}", "give a topic, an agent or a topic's name")

    def topic_names(self, source: Any) -> tuple[str, ...]:
        """Return the topic names that `source=` of a table means."""
        if source is None:
            return ()
        if isinstance(source, (list, tuple, set, frozenset)):
            return tuple(name for each in source for name in self.topic_names(each))
        if isinstance(source, str):
            return (source,)
        return tuple(self.topic_of(source).topics)

    @property
    def all_topics(self) -> tuple[Topic, ...]:
        """Every topic that `app.topic()` made."""
        return tuple(self._all_topics)

    @property
    def declared_topics(self) -> tuple[Topic, ...]:
        """Those that the app creates when they are missing."""
        return tuple(topic for topic in self._all_topics if topic.partitions is not None or topic.internal)

    def channel(self, **options: Any) -> NoReturn:
        refuse("app.channel()", "channels are not built yet; use a topic between agents, and agent.test_context() in tests")

    def stream(self, channel: Any, beacon: Any = None, **options: Any) -> NoReturn:
        refuse("app.stream()", "read topics with agents: @app.agent(topic)")

    def agent(  # type: ignore[override]  # Faust's plus ours
        self,
        channel: str | Topic | None = None,
        *,
        name: str | None = None,
        concurrency: int = 1,
        sink: Iterable[Any] | None = None,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        dlq: str | Topic | None = None,
        dedupe: DedupeKey | None = None,
        on_error: Any = None,
        supervisor_strategy: Any = None,
        isolated_partitions: bool = False,
        use_reply_headers: bool = True,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Agent]:
        """Make an agent of a function over a stream.

        `retry`: how often and how long a failing record is tried. `dlq`: where it goes then; default `<topic>-dlq`.
        `breaker`: when its partition stands instead, because all of them fail. `on_error`: `"skip"`, or `"stop"` at the first.
        `dedupe`: `table.by(function)`, which drops what was already processed.
        """

        def declared(function: Callable[..., Any]) -> Agent:
            agent = self._agent_class(
                function,
                app=self,
                name=name,
                channel=channel,
                concurrency=concurrency,
                sink=sink,
                retry=retry,
                breaker=breaker,
                dlq=dlq,
                dedupe=dedupe,
                on_error=on_error,
                supervisor_strategy=supervisor_strategy,
                isolated_partitions=isolated_partitions,
                use_reply_headers=use_reply_headers,
                help=function.__doc__ or "",
                **options,
            )
            if agent.name in self.agents:
                raise ConfigurationError(f"two agents are called {agent.name}: give one of them another name=")
            self.agents[agent.name] = agent
            venusian.attach(agent, category=SCAN_AGENT)
            return agent

        return declared

    actor = agent  # type: ignore[assignment]  # as agent

    @overload  # type: ignore[override]
    def Table(
        self, name: str, *, value_type: type[V], default: Callable[[], V] | None = ..., **options: Any
    ) -> Table[Any, V]: ...
    @overload
    def Table(self, name: str, *, default: Callable[[], V], value_type: None = ..., **options: Any) -> Table[Any, V]: ...
    @overload
    def Table(self, name: str, *, default: None = ..., value_type: Any = ..., **options: Any) -> Table[Any, Any]: ...
    def Table(  # noqa: N802 - Faust's name
        self, name: str, *, default: Any = None, value_type: Any = None, window: Any = None, **options: Any
    ) -> Table[Any, Any]:
        """Declare a table. It belongs to the topics of the agents that use it; `source=` names them where that cannot be seen.

        `default`: makes the value of a missing key. `value_type`: what values are read as (JSON in the changelog).
        """
        if window is not None:
            refuse(f"table {name}: window=", WINDOW_IDIOM)
        for each in ("on_changelog_event", "recovery_buffer_size", "standby_buffer_size", "is_global", "options"):
            if options.pop(each, None):
                refuse(f"table {name}: {each}=", "leave it out; the engine restores tables")
        config = options.pop("extra_topic_configs", None)
        options.pop("use_partitioner", None)
        options.pop("beacon", None)
        options.pop("loop", None)
        table = self._table_class(self, name=name, default=default, value_type=value_type, changelog_config=config, **options)
        return cast("Table[Any, Any]", self.tables.add(table))

    def dedupe_table(self, name: str, *, horizon: float, source: Any = None, help: str | None = None) -> DedupeTable:  # noqa: A002 - Faust's name
        """Declare a table of what was already processed, for `horizon` seconds of event time."""
        return cast("DedupeTable", self.tables.add(DedupeTable(self, name=name, horizon=horizon, source=source, help=help)))

    def SetTable(self, name: str, **options: Any) -> NoReturn:  # noqa: N802 - Faust's name
        refuse(
            f"SetTable {name}", "it is not built yet; use app.Table(…, value_type=set[str], default=set) and set the value anew"
        )

    def GlobalTable(self, name: str, **options: Any) -> NoReturn:  # noqa: N802 - Faust's name
        refuse(f"GlobalTable {name}", "it is not built yet; send the look-up records to the topic of the agent that needs them")

    def SetGlobalTable(self, name: str, **options: Any) -> NoReturn:  # noqa: N802 - Faust's name
        refuse(f"SetGlobalTable {name}", "it is not built yet; use app.Table(…, value_type=set[str], default=set)")

    def table_route(self, *args: Any, **options: Any) -> NoReturn:
        refuse("app.table_route()", "it is not built yet; a page reads what this worker owns: table.get(key)")

    def topic_route(self, *args: Any, **options: Any) -> NoReturn:
        refuse("app.topic_route()", "it is not built yet; a page reads what this worker owns: table.get(key)")

    def LiveCheck(self, **options: Any) -> NoReturn:  # noqa: N802 - Faust's name
        refuse("app.LiveCheck()", "check with records of a test app of your own")

    # --- tasks and timers

    @overload  # type: ignore[override]  # mode has a class method of that name
    def task(self, fun: Run, *, on_leader: bool = ..., traced: bool = ...) -> Run: ...
    @overload
    def task(self, fun: None = ..., *, on_leader: bool = ..., traced: bool = ...) -> Callable[[Run], Run]: ...
    def task(self, fun: Any = None, *, on_leader: bool = False, traced: bool = True) -> Any:
        """Run a function once the worker is ready; it may take the app. What it sends joins the worker's transaction."""
        return super().task(fun, on_leader=on_leader, traced=traced)

    def timer(  # type: ignore[override]  # untyped in Faust
        self,
        interval: Any,
        on_leader: bool = False,
        traced: bool = True,
        name: str | None = None,
        max_drift_correction: float = 0.1,
    ) -> Callable[[Run], Run]:
        """Run a function every `interval` seconds; what it sends and writes joins the worker's transaction."""

        def declared(function: Run) -> Run:
            self.task(timers.every(
                self, interval, function, on_leader=on_leader, name=name, max_drift_correction=max_drift_correction
            ))  # fmt: skip
            return function

        return declared

    def crontab(  # type: ignore[override]  # as timer
        self, cron_format: str, *, timezone: tzinfo | None = None, on_leader: bool = False, traced: bool = True
    ) -> Callable[[Run], Run]:
        """Run a function at the times that `cron_format` names; what it sends and writes joins the worker's transaction."""

        def declared(function: Run) -> Run:
            self.task(timers.at_times(self, cron_format, function, timezone=timezone, on_leader=on_leader))
            return function

        return declared

    def is_leader(self) -> bool:
        """Return whether this worker owns partition 0 of the app's first source topic by name."""
        return self._running is not None and self._running.is_leader()

    # --- the engine

    @property
    def engine(self) -> EngineLike | None:
        """The engine while it takes sends; None in scripts and commands."""
        return self._running

    running_engine = engine

    async def build_engine(self) -> EngineLike:
        """Return an engine for what is declared. Raises ConfigurationError, BrokerUnreachable."""
        if TEST_CRASH_AT in os.environ:
            # By name, as the commands: tests tell a worker where to die, and nobody else ever loads that.
            importlib.import_module("streamapp.testing.crash").install_from(os.environ)
        return await assembly.assemble(self)

    def engine_started(self, engine: EngineLike) -> None:
        self._running = engine
        self.draining = False

    def engine_stopped(self) -> None:
        self._running = None
        for table in self.tables.values():
            table.release(f"table {table.name} used after the worker stopped")

    def readiness(self) -> dict[str, Any]:
        """Return what `/readyz` answers."""
        engine = self._running
        if engine is None or self.draining:
            return {"ready": False, "failing": "draining" if self.draining else "starting"}
        assigned, restored = engine.assignment(), engine.restored()
        status: dict[str, Any] = {"ready": engine.ready, "assigned": len(assigned), "restored": len(restored)}
        if engine.ready and not assigned:
            status["idle"] = True
        if not engine.ready:
            status["failing"] = "restoring" if assigned else "not assigned"
            if assigned and (restoring := engine.restoring()):
                status["restoring"] = restoring
        return status

    def status(self, *, history: str | None = None, own_only: bool = False) -> StatusDocument:
        """Return what `/streamapp/status.json` answers, from memory. On the loop.

        `history`: `30m` or `24h` adds each partition's samples. `own_only` leaves out what other workers tell.
        """
        return self.reporter.document(history=history, own_only=own_only)

    async def status_json(self, *, history: str | None = None, own_only: bool = False) -> bytes:
        """Return the same as JSON; with a history it does not hold the loop up."""
        return await self.reporter.json(history=history, own_only=own_only)

    @property
    def sampler(self) -> Sampler | None:
        """What samples lag while the engine runs."""
        return None if self._running is None else self._running.sampler

    @property
    def web_address(self) -> str:
        """Where this machine reaches the worker's web server; empty where it has none."""
        return assembly.web_address(self)

    def held_tables(self) -> list[HeldTable]:
        """Return the table partitions that this worker has and that are restored."""
        return [] if self._running is None else self._running.held_tables()

    def unresolved(self) -> list[Unresolved]:
        """Return how many dead letters are unresolved, per partition of a dead-letter topic that this worker owns."""
        return [] if self._running is None else self._running.unresolved()

    def send_outside(self, outgoing: Outgoing) -> Delivery:
        """Send through this process's own idempotent producer."""
        return cast("ClientProducer", self.producer).send(outgoing)

    async def declare_topic(self, topic: Topic) -> None:
        """Create a topic if it is missing."""
        await assembly.create_missing(self, [topic])

    def reset_table(self, name: str) -> None:
        """Delete a table's local data. Raises DataDirLocked while a worker runs."""
        assembly.wipe_table(self, name)

    # --- what Faust's parts did

    async def on_start(self) -> None:
        self.finalize()

    async def on_first_start(self) -> None:
        self.load_modules()

    def _create_directories(self) -> None:
        """The engine's data directory is made and locked by its owner."""

    async def _wait_for_table_recovery_completed(self) -> bool:
        if self.client_only or self.producer_only:
            return False
        return await self.engine_service.wait_until_ready()

    async def on_stop(self) -> None:
        await self.on_before_shutdown.send()
        producer: Any = self._producer
        if isinstance(producer, ClientProducer) and producer.started:
            await producer.stop()
        await self._maybe_close_http_client()

    def on_webserver_init(self, web: Any) -> None:
        served = set(web.views)  # a server may be initialised again
        for view in (
            Page, StatusView, Livez, Readyz, Startupz, Healthz, Metrics, TableList, TableDigests, DeadLetterPage,
            TableNames, TableOf, TableValue, LetterForm, LetterJob,
        ):  # fmt: skip
            if view.view_path not in served:
                web.add_view(view)

    def _new_producer(self) -> Any:
        return ClientProducer(lambda: ScriptProducer(client_config.idempotent_producer(self.settings, "client")))

    def _new_web(self) -> Any:
        return Web(self)

    async def maybe_start_producer(self) -> Any:
        return self.producer

    async def start_client(self) -> None:
        """Sends need no started app; replies to `ask` would."""

    async def maybe_start_client(self) -> None:
        """As start_client."""

    async def commit(self, topics: Any) -> NoReturn:
        refuse("app.commit()", "the engine commits a record's outputs, table writes and offset together")

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        """The engine decides what becomes of a record that failed."""

    def _new_transport(self) -> Any:
        return StandIn("transport", _ENGINE_DOES_IT, driver_version=_client_version(), url=self.conf.broker)

    _new_producer_transport = _new_transport

    def _new_consumer(self) -> Any:
        return StandIn("consumer", _ENGINE_DOES_IT, beacon=Node(None), unacked=frozenset())

    def _new_conductor(self) -> Any:
        return _Topics()

    @cached_property
    def assignor(self) -> Any:
        return StandIn("assignor", "Kafka's group protocol assigns partitions")

    @cached_property
    def _leader_assignor(self) -> Any:
        return StandIn("_leader_assignor", "ask app.is_leader()", is_leader=self.is_leader)

    @cached_property
    def _fetcher(self) -> Any:
        return StandIn("_fetcher", _ENGINE_DOES_IT)

    @cached_property
    def _reply_consumer(self) -> Any:
        return StandIn("_reply_consumer", "agent.ask() is not supported")

    @cached_property
    def router(self) -> Any:
        return StandIn("router", "table routes are not built yet")


class _Topics(MutableMapping[Any, Any]):
    """`app.topics`, where Faust keeps its conductor: empty, and in the graph of services."""

    def __init__(self) -> None:
        self.beacon: Any = Node(self)
        self.acking_topics: set[str] = set()

    def add(self, topic: Any) -> None:
        """Readers are known from agents."""

    def discard(self, topic: Any) -> None:
        """As add."""

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse("app.topics[…] = …", "declare an agent")

    def __delitem__(self, key: Any) -> None:
        raise KeyError(key)

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return id(self)


def _client_version() -> str:
    return f"confluent-kafka={importlib.metadata.version('confluent-kafka')}"


__all__ = ["StreamApp"]
