"""An engine on the real broker in the test's own loop: fresh topics, hooks on its clients and fault points, and the read-out.

One `EngineRig` is one app; `start` gives it a worker, as many as the test wants. Waits are conditions under a deadline.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import msgspec
import pytest
from confluent_kafka import Consumer, Producer

from streamapp import faults
from streamapp.assembly import Assembly, WorkerIdentity
from streamapp.clock import Deadline
from streamapp.faults import FaultPoint
from streamapp.kafka import client_config
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter_counts import Unresolved
from streamapp.pipeline.engine import Engine
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.pipeline.spec import AgentSpec, DedupeSpec, SourceSpec, TableSpec
from streamapp.records import Partition
from streamapp.settings import Settings, load
from streamapp.state.stores import Stores
from tests.support.counting import counts, judge
from tests.support.kafka_records import Lanes
from tests.support.tampering import Call, Log, on, tampered
from tests.support.topic_reader import read_topics
from tests.support.topics import PATIENCE, TookTooLong, committed_offsets, create_topic, end_offsets, watermarks

SETTINGS: dict[str, object] = {
    "commit_interval": 0.1,
    "producer_linger": 0.002,
    "session_timeout": 10.0,
    "max_poll_interval": 60.0,
    # A seek is felt once the fetch under way is answered: half a second at librdkafka's default, several times a test.
    "consumer_options": {"fetch.wait.max.ms": 20},
}
"""Quick ones; a test may say otherwise."""

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The counting job, as names: what a process of its own needs to know to run it."""

    app_id: str
    source: str
    out: str
    dedupe: bool = False
    table: bool = True
    copies: int = 1

    @property
    def dlq(self) -> str:
        return f"{self.source}-dlq"

    @property
    def changelog(self) -> str:
        return f"{self.app_id}-counts-changelog"

    def tables(self) -> list[TableSpec]:
        found = []
        if self.table:
            found.append(TableSpec(name="counts", topics=(self.source,), changelog=self.changelog))
        if self.dedupe:
            changelog = f"{self.app_id}-seen-changelog"
            found.append(TableSpec(name="seen", topics=(self.source,), changelog=changelog, horizon=86_400.0))
        return found

    def agent(self, worker: Worker) -> AgentSpec:
        """Return the agent as `worker` runs it."""
        dedupe = DedupeSpec(table="seen", key=lambda value: cast("Any", value)["i"], encode=lambda i: b"%d" % cast("int", i))
        return AgentSpec(
            name="counter",
            sources=(SourceSpec(topic=self.source, decode=_decode),),
            run=worker.count,
            dedupe=dedupe if self.dedupe else None,
            dlq=self.dlq,
            retry=Retry(base=0.01, cap=0.01),
        )

    def output(self, value: dict[str, Any], count: int) -> bytes:
        return json.dumps({**value, "n": count}).encode()


