"""Timers, tasks and views of a running worker: how their sends and writes join the unit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from streamapp.clock import Clock, Deadline
from streamapp.errors import Fatal, StreamAppError, TableNotHere
from streamapp.events import Event, log_event
from streamapp.pipeline.dead_letter import named
from streamapp.pipeline.partitioner import partition_of
from streamapp.pipeline.savepoint import current_savepoint
from streamapp.pipeline.tick import LineBusy, TickSavepoint
from streamapp.pipeline.unit_of_work import Tick
from streamapp.records import Outgoing, Partition

if TYPE_CHECKING:
    from streamapp.pipeline.admission import Admission
    from streamapp.pipeline.group import Group
    from streamapp.pipeline.lane import Lane, Line
    from streamapp.pipeline.spec import TableSpec
    from streamapp.ports import TransactionalProducer

log = logging.getLogger(__name__)

TICK_TRIES = 100
"""Times a timer's run is begun anew because a record was in hand where it touched a table."""


class Ticks:
    """Work that no record caused. On the loop."""

    def __init__(
        self,
        *,
        admission: Admission,
        group: Group,
        tables: Mapping[str, TableSpec],
        partitions: Mapping[str, int],
        leader_lane: Callable[[], Lane | None],
        wake_line: Callable[[Line], None],
        spare_producer: Callable[[], TransactionalProducer],
        clock: Clock,
    ) -> None:
        self.wake_line = wake_line
        self._admission = admission
        self._group = group
        self._tables = tables
        self._partitions = partitions
        self._leader_lane = leader_lane
        self._new_spare = spare_producer
        self._clock = clock
        self._rerun: set[asyncio.Task[None]] = set()
        self._spare: TransactionalProducer | None = None
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Give up what was to be run again, and deliver what went outside the transaction."""
        for task in list(self._rerun):
            task.cancel()
        spare, self._spare = self._spare, None
        if spare is not None:
            await self._loop.run_in_executor(None, _flush_and_close, spare)

    def savepoint(self, name: str, held: list[Lane]) -> TickSavepoint:
        return TickSavepoint(self, name, held, int(self._clock.wall() * 1000))

    async def run(self, function: Callable[[], Awaitable[None]], *, name: str, on_leader: bool = False) -> None:
        """Run a timer's function as a savepoint that joins the unit. Run anew when it meets a busy line, or its unit is aborted.

        Raises what the function raises; nothing of that run is sent or written.
        """
        held: list[Lane] = []
        for _ in range(TICK_TRIES):
            leader = self._leader_lane() if on_leader else None
            if on_leader and leader is None:
                return  # no longer ours to do: whoever leads now ticks for itself
            await self._acquire(held, leader)
            savepoint = self.savepoint(name, held)
            if leader is not None:
                savepoint.numbers[leader] = leader.number
            token = current_savepoint.set(savepoint)
            try:
                await function()
            except LineBusy as busy:
                held = sorted({*held, busy.lane}, key=lambda lane: lane.partition)
                savepoint.release()
                continue
            except BaseException:
                savepoint.release()
                raise
            finally:
                current_savepoint.reset(token)
            savepoint.is_open = False
            admitted = self._admit_tick(savepoint, Tick(function, name, on_leader))
            savepoint.release()
            if admitted:
                return
            held = []
            await asyncio.sleep(0)
        raise Fatal(f"timer {name}: its lines stayed busy for {TICK_TRIES} runs")

    async def _acquire(self, lanes: Sequence[Lane], leader: Lane | None) -> None:
        """Wait until the lines of `lanes` are free, and what is being rewound runs again (or is gone)."""
        while (
            any(lane.line.holder is not None or lane.in_hand or _is_rewound(lane) for lane in lanes)
            or (leader is not None and _is_rewound(leader))
            or (self._anchor() is None and self._is_kept())
        ):
            for lane in lanes:
                lane.pause("timer")
            await asyncio.sleep(0.001)  # a record in hand ends within its attempt's time; the lane starts no other meanwhile
        for lane in lanes:
            lane.unpause("timer")

    def _admit_tick(self, savepoint: TickSavepoint, tick: Tick | None) -> bool:
        if not savepoint.outputs and not savepoint.writes:
            return True
        if not savepoint.numbers:
            anchor = self._anchor()
            if anchor is None:
                if self._is_kept():
                    return False
                self._send_spare(savepoint.outputs or [])
                return True
            savepoint.numbers[anchor] = anchor.number
        savepoint.tick = tick
        return self._admission.admit_tick(savepoint, list(savepoint.numbers.items()), tick)

    def _anchor(self) -> Lane | None:
        """Return a lane whose offset fences work that touches none: any that runs and stays."""
        return next((lane for lane in self._group.lanes.values() if lane.running and lane.is_kept), None)

    def _is_kept(self) -> bool:
        return any(lane.is_kept for lane in self._group.lanes.values())

    def send(self, outgoing: Outgoing) -> None:
        """Send from a task or a view: a savepoint of its own that joins the unit; without partitions, an idempotent producer."""

        async def send() -> None:
            savepoint = current_savepoint.get()
            if savepoint is not None:
                savepoint.send(outgoing)

        tick = Tick(send, f"send to {outgoing[0]}", on_leader=False)
        savepoint = self.savepoint("task", [])
        savepoint.send(outgoing)
        if not self._admit_tick(savepoint, tick):
            self.run_again(tick)

    def _send_spare(self, outputs: Sequence[Outgoing]) -> None:
        if self._spare is None:
            self._spare = self._new_spare()
        for outgoing in outputs:
            while not self._spare.produce(outgoing):
                self._spare.wait(0.01)
        self._spare.serve()

    def lane_of_key(self, table: str, key: bytes) -> Lane | None:
        """Return the lane whose partition of `table` the key belongs to (murmur2, as for a record with that key), once restored."""
        for topic in self._tables[table].topics:
            lane = self._group.lanes.get(Partition(topic, partition_of(key, self._partitions[topic])))
            if lane is not None and lane.is_kept and table in lane.tables:
                return lane
        return None

    def read_committed_value(self, table: str, key: bytes) -> bytes | None:
        """Return what is committed under `key`. Raises TableNotHere."""
        lane = self.lane_of_key(table, key)
        if lane is None or not lane.running:
            raise TableNotHere(f"table {table}: the partition of this key is not on this worker")
        return lane.tables[table].stored(key)

    def write_from_task(self, table: str, key: bytes, value: bytes | None) -> None:
        """Write outside any record: a savepoint of its own, as soon as the record in hand there is done. Raises TableNotHere."""
        if self.lane_of_key(table, key) is None:
            raise TableNotHere(
                f"table {table}: the partition of this key is not on this worker; write it from an agent or a timer"
            )

        async def write() -> None:
            savepoint = current_savepoint.get()
            if savepoint is not None:
                savepoint.write(savepoint.partition_of(table, key), key, value)

        self.run_again(Tick(write, f"write to {table}", on_leader=False))

    def run_again(self, tick: Tick) -> None:
        async def run() -> None:
            try:
                await self.run(tick.function, name=tick.name, on_leader=tick.on_leader)
            except Exception as failure:  # user code
                log_event(log, logging.ERROR, Event.TASK_FAILED, f"{tick.name}: {named(failure)}", exc_info=failure)

        task = self._loop.create_task(run(), name=tick.name)
        self._rerun.add(task)
        task.add_done_callback(self._rerun.discard)


def _is_rewound(lane: Lane) -> bool:
    return lane.is_kept and not lane.running


def _flush_and_close(producer: TransactionalProducer) -> None:
    try:
        producer.flush(Deadline.after(10.0))
    except StreamAppError as failure:
        log.warning("sends outside the transaction were not all delivered: %s", failure)
    producer.close()
