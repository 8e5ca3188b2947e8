"""Several engines of one app on the real broker, in one event loop: they join, stop, are cut short and come back.

The shell is left out: an engine is put together by `Assembly` from the job's plain values, as a worker does it. What the group
did is then read from the topics by `Group.check`, which knows nothing of the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Final
from uuid import uuid4

import msgspec
import pytest
from confluent_kafka import Producer

from streamapp.assembly import Assembly, WorkerIdentity
from streamapp.events import Event
from streamapp.pipeline.engine import Engine
from streamapp.pipeline.lane import Lane
from streamapp.records import Partition
from streamapp.settings import Settings, load
from tests.support.group_job import Line, Order, Sums
from tests.support.kafka_records import Rec
from tests.support.topic_reader import caught_up, read_topics
from tests.support.topics import Countdown, TookTooLong, committed_offsets, create_topic, watermarks

PATIENCE: Final = 30.0
"""Seconds that a condition may take before the test fails."""

QUICK: Final = {
    "commit_interval": 0.05,
    "session_timeout": 6.0,
    "transaction_timeout": 15.0,
    "max_poll_interval": 30.0,
}
"""Settings of every member unless a test says otherwise."""

ROOT: Final = Path(__file__).parents[2]


async def until(what: Callable[[], object], why: str | Callable[[], str], *, within: float = PATIENCE) -> None:
    """Return when `what()` is true; raises TookTooLong. The loop turns meanwhile."""
    countdown = Countdown(within)
    while not what():
        if countdown.over:
            raise TookTooLong(f"after {within:g} s: {why() if callable(why) else why}")
        await asyncio.sleep(0.01)


class EventLog(logging.Handler):
    """What the engines said by events; `messages(event)` in order."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def messages(self, event: Event) -> list[str]:
        return [record.getMessage() for record in self.records if getattr(record, "event", None) == str(event)]

    def fields(self, event: Event) -> list[dict[str, object]]:
        return [getattr(record, "fields", {}) for record in self.records if getattr(record, "event", None) == str(event)]


class Member:
    """One worker id of the app: an engine that can be started again after it stopped, on the same directory."""

    def __init__(self, worker_id: str, settings: Settings, data_dir: Path, jobs: Sequence[Sums]) -> None:
        self.worker_id = worker_id
        self.settings = settings
        self.data_dir = data_dir
        self.jobs = list(jobs)
        self.assembly: Assembly | None = None
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, f"{self.worker_id} does not run"
        return self._engine

    @property
    def job(self) -> Sums:
        return self.jobs[0]

    async def build(self) -> Engine:
        """Make the engine without starting it: for a test that wants to hold something first. `start` then goes on from here."""
        tables = {table.name: table for job in self.jobs for table in job.tables()}
        self.assembly = Assembly(
            self.settings,
            WorkerIdentity(self.worker_id, self.data_dir),
            [job.agent() for job in self.jobs],
            list(tables.values()),
            [],
        )
        self._engine = await self.assembly.build()
        for job in self.jobs:
            job.table = self._engine.table(job.name) if job.name in tables else None
        return self._engine

    async def start(self) -> Member:
        """Start the engine; it has not joined yet when this returns."""
        if self._engine is None:
            await self.build()
        await self.engine.start()
        return self

    async def stop(self) -> None:
        """Stop cleanly. May be called twice."""
        engine, self._engine = self._engine, None
        assembly, self.assembly = self.assembly, None
        if engine is not None:
            await engine.stop()
        if assembly is not None:
            await assembly.close()

    async def holds(self, count: int, *, within: float = PATIENCE) -> set[Partition]:
        """Return when exactly `count` partitions are assigned and run."""
        engine = self.engine
        await until(
            lambda: engine.ready and len(engine.assignment()) == count,
            lambda: f"{self.worker_id} holds {sorted(engine.assignment())}, runs {sorted(engine.restored())}",
            within=within,
        )
        return engine.assignment()

    def lane(self, topic: str, number: int) -> Lane:
        return self.engine.group.lanes[Partition(topic, number)]

    def numbers(self) -> dict[Partition, int]:
        """Return the lane numbers in force."""
        return {where: lane.number for where, lane in self.engine.group.lanes.items()}


