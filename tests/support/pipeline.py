"""An engine on fakes, and the few words that tests of it are written in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from streamapp.clock import Deadline
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.engine import Engine, EngineParts, EngineSettings
from streamapp.pipeline.held import HoldLimits
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.pipeline.spec import AgentSpec, DedupeSpec, OnError, SourceSet, SourceSpec, TableSpec, source_sets
from streamapp.pipeline.suspects import Forgetful
from streamapp.pipeline.tracing import Tracer
from streamapp.ports import InHand
from streamapp.records import Partition
from streamapp.state.memory import MemoryStore
from tests.support.fakes import FakeBroker, FakeOffsets, FakeProducer, FakeRestore, FakeSource

Body = Callable[[bytes], Awaitable[None]]

QUICK = Retry(attempts=3, unknown_attempts=2, base=0.002, cap=0.01, jitter="none", budget=2.0, attempt_timeout=2.0)

SETTINGS = EngineSettings(
    app_id="app",
    worker_id="w1",
    version="1",
    transactional_id="app-w1",
    exactly_once=True,
    commit_interval=0.01,
    commit_every=None,
    transaction_timeout=10.0,
    max_poll_interval=20.0,
    lane_bound=1000,
    overlay_max_bytes=10_000_000,
    warn_after=60.0,
    auto_offset_reset="earliest",
    max_record_bytes=1_000_000,
    isolate_after=3,
)


def here() -> Savepoint:
    """Return the savepoint of the record in hand."""
    savepoint = current_savepoint.get()
    assert savepoint is not None
    return savepoint


def emit(value: bytes, topic: str = "out", key: bytes | None = None) -> None:
    """Send from the record in hand."""
    here().send((topic, value, key, here().record.partition() or 0, 0, []))


def decode(raw: bytes) -> bytes:
    """Refuse what starts with an exclamation mark."""
    if raw.startswith(b"!"):
        raise ValueError("not what the topic promises")
    return raw


def each(body: Body) -> Callable[[Cursor], Awaitable[None]]:
    """Return an agent's function that gives `body` one record after the other."""

    async def run(cursor: Cursor) -> None:
        while True:
            value = await anext(cursor)
            assert isinstance(value, bytes)
            await body(value)

    return run


def batches(
    limit: int, body: Callable[[list[bytes]], Awaitable[None]], within: float | None = 0.02
) -> Callable[[Cursor], Awaitable[None]]:
    """Return an agent's function that gives `body` batches."""

    async def run(cursor: Cursor) -> None:
        while True:
            values = await cursor.take(limit, within)
            await body([value for value in values if isinstance(value, bytes)])

    return run


async def copy(value: bytes) -> None:
    """Send the value on."""
    emit(value)


def agent(
    run: Callable[[Cursor], Awaitable[None]],
    *,
    name: str = "agent",
    topics: Sequence[str] = ("in",),
    concurrency: int = 1,
    dedupe: str | None = None,
    retry: Retry = QUICK,
    dlq: str | None = "dlq",
    takes_none: bool = False,
    on_error: OnError = "skip",
    hold: HoldLimits | None = None,
) -> AgentSpec:
    spec = None
    if dedupe is not None:
        spec = DedupeSpec(table=dedupe, key=lambda value: value, encode=_as_bytes)
    sources = tuple(SourceSpec(topic=topic, decode=decode, takes_none=takes_none) for topic in topics)
    return AgentSpec(
        name=name,
        sources=sources,
        run=run,
        concurrency=concurrency,
        dedupe=spec,
        retry=retry,
        dlq=dlq,
        on_error=on_error,
        hold=hold or HoldLimits(),
    )


def table(name: str = "totals", *topics: str, horizon: float | None = None) -> TableSpec:
    return TableSpec(name=name, topics=topics or ("in",), changelog=f"{name}-changelog", horizon=horizon)


def _as_bytes(key: object) -> bytes:
    assert isinstance(key, bytes)
    return key


@dataclass
class Heard:
    """An EngineListener that remembers."""

    told: list[tuple[str, set[Partition]]] = field(default_factory=list)

    def on_assigned(self, partitions: set[Partition]) -> None:
        self.told.append(("assigned", partitions))

    def on_revoked(self, partitions: set[Partition]) -> None:
        self.told.append(("revoked", partitions))

    def on_restored(self, partitions: set[Partition]) -> None:
        self.told.append(("restored", partitions))