class Worker:
    """One worker id of the app: an engine that lives in this process."""

    def __init__(self, job: Job, settings: Settings, worker_id: str, data_dir: Path) -> None:
        self.job = job
        self.id = worker_id
        self.settings = settings
        self.before: Callable[[dict[str, Any], Cursor], Any] | None = None
        """Called with each value before it is counted; may raise; awaited if it asks for it."""
        self.grown: Callable[[dict[str, Any], bytes], bytes] = lambda value, output: output
        """Makes the output of a value."""
        self.agents: list[AgentSpec] | None = None
        """What runs; None = the counting job's agent."""
        self.engine: Engine
        self._data_dir = data_dir
        self._assembly: Assembly | None = None

    async def start(self) -> Worker:
        """Build and start the engine."""
        job = self.job
        agents = [job.agent(self)] if self.agents is None else self.agents
        self._assembly = Assembly(self.settings, WorkerIdentity(self.id, self._data_dir), agents, job.tables(), [])
        self.engine = await self._assembly.build()
        await self.engine.start()
        return self

    async def count(self, cursor: Cursor) -> None:
        """The agent's function."""
        job = self.job
        table = self.engine.table("counts") if job.table else None
        while True:
            value: dict[str, Any] = await cursor.__anext__()  # type: ignore[assignment]  # what the decoder makes of our records
            if self.before is not None:
                done = self.before(value, cursor)
                if done is not None:
                    await done
            savepoint = current_savepoint.get()
            assert isinstance(savepoint, Savepoint)
            key = value["k"].encode()
            number = 0
            if table is not None:
                number = int(table.get(key) or 0) + 1
                table.put(key, b"%d" % number)
            output = self.grown(value, job.output(value, number))
            for _ in range(job.copies):
                savepoint.send((job.out, output, key, -1, savepoint.timestamp_ms, savepoint.headers))

    @property
    def stores(self) -> Stores:
        """The stores on disk, for a test that lets the disk refuse."""
        assert self._assembly is not None, f"{self.id} does not run"
        return self._assembly._rocks

    def unresolved(self) -> list[Unresolved]:
        """Return what it knows of the dead letters that it owns."""
        assert self._assembly is not None, f"{self.id} does not run"
        return self._assembly.unresolved()

    @property
    def follows(self) -> bool:
        """Whether it has read what stood in the status topic when it started."""
        follower = None if self._assembly is None else self._assembly._follower
        return follower is not None and follower._is_current

    @property
    def counters(self) -> dict[str, int]:
        return self.engine.counters()

    @property
    def lanes(self) -> dict[Partition, Any]:
        return dict(self.engine.group.lanes)

    def committed(self, partition: int) -> int | None:
        """Return the committed offset of a source partition as the engine knows it."""
        lane = self.lanes.get(Partition(self.job.source, partition))
        return None if lane is None else lane.committed

    async def until(self, what: Callable[[], bool], why: str, *, deadline: float = PATIENCE) -> None:
        """Wait until `what` holds. Raises TookTooLong, or what the engine failed with."""
        end = Deadline.after(deadline)
        while not what():
            if self.engine.failure.done():
                raise self.engine.failure.result()
            if end.passed:
                raise TookTooLong(f"{self.id}: not within {deadline:g} s: {why}; {self.state()}")
            await asyncio.sleep(0.01)

    async def failed(self, *, deadline: float = PATIENCE) -> BaseException:
        """Wait until the engine gave up; return why."""
        return await asyncio.wait_for(asyncio.shield(self.engine.failure), deadline)

    async def ready(self, partitions: int | None = None) -> None:
        """Wait until every lane runs, `partitions` of them."""
        await self.until(
            lambda: self.engine.ready and (len(self.lanes) > 0 if partitions is None else len(self.lanes) == partitions), "ready"
        )

    def state(self) -> str:
        lanes = {
            str(where): (lane.state.value, lane.next_offset, lane.committed, sorted(lane.pauses))
            for where, lane in self.lanes.items()
        }
        return f"{self.counters} {lanes}"

    def table(self) -> dict[str, int]:
        """Return what the stores hold: committed and applied."""
        return {key.decode(): int(value) for key, value in self.engine.table("counts").items()}

    async def stop(self) -> None:
        """End it. May be called twice."""
        assembly, self._assembly = self._assembly, None
        if assembly is None:
            return
        if hasattr(self, "engine"):
            await self.engine.stop()
        await assembly.close()


@dataclass
class Stop:
    """A fault point at which one thread stands until it is let go."""

    reached: threading.Event = field(default_factory=threading.Event)
    _gone: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        self._gone.set()

    def stand(self) -> None:
        self.reached.set()
        assert self._gone.wait(60), "a test left a thread standing"


