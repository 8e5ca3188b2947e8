"""An app's workers on the memory Kafka, and the plain model that says what must come of all that is done to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from streamapp import faults
from streamapp.clock import Deadline
from streamapp.faults import FaultPoint
from streamapp.records import Partition
from streamapp.testing.memory_kafka import (
    MemoryHost,
    MemoryKafka,
    MemoryProducer,
    MemoryRecord,
    MemorySource,
    ProcessDied,
    Refused,
)
from tests.support.engine_process import CHANGELOGS, COUNTS, GROUP, PARTITIONS, SEEN, TICK_KEYS, TICKS, Disk, Process, TurnedClock

WITHIN: Final = 60.0
"""Seconds in which all must be done once nothing fails any more."""


class Violation(AssertionError):
    """The engine did what it must never do."""


# --- the model


@dataclass
class Expected:
    """What a partition's records up to some offset come to."""

    outputs: list[bytes] = field(default_factory=list)
    letters: list[bytes | None] = field(default_factory=list)
    counts: dict[bytes, bytes] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)


def expected(records: Iterable[MemoryRecord]) -> Expected:
    """Return what these records of one partition must come to: the engine as it would be without tables, threads and transactions."""
    told = Expected()
    for record in records:
        raw = record.value()
        try:
            value = json.loads(raw or b"")
        except ValueError:
            told.letters.append(raw)
            continue
        key, mark = value["k"].encode(), str(value["i"]).encode()
        if mark in told.seen:
            continue
        if value["do"] == "poison":
            told.letters.append(raw)
            continue
        told.seen.add(mark)
        count = int(told.counts.get(key, b"0")) + 1
        told.counts[key] = b"%d" % count
        told.outputs.append(json.dumps([value["i"], value["k"], count]).encode())
    return told


# --- all of it


