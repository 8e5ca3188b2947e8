"""One life of a worker on the memory Kafka, whose every move is asked for; its disk outlives it.

The poll thread takes a turn when it is told to, a commit comes when it is told to, calls can be held, failed, or be where the process
dies. What stays with the system's scheduler: how the loop and the transaction thread share the moments between two moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from streamapp.assembly import RestoringStores
from streamapp.clock import Deadline
from streamapp.errors import Permanent, TableNotHere
from streamapp.faults import FaultPoint
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.engine import Engine, EngineParts
from streamapp.pipeline.partitioner import partition_of
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import current_savepoint
from streamapp.pipeline.spec import AgentSpec, DedupeSpec, SourceSet, SourceSpec, TableSpec
from streamapp.ports import SourceListener
from streamapp.state.identity import Identity
from streamapp.state.memory import MemoryStore
from streamapp.state.recovery import Restorer
from streamapp.state.stores import Stores
from streamapp.testing.memory_kafka import (
    MemoryChangelogReader,
    MemoryHost,
    MemoryKafka,
    MemoryOffsets,
    MemoryProducer,
    MemorySource,
    ProcessDied,
)
from streamapp.worker.cluster import Topology
from tests.support.pipeline import SETTINGS

GROUP: Final = "app"
PARTITIONS: Final = (0, 1)
COUNTS, SEEN, TICKS = "counts-changelog", "seen-changelog", "ticks-changelog"
CHANGELOGS: Final = {"counts": COUNTS, "seen": SEEN, "ticks": TICKS}
TIMEOUT: Final = 1000.0
"""Seconds of a transaction's timeout; the clock stands still unless a move turns it."""
TICK_KEYS: Final = {
    number: next(key for key in (b"tick-%d" % at for at in range(100)) if partition_of(key, len(PARTITIONS)) == number)
    for number in PARTITIONS
}
RETRY: Final = Retry(attempts=3, unknown_attempts=2, base=0.001, cap=0.001, jitter="none", budget=400.0, attempt_timeout=400.0)


class TurnedClock:
    """A Clock that a test turns."""

    def __init__(self) -> None:
        self._monotonic = time.monotonic()  # deadlines are made of it, and measured by the real one
        self._wall = time.time()

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        self._monotonic += seconds
        self._wall += seconds


# --- the disk


@dataclass
class Kept:
    """What a disk holds of one table partition."""

    identity: Identity
    data: dict[bytes, bytes] = field(default_factory=dict)
    offset: int | None = None
    current_at: float | None = None


class Disk:
    """A worker's disk: outlives its processes. A StoreKind, through `of(host)`."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], Kept] = {}
        self.refusals = 0
        """Applies that it refuses from now on."""


class DiskStore(MemoryStore):
    """A store of one process. A dead process writes nothing."""

    def __init__(self, disk: Disk, host: MemoryHost, identity: Identity) -> None:
        super().__init__(str(identity))
        self._disk = disk
        self._host = host
        self._kept = disk.kept.setdefault((identity.table, identity.partition), Kept(identity))
        self._data = dict(self._kept.data)
        self._changelog_offset = self._kept.offset
        self._current_at = self._kept.current_at
        self._broken = False

    @property
    def usable(self) -> bool:
        return super().usable and not self._broken

    def apply(
        self, writes: Mapping[bytes, bytes | None], changelog_offset: int | None, *, current_at: float | None = None
    ) -> None:
        if not self._host.is_alive or self._disk.refusals > 0:
            self._disk.refusals = max(0, self._disk.refusals - 1)
            self._broken = True
            raise OSError("the disk refuses")
        super().apply(writes, changelog_offset, current_at=current_at)
        self._keep()

    def wipe(self) -> None:
        super().wipe()
        self._keep()

    def _keep(self) -> None:
        self._kept.data, self._kept.offset, self._kept.current_at = dict(self._data), self._changelog_offset, self._current_at


class DiskOf:
    """One process's way to its disk."""

    def __init__(self, disk: Disk, host: MemoryHost) -> None:
        self._disk = disk
        self._host = host

    def open(self, identity: Identity) -> DiskStore:
        return DiskStore(self._disk, self._host, identity)

    def wipe(self, identity: Identity) -> None:
        self._disk.kept.pop((identity.table, identity.partition), None)


# --- a worker


