"""The lanes of this worker: what the group gives and takes, restores, rewinds, and what the polls bring.

Kafka's side arrives on poll threads; lane numbers and states change under the admission's lock; records and actors belong to the loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from streamapp.clock import Deadline
from streamapp.errors import DeadlinePassed, StreamAppError, UnitAborted
from streamapp.events import Event, log_event
from streamapp.pipeline.lane import HEAVY, NO_POSITION, REVOKED, Inlet, Lane, LaneState, Line, Return
from streamapp.pipeline.overlay import TablePartition
from streamapp.pipeline.suspects import read
from streamapp.records import Partition

if TYPE_CHECKING:
    from streamapp.pipeline.admission import Admission
    from streamapp.pipeline.isolation import Isolation
    from streamapp.pipeline.process import AgentRun
    from streamapp.pipeline.spec import TableSpec
    from streamapp.pipeline.unit_of_work import UnitOfWork
    from streamapp.ports import CommittedOffset, Fetched, OffsetReader, PartitionSource, Store

log = logging.getLogger(__name__)
T = TypeVar("T")

RESTORE_AGAIN_AT_MOST = 15.0
"""Longest wait, in seconds, before a store that the disk refused is tried again: a partition is back that soon after the disk is."""

COMMITTED_WAIT = 30.0
"""Seconds for one reading of committed offsets; it waits out an open transaction, and is asked again for as long as it takes."""


class TableRestore(Protocol):
    """Opens a table partition's store and brings it up to its changelog's high watermark."""

    def begin(self, table: str, number: int) -> Future[Store]:
        """Restore from where the store stands, in place of one that is under way. The future raises what disk or broker said for good."""
        ...

    def cancel(self, restore: Future[Store]) -> None:
        """Stop the one that `begin` returned; afterwards it writes no more. One that is not under way any more is no error."""
        ...


class LaneEvents(Protocol):
    """What the engine wants to know of lanes. Called on the loop."""

    def lanes_opened(self, lanes: Sequence[Lane]) -> None: ...
    def lanes_gone(self, lanes: Sequence[Lane]) -> None: ...
    def lanes_given(self, lanes: Sequence[Lane]) -> None: ...
    def source_broken(self, source: PartitionSource, failure: Exception) -> None: ...


class Group:
    """A SourceListener, and the owner of every lane."""

    def __init__(
        self,
        *,
        admission: Admission,
        agents_of: Callable[[str], Sequence[AgentRun]],
        tables_of: Callable[[str], Sequence[TableSpec]],
        set_of: Callable[[str], str],
        partitions: Mapping[str, int],
        offsets: Callable[[], OffsetReader],
        restore: TableRestore,
        events: LaneEvents,
        commit_now: Callable[[Sequence[Lane]], Future[bool]],
        isolation: Isolation,
        auto_offset_reset: str,
        revoke_grace: float,
        revoke_budget: float,
    ) -> None:
        self.lanes: dict[Partition, Lane] = {}
        self.joined: set[PartitionSource] = set()
        """Sources that the group has answered, with partitions or without."""
        self._partitions = partitions
        self._admission = admission
        self._agents_of = agents_of
        self._tables_of = tables_of
        self._set_of = set_of
        self._new_offsets = offsets
        self._offsets: OffsetReader | None = None
        self._restore = restore
        self._events = events
        self._commit_now = commit_now
        self._isolation = isolation
        self._reset = auto_offset_reset
        self._revoke_grace = revoke_grace
        self._revoke_budget = revoke_budget
        self._lines: dict[tuple[str, int], Line] = {}
        self._tables: dict[tuple[str, int], TablePartition] = {}
        self._starts: dict[Partition, int] = {}
        """Where partitions without a committed offset began: asked again after an unknown outcome, `latest` would be later."""
        self._in_transit = 0
        self._bytes_in_transit = 0
        self._loop = asyncio.get_running_loop()
        self._ending = False
        self._recoveries: set[asyncio.Task[None]] = set()
        self._asking = ThreadPoolExecutor(1, "kafka-offsets")
        self._giving = ThreadPoolExecutor(8, "rebalance")

    async def stop(self) -> None:
        """End what is under way. The sources are stopped before."""
        self._ending = True
        for task in list(self._recoveries):
            task.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)
        if self._offsets is not None:
            await self._loop.run_in_executor(self._asking, self._offsets.close)
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._giving.shutdown(wait=False, cancel_futures=True)

    def table_partitions(self, table: str) -> list[TablePartition]:
        """Return the partitions of `table` on this worker that are restored, in order."""
        running = {
            lane.tables[table].number: lane.tables[table] for lane in self.lanes.values() if table in lane.tables and lane.running
        }
        return [running[number] for number in sorted(running)]

    # --- SourceListener: on the poll threads

    def assigned(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None:
        lanes = []
        with self._admission.lock:
            for partition, number in numbers.items():
                key = (self._set_of(partition.topic), partition.number)
                line = self._lines.setdefault(key, Line(partition.number))
                lane = Lane(partition, line, number)
                lane.source = source
                self.lanes[partition] = lane
                lanes.append(lane)
        self._on_loop(self._begin, source, lanes)

    def revoking(self, source: PartitionSource, partitions: Sequence[Partition]) -> Future[None]:
        """Stop there, let what is in hand finish within the grace, and commit the whole unit: it is one for all partitions."""
        with self._admission.lock:
            lanes = [self.lanes[where] for where in partitions if where in self.lanes]
            for lane in lanes:
                lane.pause(REVOKED, kind="revoked")
        return self._giving.submit(self._give_back, lanes)

    def revoked(self, source: PartitionSource, partitions: Sequence[Partition]) -> None:
        lanes, now = self._close(partitions), time.monotonic()
        asked = [lane.whys[REVOKED].since for lane in lanes if REVOKED in lane.whys]
        self._on_loop(self._gone, lanes, "revoked", now - min(asked, default=now))

    def lost(self, source: PartitionSource, partitions: Sequence[Partition]) -> None:
        lanes = self._close(partitions)
        with self._admission.lock:
            held = [lane for lane in lanes if lane in self._admission.unit.lanes]
        if held:
            # A commit under way finds out by itself (step 4), or is past that and is finished.
            self._admission.fail(UnitAborted("partitions lost: " + ", ".join(str(lane) for lane in held)))
        log_event(
            log,
            logging.WARNING,
            Event.ASSIGNMENT_LOST,
            "partitions lost: " + ", ".join(str(where) for where in partitions),
            count=len(partitions),
        )
        self._on_loop(self._gone, lanes, "lost", 0.0)

    def numbered(self, source: PartitionSource, numbers: Mapping[Partition, int]) -> None:
        with self._admission.lock:
            for partition, number in numbers.items():
                if (lane := self.lanes.get(partition)) is not None:
                    lane.number = number
                    lane.running = False

    def fetched(self, source: PartitionSource, batches: Sequence[Fetched]) -> None:
        with self._admission.lock:
            self._in_transit += sum(len(batch.records) for batch in batches)
            self._bytes_in_transit += sum(batch.size_bytes for batch in batches)
        self._on_loop(self._deliver, batches)

    def waiting(self) -> int:
        coming = max(self._in_transit, self._bytes_in_transit // HEAVY)
        return coming + sum(lane.load for lane in list(self.lanes.values()))

    def crowded(self, partition: Partition) -> int:
        lane = self.lanes.get(partition)
        return 0 if lane is None else lane.load

    def out_of_range(self, source: PartitionSource, partition: Partition) -> None:
        """Retention overtook the position, or the log was cut: find out where to go on."""
        with self._admission.lock:
            lane = self.lanes.get(partition)
            if lane is None or lane.state is not LaneState.RUNNING:
                return
            lane.move(LaneState.REWINDING)
        self._on_loop(self._recover_soon, [lane])

    def broken(self, source: PartitionSource, failure: Exception) -> None:
        self._on_loop(self._events.source_broken, source, failure)

    # --- rebalance threads

    def _give_back(self, lanes: Sequence[Lane]) -> None:
        deadline = Deadline.after(self._revoke_budget)
        grace = Deadline.after(deadline.slice(self._revoke_grace))
        while any(lane.is_busy for lane in lanes) and not grace.passed:
            time.sleep(0.005)  # a condition of the loop's, looked at from the thread that must not wait on the loop
        self._admission.release(lanes, for_good=False)
        committed = self._commit_now(lanes)
        try:
            committed.result(timeout=deadline.left)
        except TimeoutError:
            # Closing the lanes makes the unit abort at its step 4; past that, its outcome is the broker's, and the new owner waits.
            log.warning("revoke: the commit was not finished in time; the unit is given up")
        with self._admission.lock:
            for lane in lanes:  # these, not what their partitions are by now: late, they may be back under new lanes
                self._shut(lane)

    def _close(self, partitions: Sequence[Partition]) -> list[Lane]:
        with self._admission.lock:
            lanes = [self.lanes.pop(partition) for partition in partitions if partition in self.lanes]
            for lane in lanes:
                self._shut(lane)
        return lanes

    def _shut(self, lane: Lane) -> None:
        """Under the lock."""
        if lane.state is not LaneState.CLOSED:
            lane.move(LaneState.CLOSED)
        self._admission.isolating.discard(lane)

    # --- TransactionListener's part: on the transaction thread

    def still_owned(self, unit: UnitOfWork) -> list[Lane]:
        with self._admission.lock:
            return [lane for lane, number in unit.numbers.items() if lane.number != number or lane.state is not LaneState.RUNNING]

    def superseded(self, unit: UnitOfWork, partition: TablePartition) -> bool:
        """Return whether a lane that wrote `partition` in `unit` has begun anew since, here or after having been elsewhere.

        What another owner wrote meanwhile would be overwritten; and a restore, which waits for the unit, brings all of it.
        """
        with self._admission.lock:
            return any(
                self.lanes.get(lane.partition, lane) is not lane or lane.number != number
                for lane, number in unit.numbers.items()
                if lane.line.number == partition.number and partition.table in lane.tables
            )

    def stop_admission(self) -> None:
        """Every running lane stands until it is rewound."""
        with self._admission.lock:
            for lane in self.lanes.values():
                if lane.state is LaneState.RUNNING:
                    lane.move(LaneState.REWINDING)

    def rewind(self) -> None:
        """Seek every lane that stands back to its committed offset; the poll threads do it, nobody waits for them."""
        rewind = Return()
        with self._admission.lock:
            lanes = [lane for lane in self.lanes.values() if lane.state is LaneState.REWINDING]
            for lane in lanes:
                lane.returns_by = rewind
        self._open(lanes, rewind)

    def recover_all(self) -> None:
        """Ask the broker what became of the unit: committed offsets and the changelogs' tails, then rewind. Any thread."""
        self.stop_admission()  # one that came back meanwhile has read tables that are to be restored
        self._on_loop(lambda: self._recover_soon([lane for lane in self.lanes.values() if lane.state is LaneState.REWINDING]))

    def _open(self, lanes: Sequence[Lane], way: Return) -> None:
        """Seek lanes to their committed offsets and have them run, unless they return another way by then."""
        positions: dict[PartitionSource, dict[Partition, int]] = {}
        for lane in lanes:
            if lane.committed is not None:
                positions.setdefault(lane.source, {})[lane.partition] = lane.committed
        for source, wanted in positions.items():
            source.open(wanted).add_done_callback(partial(self._sought, way, wanted))

    def _sought(self, way: Return, positions: Mapping[Partition, int], numbers: Future[dict[Partition, int]]) -> None:
        """On the poll thread, before its next poll. A source that refused has lost its partitions, and said so."""
        if not numbers.cancelled() and numbers.exception() is None:
            self._on_loop(self._opened, way, numbers.result(), positions)

    # --- on the loop

    def _on_loop(self, work: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work, *arguments)

    def _begin(self, source: PartitionSource, lanes: list[Lane]) -> None:
        """New lanes: their agents' inlets, then restore and open them."""
        self.joined.add(source)
        lanes = [lane for lane in lanes if not self._is_added(lane)]
        for lane in lanes:
            agents = self._agents_of(lane.partition.topic)
            lane.exclusive = any(agent.spec.touches_tables for agent in agents)
            lane.straight = len(agents) == 1 and lane.exclusive and agents[0].holding is None
            lane.inlets = [Inlet(lane, agent, stage) for stage, agent in enumerate(agents)]
            lane.line.lanes = [other for other in lane.line.lanes if other.partition != lane.partition] + [lane]
        self._events.lanes_given(lanes)
        self._recover_soon(lanes)

    def _is_added(self, lane: Lane) -> bool:
        """Whether the lane's partition came after the start, to a source with tables: moved keys would meet empty tables."""
        known = self._partitions.get(lane.partition.topic, 0)
        if lane.partition.number < known or not self._tables_of(lane.partition.topic):
            return False
        log_event(
            log,
            logging.ERROR,
            Event.PARTITIONS_ADDED,
            f"{lane}: added to a topic that had {known} partitions when its tables were made; it is not read, since keys that moved "
            "there would meet empty tables. Make a new topic with that many partitions, or rebuild the app's tables",
            topic=lane.partition.topic,
            partition=lane.partition.number,
        )
        self._close([lane.partition])
        return True

    def _recover_soon(self, lanes: Sequence[Lane]) -> None:
        if not lanes or self._ending:
            return
        recovery = Return()
        with self._admission.lock:
            # Lines, whole: a restore writes beside nobody, and whoever was bringing one of their lanes back leaves it to this.
            whole = dict.fromkeys(other for lane in lanes for other in (lane, *lane.line.lanes))
            alive = [lane for lane in whole if lane.state is not LaneState.CLOSED]
            for lane in alive:
                lane.move(LaneState.RESTORING)
                lane.returns_by = recovery
        task = self._loop.create_task(self._recover(alive, recovery), name="recover " + " ".join(str(lane) for lane in alive))
        self._recoveries.add(task)
        task.add_done_callback(self._recovered)

    def _recovered(self, task: asyncio.Task[None]) -> None:
        self._recoveries.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._events.source_broken(None, failure if isinstance(failure, Exception) else RuntimeError(repr(failure)))  # type: ignore[arg-type]  # no one source's fault

    async def _recover(self, lanes: Sequence[Lane], recovery: Return) -> None:
        """Restore `lanes` and open them, those that nobody else brings back or has closed by then.

        1 committed  the inputs' committed offsets: waits for our own unit under way, and the old owner's transaction, to settle
        2 restore    then each table partition up to its changelog's high watermark, read anew
        3 open       seek to the committed offset, under a new lane number
        """

        def alive() -> list[Lane]:
            return [lane for lane in lanes if lane.returns_by is recovery and lane.state is LaneState.RESTORING]

        while any(self._is_committed_now(lane) for lane in alive()):  # noqa: ASYNC110 - a condition of the transaction thread's
            await asyncio.sleep(0.005)
        while not await self._read_committed(alive()):
            pass
        lines = {lane.line: lane for lane in alive()}
        await asyncio.gather(*(self._recover_line(lane, alive, recovery) for lane in lines.values()))

    async def _recover_line(self, first: Lane, alive: Callable[[], list[Lane]], recovery: Return) -> None:
        """Restore one line and open its lanes: those of others do not wait for a long restore, or a disk that refuses."""
        await self._restore_line(first, alive)
        ready = [lane for lane in alive() if lane.line is first.line]
        for lane in ready:
            self._attach_tables(lane)
        self._open(ready, recovery)

    async def _read_committed(self, lanes: Sequence[Lane]) -> bool:
        """Fill in the lanes' committed offsets and metadata; False when it has to be asked again."""
        if not lanes:
            return True
        try:
            answers = await self._ask(
                lambda offsets: offsets.committed([lane.partition for lane in lanes], Deadline.after(COMMITTED_WAIT))
            )
            for lane in lanes:
                await self._settle_start(lane, answers[lane.partition])
        except DeadlinePassed as late:
            log.warning("still waiting for committed offsets (an open transaction of their last owner?): %s", late)
            return False
        return True

    async def _settle_start(self, lane: Lane, answer: CommittedOffset) -> None:
        """Where to begin: the committed offset, or auto_offset_reset resolved to a number once; never silently from elsewhere."""
        start, end = await self._ask(lambda offsets: offsets.bounds(lane.partition, Deadline.after(COMMITTED_WAIT)))
        lane.count, lane.others = read(answer.metadata)
        lane.committed = lane.in_group = answer.offset
        if answer.offset is None:
            if self._reset == "error":
                self._stand(lane, Event.LANE_STALLED, f"{lane}: nothing is committed and auto_offset_reset is error")
                return
            if lane.partition not in self._starts:
                self._starts[lane.partition] = start if self._reset == "earliest" else await self._last_stable(lane)
            lane.committed = max(start, self._starts[lane.partition])
            lane.unresolved = True
            log_event(
                log,
                logging.INFO,
                Event.START_RESOLVED,
                f"{lane}: nothing committed yet, begins at {lane.committed} ({self._reset})",
                topic=lane.partition.topic,
                partition=lane.partition.number,
                offset=lane.committed,
            )
        elif answer.offset < start:
            log_event(
                log, logging.ERROR, Event.RECORDS_LOST,
                f"{lane}: {start - answer.offset} records were deleted unread: committed {answer.offset}, log starts at {start}",
                topic=lane.partition.topic, partition=lane.partition.number, records=start - answer.offset,
            )  # fmt: skip
            lane.lost[answer.offset] = start - answer.offset
            lane.committed = start
            lane.unresolved = True
        elif answer.offset > end:
            self._stand(
                lane, Event.OFFSET_BEYOND_END,
                f"{lane}: committed offset {answer.offset} is beyond the log's end {end}; it stands. "
                "Was the topic made anew? Reset the group's offset for it, and delete the tables that it feeds",
            )  # fmt: skip
            return
        self._isolation.settled(lane, end)

    async def _last_stable(self, lane: Lane) -> int:
        """Return where `latest` begins: an open transaction's records are yet to come, though some stand below the log's end."""
        return await self._ask(lambda offsets: offsets.last_stable(lane.partition, Deadline.after(COMMITTED_WAIT)))

    @staticmethod
    def _stand(lane: Lane, event: Event, message: str) -> None:
        lane.committed = None
        lane.pause(NO_POSITION, kind="no position", detail=message)
        log_event(log, logging.ERROR, event, message, topic=lane.partition.topic, partition=lane.partition.number)

    async def _ask(self, question: Callable[[OffsetReader], T]) -> T:
        def ask() -> T:
            if self._offsets is None:
                self._offsets = self._new_offsets()
            return question(self._offsets)

        return await self._loop.run_in_executor(self._asking, ask)

    async def _restore_line(self, lane: Lane, alive: Callable[[], list[Lane]]) -> None:
        """Bring every table partition of the lane's line up to its changelog, side by side."""
        await asyncio.gather(*(self._restore_table(spec, lane, alive) for spec in self._line_tables(lane)))

    async def _restore_table(self, spec: TableSpec, lane: Lane, alive: Callable[[], list[Lane]]) -> None:
        number = lane.line.number
        wait = 1.0
        while lane in alive():
            if self._is_in_flight(spec.name, number):
                await asyncio.sleep(0.005)  # a condition of the transaction thread's, which has a deadline for it
                continue
            restore = self._restore.begin(spec.name, number)
            restoring = asyncio.wrap_future(restore)
            restoring.add_done_callback(_heard)
            try:
                while not restoring.done():
                    await asyncio.wait({restoring}, timeout=0.25)
                    if lane not in alive():
                        await self._loop.run_in_executor(self._giving, self._restore.cancel, restore)
                        restoring.cancel()
                        return
                store = restoring.result()
            except (OSError, StreamAppError) as failure:
                log_event(
                    log, logging.ERROR, Event.LANE_STALLED,
                    f"{spec.name}/{number} cannot be restored, trying again in {wait:.0f} s: {failure}", table=spec.name, partition=number,
                )  # fmt: skip
                await asyncio.sleep(wait)
                wait = min(RESTORE_AGAIN_AT_MOST, wait * 2)
                continue
            self._tables[spec.name, number] = TablePartition(
                spec.name, number, Partition(spec.changelog, number), store, self._admission.fail
            )
            break

    def _is_in_flight(self, table: str, number: int) -> bool:
        """Return whether a unit that is being committed may yet be applied to that store: no restore writes beside it."""
        flight = self._admission.flight
        return flight is not None and any((each.table, each.number) == (table, number) for each in flight.dirty)

    def _is_committed_now(self, lane: Lane) -> bool:
        """Return whether a unit that is being committed may yet move the lane's committed offset."""
        flight = self._admission.flight
        return flight is not None and lane in flight.lanes

    def _line_tables(self, lane: Lane) -> list[TableSpec]:
        found = {}
        for topic in {other.partition.topic for other in lane.line.lanes} | {lane.partition.topic}:
            for spec in self._tables_of(topic):
                found[spec.name] = spec
        return list(found.values())

    def _attach_tables(self, lane: Lane) -> None:
        lane.tables = {
            spec.name: self._tables[spec.name, lane.line.number]
            for spec in self._tables_of(lane.partition.topic)
            if (spec.name, lane.line.number) in self._tables
        }

    def _opened(self, way: Return, numbers: Mapping[Partition, int], positions: Mapping[Partition, int]) -> None:
        """The poll thread has sought: drop what was fetched before, and run."""
        opened = []
        for partition, number in numbers.items():
            lane = self.lanes.get(partition)
            if lane is None or lane.number != number or lane.returns_by is not way:
                continue
            if lane.state not in (LaneState.RESTORING, LaneState.REWINDING):
                continue
            lane.clear()
            if lane.line.holder is not None and all(other is lane or not other.running for other in lane.line.lanes):
                lane.line.holder = None
            for reason in list(lane.pauses):
                if reason != REVOKED and reason not in lane.lasting:
                    lane.unpause(reason)
            lane.next_offset = positions[partition]
            with self._admission.lock:
                lane.move(LaneState.RUNNING)
            opened.append(lane)
        if opened:
            self._events.lanes_opened(opened)

    def _deliver(self, batches: Sequence[Fetched]) -> None:
        with self._admission.lock:
            self._in_transit -= sum(len(batch.records) for batch in batches)
            self._bytes_in_transit -= sum(batch.size_bytes for batch in batches)
        for batch in batches:
            lane = self.lanes.get(batch.partition)
            if lane is None or lane.number != batch.number or lane.state is LaneState.CLOSED:
                continue
            inlet = lane.inlets[0]
            if batch.records:
                lane.position = cast("int", batch.records[-1].offset()) + 1
                if lane.held is not None:
                    lane.held.extend(batch.records)
                else:
                    inlet.queue.extend(batch.records)
                    inlet.agent.offer(inlet, len(batch.records))
                lane.fetched(len(batch.records), batch.size_bytes)
            if batch.end is not None:
                lane.end_seen = batch.end
                lane.position = max(batch.end, lane.position or 0)
                if not inlet.queue:
                    inlet.agent.engine.drained(lane)

    def _gone(self, lanes: Sequence[Lane], how: str, took: float) -> None:
        for lane in lanes:
            lane.clear()
            for inlet in lane.inlets:
                inlet.agent.close_inlet(inlet)
            lane.line.lanes = [other for other in lane.line.lanes if other is not lane]
            if not lane.line.lanes:
                lane.line.holder = None
        if lanes:
            names = ", ".join(str(lane) for lane in lanes)
            if how == "revoked":
                log_event(
                    log, logging.INFO, Event.PARTITIONS_REVOKED, f"partitions given back: {names}",
                    count=len(lanes), held=len(self.lanes), duration_seconds=round(took, 3),
                )  # fmt: skip
            self._events.lanes_gone(lanes)


def _heard(restoring: asyncio.Future[Store]) -> None:
    """A restore that fails while its lane goes has nobody left to tell; asyncio would report that as a mistake of ours."""
    if not restoring.cancelled():
        restoring.exception()