class Child:
    """A member as a process of its own, to be stopped by signals. It stops and kills itself at fault points, too."""

    def __init__(self, spec: dict[str, object], log: Path) -> None:
        bound = ("setpriv", "--pdeathsig", "KILL") if which("setpriv") else ()
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [*bound, sys.executable, "-m", "tests.support.group_worker", json.dumps(spec)],
                cwd=ROOT,
                env=dict(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def is_stopped(self) -> bool:
        """Whether SIGSTOP has it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
        except FileNotFoundError:
            return False

    def said(self, text: str) -> int:
        """Return how many lines of its log hold `text`."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())

    def signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            os.kill(self.pid, number)

    async def ended(self, *, within: float = PATIENCE) -> int:
        await until(lambda: self.exit_code is not None, lambda: f"pid {self.pid} lives on: {self.tail()}", within=within)
        return self._process.returncode

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def kill(self) -> None:
        if self.exit_code is None:
            self._process.kill()
        self._process.wait(10)


@dataclass
class Group:
    """One app's members, topics and orders. Everything is the test's own: app id, topics, directories."""

    bootstrap: str
    home: Path
    events: EventLog
    app: str = field(default_factory=lambda: f"g{uuid4().hex[:10]}")
    members: list[Member] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    next_id: int = 0

    def __post_init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, "log_level": 0})

    # --- topics and orders

    def topic(self, name: str, partitions: int, **config: str) -> str:
        """Create a topic of the app and return its name."""
        whole = f"{self.app}-{name}"
        create_topic(self.bootstrap, whole, partitions, config)
        return whole

    def feed(
        self,
        topic: str,
        partition: int,
        count: int = 1,
        *,
        do: str = "",
        ids: Sequence[int] | None = None,
        customer: str | None = None,
        at: float | None = None,
    ) -> list[int]:
        """Append orders to a partition and return their ids: fresh ones, or `ids`; three customers, or `customer`.

        `at`: their timestamp, in seconds since 1970.
        """
        if ids is None:
            ids = range(self.next_id, self.next_id + count)
            self.next_id += count
        for number in ids:
            name = customer or f"{topic[-12:]}-{partition}-{number % 3}"
            order = Order(i=number, c=name, do=do)
            self._producer.produce(
                topic, msgspec.json.encode(order), name.encode(), partition, timestamp=0 if at is None else int(at * 1000)
            )
        self._producer.flush(10)
        return list(ids)

    def feed_raw(self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, headers: object = None) -> None:
        self._producer.produce(topic, value, key, partition, headers=headers or [])  # type: ignore[arg-type]  # odd on purpose
        self._producer.flush(10)

    @contextlib.asynccontextmanager
    async def flow(self, topic: str, partitions: int) -> AsyncIterator[None]:
        """Append some 400 orders a second to all partitions while the block runs."""

        async def run() -> None:
            while True:
                for number in range(partitions):
                    self.feed(topic, number, 2)
                await asyncio.sleep(0.005 * partitions)

        task = asyncio.create_task(run(), name="flow")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # --- members

    def sums(self, sources: str | Sequence[str], out: str, **options: object) -> Sums:
        names = (sources,) if isinstance(sources, str) else tuple(sources)
        return Sums(app=self.app, sources=names, out=out, **options)  # type: ignore[arg-type]  # checked by the dataclass

    def member(self, worker_id: str, *jobs: Sums, **settings: object) -> Member:
        """Return a member that is not started; `settings` over QUICK."""
        member = Member(worker_id, self.settings(worker_id, **settings), self.home / worker_id, jobs)
        self.members.append(member)
        return member

    def settings(self, worker_id: str, **settings: object) -> Settings:
        return load({"app_id": self.app, "worker_id": worker_id, "broker": self.bootstrap, **QUICK, **settings}, {}, {})

    def child(
        self, worker_id: str, job: Sums, *, kill_at: str = "", stop_at: str = "", nth: int = 1, **settings: object
    ) -> Child:
        """Start a member as a process; at the `nth` time that it reaches `kill_at` or `stop_at` it sends itself the signal."""
        spec: dict[str, object] = {
            "settings": {"app_id": self.app, "worker_id": worker_id, "broker": self.bootstrap, **QUICK, **settings},
            "data_dir": str(self.home / worker_id),
            "job": {"sources": job.sources, "out": job.out, "dlq": job.dlq, "dedupe": job.dedupe},
            "kill_at": kill_at,
            "stop_at": stop_at,
            "nth": nth,
        }
        child = Child(spec, self.home / f"{worker_id}.log")
        self.children.append(child)
        return child

    async def close(self) -> None:
        """Stop every member and end every child, however the test went."""
        for child in self.children:
            child.kill()
        for member in self.members:
            with contextlib.suppress(Exception):
                for job in member.jobs:
                    job.before = job.after = None
                await member.stop()

    # --- what became of it

    async def caught_up(self, *topics: str, within: float = PATIENCE) -> None:
        """Return when a read from the group's committed offsets gives nothing."""
        await asyncio.to_thread(caught_up, self.bootstrap, self.app, topics=topics, deadline=within)

    def committed(self, topic: str) -> dict[int, int]:
        return {at[1]: offset for at, offset in committed_offsets(self.bootstrap, self.app, [topic]).items()}

    def read(self, topic: str, *, committed_only: bool = True) -> dict[int, list[Rec]]:
        return dict(read_topics(self.bootstrap, [topic], committed_only=committed_only)[topic])

    def lines(self, out: str) -> dict[int, list[Line]]:
        decode = msgspec.json.Decoder(Line).decode
        return {number: [decode(rec.value or b"") for rec in recs] for number, recs in self.read(out).items()}

    def table_of(self, changelog: str) -> dict[bytes, bytes]:
        """Return what the changelog says the table holds."""
        held: dict[bytes, bytes] = {}
        for recs in self.read(changelog).values():
            for rec in recs:
                assert rec.key is not None
                if rec.value is None:
                    held.pop(rec.key, None)
                else:
                    held[rec.key] = rec.value
        return held

    async def check(self, job: Sums, *, buried: Sequence[int] = ()) -> None:
        """Every order of the sources came out once, or is among `buried`; the running counts are right; the table agrees."""
        await asyncio.to_thread(self._check, job, set(buried))

    def _check(self, job: Sums, buried: set[int]) -> None:
        decode = msgspec.json.Decoder(Order).decode
        wanted: dict[str, list[int]] = {}
        for topic in job.sources:
            for recs in self.read(topic).values():
                for rec in recs:
                    try:
                        order = decode(rec.value or b"")
                    except msgspec.DecodeError:
                        continue
                    ids = wanted.setdefault(order.c, [])
                    if order.i not in buried and order.i not in ids:
                        ids.append(order.i)
        found: dict[str, list[Line]] = {}
        for lines in self.lines(job.out).values():
            for line in lines:
                found.setdefault(line.c, []).append(line)
        many = Counter(line.i for lines in found.values() for line in lines)
        doubled = sorted(number for number, times in many.items() if times > 1)
        missing = sorted({number for ids in wanted.values() for number in ids} - many.keys())
        strange = sorted(many.keys() - {number for ids in wanted.values() for number in ids})
        assert (doubled, missing, strange) == ([], [], []), "doubled, missing, strange orders"
        for customer, lines in found.items():
            if job.table_too:
                assert [line.n for line in lines] == list(range(1, len(lines) + 1)), f"running counts of {customer}"
            if len(job.sources) == 1:
                assert [line.i for line in lines] == wanted[customer], f"order of {customer}"
        if job.table_too:
            table = {key.decode(): int(value) for key, value in self.table_of(job.sums_changelog).items()}
            assert table == {customer: len(ids) for customer, ids in wanted.items() if ids}, "the table's changelog"
        self.no_open_transaction([*job.sources, job.out, *(table.changelog for table in job.tables())])

    def no_open_transaction(self, topics: Sequence[str]) -> None:
        countdown = Countdown(PATIENCE)
        while unsettled := {at: ends for at, ends in watermarks(self.bootstrap, topics).items() if ends[0] < ends[1]}:
            if countdown.over:
                raise TookTooLong(f"open transactions: {unsettled}")
            time.sleep(0.05)


@pytest.fixture
def engine_events() -> Iterator[EventLog]:
    """What engines in this process log as events."""
    handler = EventLog()
    logger = logging.getLogger("streamapp")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
async def group(bootstrap: str, tmp_path: Path, engine_events: EventLog) -> AsyncIterator[Group]:
    """A fresh app on the shared broker; its members are stopped and its children ended after the test."""
    made = Group(bootstrap, tmp_path, engine_events)
    try:
        yield made
    finally:
        await made.close()