class Pace:
    """Lets a poll thread take its turns one by one."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._changed = threading.Condition()
        self._granted = 0
        self._free = False

    def __call__(self) -> None:
        with self._changed:
            while not self._free and self._granted == 0 and self._host.is_alive:
                self._changed.wait(0.05)
            self._granted = max(0, self._granted - 1)

    def grant(self, turns: int) -> None:
        with self._changed:
            self._granted += turns
            self._changed.notify_all()

    def free(self, *, free: bool = True) -> None:
        with self._changed:
            self._free = free
            self._granted = 0
            self._changed.notify_all()


class Process:
    """One life of a worker."""

    def __init__(
        self, kafka: MemoryKafka, worker: str, disk: Disk, clock: TurnedClock, stumbles: Callable[[object], bool]
    ) -> None:
        """`stumbles`: whether a record (by its id) that stumbles does so now."""
        self.worker = worker
        self.host = MemoryHost(kafka, worker)
        self._clock = clock
        self._stumbles = stumbles
        self.pace = Pace(self.host)
        self.die_at: FaultPoint | None = None
        self.sources: list[MemorySource] = []
        self.hold = threading.Event()
        self.door = asyncio.Event()
        """Records that are slow wait for it."""
        self.door.set()
        stores = Stores(GROUP, DiskOf(disk, self.host))
        tables = [
            TableSpec(name="counts", topics=("in",), changelog=COUNTS),
            TableSpec(name="seen", topics=("in",), changelog=SEEN, horizon=1e9),
            TableSpec(name="ticks", topics=("in",), changelog=TICKS),
        ]
        self.restorer = Restorer(lambda: MemoryChangelogReader(self.host))
        restoring = RestoringStores(self.restorer, lambda table: stores, tables)
        restoring.topology = Topology(
            ready=[],
            missing={},
            partitions={"in": len(PARTITIONS)},
            dlq_partitions={"dlq": len(PARTITIONS)},
            dlq_max_bytes={},
            changelog_ids={name: kafka.topic(name).id for name in CHANGELOGS.values()},  # type: ignore[union-attr]  # made before
            tombstones_kept=dict.fromkeys(CHANGELOGS.values(), 1e9),
        )
        settings = replace(
            SETTINGS,
            worker_id=worker,
            transactional_id=f"{GROUP}-{worker}",
            commit_interval=1e6,
            transaction_timeout=TIMEOUT,
            max_poll_interval=4 * TIMEOUT,
        )
        self.engine = Engine(
            settings=settings,
            sets=[SourceSet(name="in", topics=("in",))],
            agents=[
                AgentSpec(
                    name="counter",
                    sources=(SourceSpec(topic="in", decode=json.loads),),
                    run=self._count,
                    dedupe=DedupeSpec(table="seen", key=_id, encode=_encode),
                    retry=RETRY,
                    dlq="dlq",
                )
            ],
            tables=tables,
            parts=EngineParts(
                producer=self._producer,
                source=self._source,
                offsets=lambda: MemoryOffsets(self.host, GROUP),
                restore=restoring,
                spare_producer=lambda: MemoryProducer(self.host),
                dlq_partitions={"dlq": len(PARTITIONS)},
                dlq_max_bytes={},
                partitions={"in": len(PARTITIONS)},
                clock=clock,
            ),
        )
        self.ticking: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.restorer.start()
        await self.engine.start()

    async def end(self, *, clean: bool) -> None:
        """Stop it in order, or take away what a dead process left in ours."""
        if not clean:
            self.host.kill()
        self.hold.set()
        self.door.set()
        self.pace.free()
        for task in self.ticking:
            task.cancel()
        await asyncio.gather(*self.ticking, return_exceptions=True)
        with contextlib.suppress(ProcessDied):
            await self.engine.stop(finish=clean)
        if self.engine.failure.done():
            self.engine.failure.result()
        await asyncio.get_running_loop().run_in_executor(None, self.restorer.stop)

    @property
    def is_blocked(self) -> bool:
        """Whether its transaction thread waits for something that only a further move can bring."""
        return self.host.holding > 0 or any(source.is_asked for source in self.sources) or not self.host.is_alive

    @property
    def is_busy(self) -> bool:
        """Whether it will go on by itself."""
        admission, group = self.engine.admission, self.engine.group
        return (
            admission.flight is not None
            or admission.failure is not None
            or bool(self.engine._transactions._waiting)
            or "aborting" in admission._closed_for
            or group._in_transit > 0
            or any(lane.waiting and lane.running and not lane.pauses - {"revoked"} for lane in group.lanes.values())
            or bool(group._recoveries)
        )

    def is_at(self, thread: threading.Thread) -> bool:
        """Whether `thread` runs for this process just now."""
        engine = self.engine
        return (
            thread is engine._transactions._thread
            or thread is self.restorer._thread
            or thread.name.startswith(f"poll {self.worker} ")
            or (thread is threading.main_thread() and engine.admission.lock.locked())
        )

    def tick(self, number: int) -> None:
        """Have a timer run that counts in partition `number`'s table."""

        async def count() -> None:
            savepoint = current_savepoint.get()
            assert savepoint is not None
            table, key = self.engine.table("ticks"), TICK_KEYS[number]
            count = int(table.get(key) or 0) + 1
            table.put(key, b"%d" % count)
            savepoint.send(("tick-out", b"%d" % count, key, number, 0, []))

        async def run() -> None:
            with contextlib.suppress(TableNotHere):
                await self.engine.tick(count, name="count")

        task = asyncio.get_running_loop().create_task(run())
        self.ticking.add(task)
        task.add_done_callback(self.ticking.discard)

    def _producer(self) -> MemoryProducer:
        made = MemoryProducer(self.host, f"{GROUP}-{self.worker}", transaction_timeout=TIMEOUT)
        made.init_transactions(Deadline.after(1.0))
        return made

    def _source(self, source_set: SourceSet, listener: SourceListener) -> MemorySource:
        source = MemorySource(
            self.host,
            GROUP,
            source_set.topics,
            listener,
            instance=self.worker,
            name="in",
            batch=3,
            revoke_budget=0.5,
            pace=self.pace,
            idle=0.001,
            clock=self._clock,
        )
        self.sources.append(source)
        return source

    async def _count(self, cursor: Cursor) -> None:
        table = self.engine.table("counts")
        while True:
            value: dict[str, Any] = await cursor.__anext__()  # type: ignore[assignment]  # what the decoder makes of our records
            savepoint = current_savepoint.get()
            assert savepoint is not None
            key = value["k"].encode()
            count = int(table.get(key) or 0) + 1
            table.put(key, b"%d" % count)
            number = savepoint.lane.partition.number
            savepoint.send(("out", json.dumps([value["i"], value["k"], count]).encode(), key, number, 0, []))
            if value["do"] == "slow":
                await self.door.wait()
            if value["do"] == "poison":
                raise Permanent("never")
            if value["do"] == "stumble" and self._stumbles(value["i"]):
                raise ValueError("once")


def _id(value: object) -> object:
    assert isinstance(value, dict)
    return value["i"]


def _encode(key: object) -> bytes:
    return b"%s" % str(key).encode()