class EngineRig:
    """One app on the broker, and everything a test does to it."""

    def __init__(self, bootstrap: str, home: Path, log: Log, caplog: pytest.LogCaptureFixture) -> None:
        self.bootstrap = bootstrap
        self.home = home
        self.clients = log
        self.workers: list[Worker] = []
        self.app_id = f"rig-{uuid4().hex[:10]}"
        self.job = Job(app_id=self.app_id, source=f"{self.app_id}-src", out=f"{self.app_id}-out")
        self._caplog = caplog
        self._stops: list[Stop] = []
        self._closing: list[Callable[[], object]] = []
        self._actions: dict[FaultPoint, list[Callable[[], None]]] = {}

    # --- topics and records

    def make(self, *, partitions: int = 2, out: dict[str, str] | None = None, **job: Any) -> Job:
        """Create the job's topics, and return it. `out`: settings of its output topic."""
        self.job = Job(app_id=self.app_id, source=self.job.source, out=self.job.out, **job)
        create_topic(self.bootstrap, self.job.source, partitions)
        create_topic(self.bootstrap, self.job.out, 2, out)
        return self.job

    def feed(self, values: Iterable[object], *, transactional: bool = False) -> None:
        """Have `values` in the source: key by key to one partition. Returns when they are there."""
        self.feed_to(self.job.source, values, transactional=transactional)

    def feed_to(self, topic: str, values: Iterable[Any], *, transactional: bool = False) -> None:
        options: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "linger.ms": 1}
        producer = Producer(options | ({"transactional.id": f"feed-{uuid4()}"} if transactional else {}))
        if transactional:
            producer.init_transactions(PATIENCE)
            producer.begin_transaction()
        partitions = len(end_offsets(self.bootstrap, topic))
        for value in values:
            if isinstance(value, dict):
                producer.produce(topic, json.dumps(value).encode(), str(value["k"]).encode(), int(value["k"]) % partitions)
            else:
                producer.produce(topic, value, b"raw", 0)
        assert producer.flush(PATIENCE) == 0
        if transactional:
            producer.commit_transaction(PATIENCE)

    def read(self, topic: str) -> Lanes:
        """Return what a `read_committed` reader sees now."""
        return read_topics(self.bootstrap, [topic])[topic]

    def visible(self) -> list[int]:
        """Return the `i` of every committed output."""
        return [json.loads(rec.value or b"")["i"] for lane in self.read(self.job.out).values() for rec in lane]

    def committed(self) -> dict[int, int]:
        """Return the group's committed offset of each source partition that has one."""
        return {at[1]: offset for at, offset in committed_offsets(self.bootstrap, self.app_id, [self.job.source]).items()}

    # --- workers

    def settings(self, worker_id: str, **more: object) -> Settings:
        return load({"app_id": self.app_id, "worker_id": worker_id, "broker": self.bootstrap, **SETTINGS, **more}, {}, {})

    def worker(self, worker_id: str = "w1", **settings: object) -> Worker:
        """Return a worker that is not started; one of the same id later has the same data directory."""
        worker = Worker(self.job, self.settings(worker_id, **settings), worker_id, self.home / worker_id)
        self.workers.append(worker)
        return worker

    async def start(self, worker_id: str = "w1", **settings: object) -> Worker:
        return await self.worker(worker_id, **settings).start()

    async def caught_up(self, *, deadline: float = PATIENCE) -> None:
        """Wait until everything that is in the source by now is committed by some worker. Raises what an engine failed with."""
        ends = await asyncio.to_thread(end_offsets, self.bootstrap, self.job.source)
        end = Deadline.after(deadline)
        running = [worker for worker in self.workers if hasattr(worker, "engine")]

        def through() -> bool:
            return all(
                any((worker.committed(number) or 0) >= upto for worker in running) for number, upto in ends.items() if upto
            )

        while not through():
            for worker in running:
                if worker.engine.failure.done():
                    raise worker.engine.failure.result()
            if end.passed:
                told = "\n".join(f"{worker.id}: {worker.state()}" for worker in running)
                raise TookTooLong(f"not caught up to {ends} within {deadline:g} s\n{told}")
            await asyncio.sleep(0.02)

    def wrong(self, *, without: Sequence[int] = ()) -> list[str]:
        """Say what is wrong with all that the app did: outputs, sums, open transactions."""
        job = self.job
        read = read_topics(self.bootstrap, [job.source, job.out])
        lines = judge(read[job.source], read[job.out], dedupe=job.dedupe, without=without, copies=job.copies)
        for at, (stable, high) in watermarks(self.bootstrap, [job.out, *(table.changelog for table in job.tables())]).items():
            if stable < high:
                lines.append(f"{at}: an open transaction, stable up to {stable} of {high}")
        return lines

    def due_counts(self, *, without: Sequence[int] = ()) -> dict[str, int]:
        """Return what the tables have to hold."""
        return counts(self.read(self.job.source), dedupe=self.job.dedupe, without=without)

    # --- faults

    def stop_at(self, point: FaultPoint, *, nth: int = 1) -> Stop:
        """Have the n-th thread that reaches `point` stand there until `release`."""
        stop = Stop()
        self._stops.append(stop)
        self.do_at(point, stop.stand, nth=nth)
        return stop

    def stop_before(self, name: str) -> Stop:
        """Have the next call `name` of a producer stand there until `release`, and then be made."""
        stop = Stop()
        self._stops.append(stop)

        def stand(call: Call) -> object:
            stop.stand()
            return call.proceed()

        self.clients.tamper_producer = on(name, stand)
        return stop

    def do_at(self, point: FaultPoint, act: Callable[[], object], *, nth: int = 1, times: int = 1) -> None:
        """Do `act` when `point` is reached the n-th time from now on (and the next, `times` in all)."""
        seen = 0
        lock = threading.Lock()

        def look() -> None:
            nonlocal seen
            with lock:
                seen += 1
                mine = nth <= seen < nth + times
            if mine:
                act()

        self._actions.setdefault(point, []).append(look)
        faults.hook = self._reached

    def _reached(self, point: FaultPoint) -> None:
        for act in self._actions.get(point, ()):
            act()

    # --- others, by hand

    def predecessor(self, worker_id: str = "w1") -> Producer:
        """Return a producer with the transactional.id of `worker_id`, taken over: what a dead or rival worker is to the broker."""
        options = client_config.transactional_producer(self.settings(worker_id), worker_id)
        producer = Producer({**options, "log_level": 0})
        producer.init_transactions(PATIENCE)
        self._closing.append(producer.purge)
        return producer

    def member(self, worker_id: str = "w1", **more: Any) -> Consumer:
        """Return a consumer with the static id of `worker_id` in the app's group, subscribed; the test polls it."""
        settings = self.settings(worker_id)
        options = client_config.source_consumer(settings, worker_id, self.job.source, client_config.Assignor.COOPERATIVE_STICKY)
        consumer = Consumer({**options, "log_level": 0, **more})
        consumer.subscribe([self.job.source])
        self._closing.append(consumer.close)
        return consumer

    def take_over(self, worker_id: str = "w1", *, partitions: int) -> Consumer:
        """Join with the static id of `worker_id` and return once the group gave us its partitions. Blocks: call it on a thread."""
        consumer = self.member(worker_id)
        end = Deadline.after(PATIENCE)
        while len(consumer.assignment()) < partitions:
            if end.passed:
                raise TookTooLong("the group gave the rival nothing")
            consumer.poll(0.05)
        return consumer

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the fields of every event of that name that was logged."""
        return [getattr(record, "fields", {}) for record in self.records(name)]

    def records(self, name: str) -> list[logging.LogRecord]:
        """Return the log lines of every event of that name."""
        return [record for record in self._caplog.records if getattr(record, "event", None) == name]

    def rebuilds(self) -> list[str]:
        """Return why producers were replaced. Slow commits are left out: a busy machine makes those."""
        causes = [event["cause"] for event in self.events("producer_rebuilt")]
        return [cause for cause in causes if cause != "coordinator_trouble"]

    async def close(self) -> None:
        for stop in self._stops:
            stop.release()
        faults.hook = None
        for worker in self.workers:
            await worker.stop()
        for close in self._closing:
            await asyncio.to_thread(close)


@pytest.fixture
async def rig(bootstrap: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[EngineRig]:
    """An app of the test's own on the shared broker; its workers are stopped with the test."""
    caplog.set_level(logging.INFO, "streamapp")
    with tampered() as log:
        made = EngineRig(bootstrap, tmp_path / "workers", log, caplog)
        try:
            yield made
        finally:
            await made.close()