class World:
    """A Kafka, the workers of one app, and what is checked of them. Made and used on one loop."""

    def __init__(self) -> None:
        topics = ("in", "out", "dlq", "tick-out", *CHANGELOGS.values())
        self.kafka = MemoryKafka(dict.fromkeys(topics, len(PARTITIONS)))
        self.clock = TurnedClock()
        self.running: dict[str, Process] = {}
        self.disks: dict[str, Disk] = {}
        self.dead: list[Process] = []
        self.fed = 0
        self.markers_are_held = False
        self.strays: list[Callable[[], None]] = []
        self.strange: list[str] = []
        """What an engine left to the loop's handler of exceptions."""
        self._stumbled: set[object] = set()
        asyncio.get_running_loop().set_exception_handler(self._went_wrong)
        self._earlier_hook = faults.hook
        faults.hook = self._reached

    # --- moves

    async def start(self, worker: str, *, keeps_disk: bool = True) -> None:
        if not keeps_disk:
            self.disks.pop(worker, None)
        process = Process(self.kafka, worker, self.disks.setdefault(worker, Disk()), self.clock, self.stumbles)
        self.running[worker] = process
        await process.start()

    async def stop(self, worker: str) -> None:
        process = self.running.pop(worker)
        process.host.forget_faults()
        process.die_at = None
        process.hold.set()
        await process.end(clean=True)
        self._bury(process)

    async def crash(self, worker: str) -> None:
        process = self.running.pop(worker)
        await process.end(clean=False)
        self._bury(process)

    def feed(self, number: int, do: str, key: str, *, again: int | None = None) -> None:
        """Append one record: `again` makes it a duplicate of that id."""
        self.kafka.feed("in", number, self.value(do, key, again=again), key=key.encode())

    def value(self, do: str, key: str, *, again: int | None = None) -> bytes:
        if do == "garbage":
            return b"!"
        if again is None or again >= self.fed:
            again, self.fed = self.fed, self.fed + 1
        return json.dumps({"i": again, "k": key, "do": do}).encode()

    def feed_transaction(self, number: int, values: list[bytes], *, commit: bool) -> None:
        """Append records in a transaction of some other program."""
        producer = MemoryProducer(MemoryHost(self.kafka, "feeder"), "feeder")
        producer.init_transactions(Deadline.after(5.0))
        producer.begin()
        for value in values:
            producer.produce(("in", value, b"k", number, 0, []))
        producer.flush(Deadline.after(5.0))
        if commit:
            producer.commit(Deadline.after(5.0))
        else:
            producer.abort(Deadline.after(5.0))

    async def poll(self, worker: str, turns: int) -> None:
        """Let a worker's poll thread take its turns; a worker that died meanwhile takes none."""
        for _ in range(turns):
            process = self.running.get(worker)
            if process is None:
                return
            (source,) = process.sources
            before = source.turns
            process.pace.grant(1)
            await self._until(
                lambda source=source, before=before: source.turns > before or source.is_giving_back or source.is_over,  # type: ignore[misc]
                seconds=0.2,
            )
            await self.calm()

    def poll_blindly(self, worker: str, turns: int) -> None:
        """The same while the loop stands, as under a handler that blocks it."""
        process = self.running[worker]
        (source,) = process.sources
        upto = source.turns + turns
        process.pace.grant(turns)
        end = time.monotonic() + 0.2
        while source.turns < upto and not source.is_giving_back and not source.is_over and time.monotonic() < end:
            time.sleep(0.0005)

    async def settled(self, *, at_most: int = 12) -> None:
        """Let all take their turns until nobody waits for another's; with what is held, it may not come to that."""
        for _ in range(at_most):
            for worker in sorted(self.running):
                await self.poll(worker, 1)
                await self.bury()
            if self.kafka.is_settled(GROUP) and all(process.engine.ready for process in self.running.values()):
                return

    async def advance(self, seconds: float) -> None:
        """Turn the workers' clock. What is in hand is done first: its time would be over."""
        for process in self.running.values():
            process.door.set()
        await self.calm()
        self.clock.advance(seconds)

    def commit(self, worker: str) -> None:
        """Ask for a commit, of a worker that lives."""
        if worker in self.running:
            self.running[worker].engine._transactions.commit_now()

    def tick(self, worker: str, number: int) -> None:
        """Have a timer run on a worker that lives."""
        if worker in self.running:
            self.running[worker].tick(number)

    def stray_arrives(self) -> None:
        """Let the oldest late copy of a request arrive."""
        self._collect_strays()
        if self.strays:
            with contextlib.suppress(Refused):
                self.strays.pop(0)()

    def hold_markers(self, *parts: Partition | str) -> None:
        self.markers_are_held = True
        self.kafka.hold_markers(*parts)

    def release_markers(self) -> None:
        self.kafka.release_markers()
        self.markers_are_held = False

    def stumbles(self, number: object) -> bool:
        """Whether a record that stumbles does so now: at its first try."""
        if number in self._stumbled:
            return False
        self._stumbled.add(number)
        return True

    async def bury(self) -> None:
        """Take away the processes that died by themselves."""
        for worker, process in list(self.running.items()):
            if not process.host.is_alive:
                await self.crash(worker)

    async def calm(self, *, seconds: float = 0.015) -> None:
        """Let the loop turn until nobody goes on by himself, for at most `seconds`: some wait for what a later move brings."""
        await asyncio.sleep(0)
        await self._until(
            lambda: not any(process.is_busy and not process.is_blocked for process in self.running.values()), seconds=seconds
        )
        for _ in range(5):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Let nothing fail any more, and have all done. Raises Violation when it is not, in WITHIN seconds."""
        self.release_markers()
        await self.bury()
        for process in self.running.values():
            process.host.forget_faults()
            process.die_at = None
            process.hold.set()
            process.door.set()
        for disk in self.disks.values():
            disk.refusals = 0
        self._collect_strays()
        while self.strays:
            self.stray_arrives()
        # Whoever is dead stays so: its session ends, and others finish its transactions.
        for worker in self.disks:
            if worker not in self.running:
                self.kafka.expire_session(GROUP, worker)
        if not self.running:
            await self.start("w1")
        for name in {process.worker for process in self.dead} - self.running.keys():
            MemoryProducer(MemoryHost(self.kafka, "undertaker"), f"{GROUP}-{name}").init_transactions(Deadline.after(5.0))
        for process in self.running.values():
            process.pace.free()
        end = Deadline.after(WITHIN)
        while not self._is_done():
            self.check_alive()
            if end.passed:
                raise Violation(f"not done within {WITHIN:g} s: {self.state()}")
            for process in self.running.values():
                await asyncio.wait({asyncio.wrap_future(process.engine._transactions.commit_now())}, timeout=5.0)
            await asyncio.sleep(0.002)
        self.check(whole=True)

    def tally(self) -> Counter[str]:
        """Return what happened so far."""
        told = Counter(records=self.fed, deaths=sum(not process.host.is_alive for process in self.dead))
        for process in (*self.dead, *self.running.values()):
            told.update(process.engine.counters())
        return told

    async def close(self) -> None:
        faults.hook = self._earlier_hook
        for worker in list(self.running):
            await self.crash(worker)

    # --- what must hold

    def check_alive(self) -> None:
        """No engine gave up, and none had an exception that nobody takes."""
        if self.strange:
            raise Violation("; ".join(self.strange))
        for process in self.running.values():
            failure = process.engine.failure
            if process.host.is_alive and failure.done() and not isinstance(failure.result(), ProcessDied):
                raise Violation(f"{process.worker} gave up: {failure.result()!r}") from failure.result()

    def check(self, *, whole: bool = False) -> None:
        """Hold what Kafka and the disks have against the model; `whole`: and all of it is done."""
        with self.kafka.lock:
            if self.markers_are_held:
                return  # a transaction that has ended may be seen in one place and not yet in the next
            for number in PARTITIONS:
                self._check_partition(number, whole=whole)
            self._check_disks()

    def _check_partition(self, number: int, *, whole: bool) -> None:
        source = self._committed("in", number)
        upto = self.kafka.committed(GROUP, "in", number) or 0
        done = expected(source if whole else [record for record in source if record.offset() < upto])
        outputs = [record.value() for record in self._committed("out", number)]
        letters = [record.value() for record in self._committed("dlq", number)]
        where = f"partition {number}, committed up to {upto}"
        _same(outputs, done.outputs, f"{where}: outputs")
        _same(letters, done.letters, f"{where}: dead letters")
        _same(self._folded(COUNTS, number), done.counts, f"{where}: the changelog of counts")
        _same(set(self._folded(SEEN, number)), done.seen, f"{where}: dedupe marks")
        ticks = [int(record.value() or 0) for record in self._committed("tick-out", number)]
        _same(ticks, list(range(1, len(ticks) + 1)), f"{where}: ticks")
        table = self._folded(TICKS, number)
        _same(table, {TICK_KEYS[number]: b"%d" % len(ticks)} if ticks else {}, f"{where}: the changelog of ticks")

    def _check_disks(self) -> None:
        for worker, disk in self.disks.items():
            for (table, number), kept in disk.kept.items():
                wanted = self._folded(CHANGELOGS[table], number, before=kept.offset or 0)
                _same(kept.data, wanted, f"{worker}: {table}/{number} on disk, current to {kept.offset}")

    def _is_done(self) -> bool:
        with self.kafka.lock:
            ends = {number: self.kafka.bounds(Partition("in", number))[2] for number in PARTITIONS}
            committed = {number: self.kafka.committed(GROUP, "in", number) for number in PARTITIONS}
            held: dict[Partition, str] = self.kafka.owners(GROUP)
        done = all((committed[number] or 0) == ends[number] for number in PARTITIONS)
        return (
            done
            and set(held) == {Partition("in", number) for number in PARTITIONS}
            and set(held.values()) <= self.running.keys()
            and not self.kafka.open_transactions()
            and not any(process.ticking or process.is_busy for process in self.running.values())
        )

    def _committed(self, topic: str, number: int) -> list[MemoryRecord]:
        """Return what is committed there, also behind a transaction that is open."""
        found = self.kafka.records(topic, number, committed_only=False)
        return [record for record in found if record.range is None or record.range.committed]

    def _folded(self, changelog: str, number: int, *, before: int | None = None) -> dict[bytes, bytes]:
        held: dict[bytes, bytes] = {}
        for record in self._committed(changelog, number):
            if before is not None and record.offset() >= before:
                break
            key, value = record.key() or b"", record.value()
            if value is None:
                held.pop(key, None)
            else:
                held[key] = value
        return held

    # --- inside

    def state(self) -> str:
        lanes = {
            process.worker: {
                str(where): (lane.state.value, lane.next_offset, lane.committed, sorted(lane.pauses), lane.waiting)
                for where, lane in process.engine.group.lanes.items()
            }
            for process in self.running.values()
        }
        busy = {
            process.worker: (process.is_busy, process.is_blocked, len(process.ticking), process.engine.counters())
            for process in self.running.values()
        }
        units = {
            process.worker: {
                "transaction open": process.engine.admission.transaction_open,
                "in flight": process.engine.admission.flight is not None,
                "empty": process.engine.admission.unit.is_empty,
                "produced": process.engine.admission.unit.produced,
                "outbox": len(process.engine.admission.unit.outbox),
                "gate": sorted(process.engine.admission._closed_for),
            }
            for process in self.running.values()
        }
        ends = [(self.kafka.committed(GROUP, "in", number), self.kafka.bounds(Partition("in", number))) for number in PARTITIONS]
        sources = {
            process.worker: [
                (vars(source)["_generation"], vars(source)["_joining"], source.is_over, source.is_giving_back, source.turns)
                for source in process.engine._sources
                if isinstance(source, MemorySource)
            ]
            for process in self.running.values()
        }
        group = self.kafka.group(GROUP)
        return (
            f"{lanes} {busy} {units} {ends} {self.kafka.open_transactions()} {self.kafka.owners(GROUP)} {sources} "
            f"{group.state} {group.generation} {list(group.members.values())} {self.kafka.settled}"
        )

    def _reached(self, point: FaultPoint) -> None:
        for process in list(self.running.values()):
            if process.die_at is point and process.is_at(threading.current_thread()):
                process.host.kill()
                raise ProcessDied(process.worker)

    def _went_wrong(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), ProcessDied):
            self.strange.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _bury(self, process: Process) -> None:
        self.dead.append(process)
        self.strays.extend(process.host.strays)
        process.host.strays.clear()

    def _collect_strays(self) -> None:
        for process in self.running.values():
            self.strays.extend(process.host.strays)
            process.host.strays.clear()

    @staticmethod
    async def _until(what: Callable[[], bool], *, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not what() and time.monotonic() < end:  # noqa: ASYNC110 - conditions of other threads
            await asyncio.sleep(0.0005)


def _same(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise Violation(f"{what}: found {found}, wanted {wanted}")