class Bench:
    """A running engine and its fakes."""

    def __init__(
        self,
        agents: Sequence[AgentSpec],
        tables: Sequence[TableSpec],
        broker: FakeBroker,
        partitions: Mapping[str, int],
        given: Mapping[str, Sequence[int]] | None,
        settings: EngineSettings,
        source_batch: int,
        tracer: Tracer | None = None,
        in_hand: InHand | None = None,
    ) -> None:
        self.broker = broker
        self.sources: dict[str, FakeSource] = {}
        self.restore = FakeRestore(broker, {spec.name: spec.changelog for spec in tables})
        self.heard = Heard()
        self.resolved: set[str] = set()
        """Dead letters that are resolved or discarded, as the engine asks it; it is told by `engine.settled`."""
        self.partitions = partitions
        self._given = given
        self._batch = source_batch
        sets = [SourceSet(name="+".join(topics), topics=topics) for topics in source_sets(agents, tables)]
        letters = {spec.dlq for spec in agents if spec.dlq is not None}
        self.engine = Engine(
            settings=settings,
            sets=sets,
            agents=agents,
            tables=tables,
            listener=self.heard,
            parts=EngineParts(
                producer=lambda: FakeProducer(broker, transactional=settings.exactly_once),
                source=self._source,
                offsets=lambda: FakeOffsets(broker),
                restore=self.restore,
                spare_producer=lambda: FakeProducer(broker, transactional=False),
                dlq_partitions=dict.fromkeys(letters, 1),
                dlq_max_bytes={},
                partitions=partitions,
                settled=lambda letter: letter in self.resolved,
                tracer=tracer,
                in_hand=in_hand or Forgetful(),
            ),
        )

    def _source(self, source_set: SourceSet, listener: object) -> FakeSource:
        given = [
            Partition(topic, number)
            for topic in source_set.topics
            for number in (range(self.partitions[topic]) if self._given is None else self._given.get(topic, ()))
        ]
        source = FakeSource(self.broker, source_set.name, listener, given, batch=self._batch)  # type: ignore[arg-type]
        self.sources[source_set.name] = source
        return source

    @property
    def source(self) -> FakeSource:
        (source,) = self.sources.values()
        return source

    def store(self, name: str = "totals", number: int = 0) -> dict[bytes, bytes]:
        """Return what the disk holds."""
        return dict(MemoryStore.items(self.restore.stores[name, number]))

    def changelog(self, name: str = "totals", number: int = 0) -> dict[bytes, bytes]:
        """Return what a restore from the changelog's beginning would bring."""
        held: dict[bytes, bytes] = {}
        with self.broker.lock:
            records = [
                record for record in self.broker.logs.get(Partition(f"{name}-changelog", number), []) if record is not None
            ]
        for record in records:
            key, value = record.key() or b"", record.value()
            if value is None:
                held.pop(key, None)
            else:
                held[key] = value
        return held

    async def until(self, condition: Callable[[], object], *, seconds: float = 5.0) -> None:
        """Wait until it holds; red after `seconds`, or when the engine failed."""
        deadline = Deadline.after(seconds)
        while not condition():
            if self.engine.failure.done():
                raise AssertionError("the engine failed") from self.engine.failure.result()
            if deadline.passed:
                raise AssertionError(f"not in {seconds} s; {self._state()}")
            await asyncio.sleep(0.001)

    async def caught_up(self, *, seconds: float = 5.0) -> None:
        """Wait until the group has committed the end of every assigned source partition."""
        await self.until(
            lambda: all(self._is_done(place) for source in self.sources.values() for place in source.assigned), seconds=seconds
        )

    def _is_done(self, place: Partition) -> bool:
        end = self.broker.end(place)
        return end == 0 or self.broker.committed(*place) == end

    def _state(self) -> str:
        places = sorted(place for source in self.sources.values() for place in source.assigned)
        return "; ".join(f"{place}: {self.broker.committed(*place)} of {self.broker.end(place)}" for place in places)


@asynccontextmanager
async def running(
    *agents: AgentSpec,
    tables: Sequence[TableSpec] = (),
    broker: FakeBroker | None = None,
    partitions: Mapping[str, int] | None = None,
    given: Mapping[str, Sequence[int]] | None = None,
    source_batch: int = 50,
    violations: bool = False,
    settled: bool = True,
    restores_held: bool = False,
    tracer: Tracer | None = None,
    **settings: object,
) -> AsyncIterator[Bench]:
    """Run an engine with these agents; stop it at the end, and see that it did nothing that Kafka forbids."""
    topics = {topic for spec in agents for topic in spec.topics}
    bench = Bench(
        agents,
        tables,
        broker or FakeBroker(),
        partitions or dict.fromkeys(topics, 1),
        given,
        replace(SETTINGS, **settings),  # type: ignore[arg-type]
        source_batch,
        tracer,
    )
    if restores_held:
        bench.restore.hold.clear()
    await bench.engine.start()
    try:
        if settled:
            await bench.until(lambda: bench.engine.ready)
        yield bench
    finally:
        bench.restore.hold.set()
        await bench.engine.stop()
        bench.restore.close()
    if not violations:
        assert bench.broker.violations == []
