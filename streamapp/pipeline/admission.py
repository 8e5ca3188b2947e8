"""The door into the unit of work: what is admitted moves from its savepoint into overlay and outputs, all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, cast

from streamapp.clock import Clock
from streamapp.errors import DeliveryFailed, InvariantBroken, ProducerUnusable, UnitAborted
from streamapp.faults import FaultPoint, reached
from streamapp.pipeline.suspects import NOTHING
from streamapp.pipeline.unit_of_work import Tick, UnitOfWork
from streamapp.ports import TransactionalProducer
from streamapp.records import Outgoing, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.savepoint import Savepoint
    from streamapp.pipeline.suspects import Count

OUTBOX_BOUND = 10_000
"""Outputs that may wait for the next transaction while one commits; a commit takes some 20 ms, a record some 20 µs."""


SIFTED_RECORDS = 100
"""Records of a unit whose outputs are flushed one by one, at some 3 ms each: well within any commit's time."""


class Admission:
    """The open unit, under the one lock that loop, transaction thread and rebalance callbacks share.

    The lock is held for one record's merge (about a microsecond) or for the moves between units, never for a wait.
    """

    def __init__(self, clock: Clock, *, overlay_max_bytes: int, every: int | None) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.unit = UnitOfWork()
        self.flight: UnitOfWork | None = None
        """The unit that is being committed; its outputs are out, so those of the open unit wait."""
        self.producer: TransactionalProducer | None = None
        self.transaction_open = False
        self.gate_open = False
        """Whether records may be started at all: not while an abort, a full queue or the end of the worker forbids it."""
        self.failure: Exception | None = None
        """Why the open unit can only be aborted."""
        self.commit_at: float | None = None
        """Monotonic seconds of the next commit; None while there is nothing to commit."""
        self.interval = 0.2
        self.isolating: set[Lane] = set()
        """Lanes whose units are sifted: the search for an output that the broker refuses."""
        self.opened: Callable[[], None] = lambda: None
        """Called (any thread) when the gate opens."""
        self._clock = clock
        self._overlay_max_bytes = overlay_max_bytes
        self._every = every
        self._counts = every is not None
        """Whether each record may bring a commit: then the short way is not taken."""
        self._direct = False
        self._closed_for: set[str] = {"not started"}
        self._closed_at = clock.monotonic()

    # --- the record path

    def admit(self, savepoint: Savepoint, next_offset: int) -> bool:
        """Move one record's buffer into the unit; False when its lane has another number now: it is dropped instead."""
        savepoint.is_open = False
        lane = savepoint.lane
        with self.lock:
            if lane.number != savepoint.number or not lane.running:
                return False
            unit = self.unit
            if lane not in unit.firsts or self._counts or self.isolating:
                self._offset(lane, next_offset, savepoint.record)
            else:
                unit.lanes[lane] = lane.next_offset = next_offset
                unit.records += 1
                lane.admitted += 1
            self._merge(savepoint)
        lane.line.holder = None
        return True

    def admit_batch(self, savepoint: Savepoint, records: Sequence[RawRecord]) -> bool:
        """The same for a batch, whose savepoint has its last record."""
        savepoint.is_open = False
        lane = savepoint.lane
        with self.lock:
            if savepoint.number != lane.number or not lane.running:
                return False
            self._offset(lane, cast("int", records[-1].offset()) + 1, records[0], len(records))
            self._merge(savepoint)
        lane.line.holder = None
        return True

    def admit_all(self, lane: Lane, savepoints: Sequence[Savepoint], next_offset: int, record: RawRecord) -> bool:
        """The same for a record that several agents worked on, in their order."""
        with self.lock:
            if any(savepoint.number != lane.number for savepoint in savepoints) or not lane.running:
                return False
            self._offset(lane, next_offset, record)
            for savepoint in savepoints:
                self._merge(savepoint)
        return True

    def admit_tick(self, savepoint: Savepoint, lanes: Sequence[tuple[Lane, int]], tick: Tick | None) -> bool:
        """Admit work that no record caused; the unit carries the present offset of `lanes`, so that the group fences it."""
        with self.lock:
            if any(lane.number != number or not lane.running for lane, number in lanes):
                return False
            for lane, _ in lanes:
                self._offset(lane, lane.next_offset)
            if tick is not None:
                self.unit.ticks.append(tick)
            self._merge(savepoint)
        return True

    def reach(self, lane: Lane, offset: int) -> None:
        """The lane has nothing to read before `offset`: commit that, without a record."""
        with self.lock:
            if lane.running:
                self._offset(lane, offset)

    def tell(self, lane: Lane, count: Count) -> None:
        """Commit the lane's present offset again, with `count` beside it."""
        with self.lock:
            if lane.running:
                self._offset(lane, lane.next_offset)
                self.unit.counts[lane] = (lane.next_offset, count)

    def release(self, lanes: Iterable[Lane], *, for_good: bool) -> None:
        """Their work here ends in order: commit that those which did not advance start afresh. `for_good`: the worker stops.

        Not when it failed: that end is one of those that are counted.
        """
        if "failed" in self._closed_for:
            return
        flight = self.flight
        for lane in lanes:
            is_told = lane in self.unit.counts or (flight is not None and lane in flight.counts)
            if lane.life is not None and (is_told or lane.count != NOTHING):
                self.tell(lane, NOTHING if for_good else lane.life.released(lane.next_offset))

    def _offset(self, lane: Lane, next_offset: int, record: RawRecord | None = None, records: int = 1) -> None:
        """The unit reaches `next_offset`, by that record and those that follow it; without one, nothing was read."""
        unit = self.unit
        if unit.opened_at is None:
            unit.opened_at = self._clock.monotonic()
            self._commit_by(unit.opened_at + self.interval)
        if lane not in unit.lanes:
            unit.numbers[lane] = lane.number
        if record is not None:
            unit.records += records
            if next_offset > lane.next_offset:  # else it had waited in a table since it was read
                lane.admitted += records
                unit.firsts.setdefault(lane, record)
        unit.lanes[lane] = lane.next_offset = next_offset
        if lane.count.starts > 1:
            # The last life ended here without progress: an end by chance, now, would make a suspect of the partition.
            self._commit_by(0.0)
        if lane.turn is not None and record is not None:
            upcoming = cast("int", lane.held[0].offset()) if lane.held else None
            unit.counts[lane] = (next_offset, lane.turn.after(upcoming, self._clock.monotonic()))
            self._commit_by(0.0)
        if self._every is not None and unit.records >= self._every:
            self._commit_by(0.0)
        if self.isolating and unit.records >= SIFTED_RECORDS:
            self._close_gate("isolating")
            self._commit_by(0.0)

    def _merge(self, savepoint: Savepoint) -> None:
        unit = self.unit
        if self.isolating:
            unit.sifted = True
        if savepoint.mark is not None and not unit.sifted:
            partition, key, mark = savepoint.mark
            partition.open[key] = mark
            unit.dirty[partition] = None
            unit.size_bytes += 64 + len(key) + len(mark)
            if unit.size_bytes >= self._overlay_max_bytes:
                self._is_full()
        elif (writes := savepoint.all_writes()) is not None:
            size = 0
            for (partition, key), value in writes.items():
                partition.open[key] = value
                unit.dirty[partition] = None
                size += len(key) + (64 if value is None else 64 + len(value))
            if unit.sifted:
                unit.writers.update(dict.fromkeys(writes, savepoint))
            unit.size_bytes += size
            if unit.size_bytes >= self._overlay_max_bytes:
                self._is_full()
        if savepoint.outputs is not None:
            self._send(savepoint, savepoint.outputs)

    def _is_full(self) -> None:
        """The unit's overlay is at its bound: it is committed."""
        self._commit_by(0.0)
        if self.flight is not None:
            self._close_gate("overlay full")

    def _send(self, savepoint: Savepoint, outputs: list[Outgoing]) -> None:
        """Give outputs to the producer at once where the transaction is open, else keep them in order for it."""
        if self.unit.sifted:
            self.unit.pieces.append((savepoint, outputs))
            return
        if not self._direct and not (self.flight is None and self.failure is None and self._open_transaction()):
            self._keep(outputs)
            return
        producer = self.producer
        if producer is None:
            raise InvariantBroken("an output was admitted before there was a producer")
        unit, sent = self.unit, 0
        try:
            for outgoing in outputs:
                if not producer.produce(outgoing):
                    self._direct = False
                    self._keep(outputs[sent:])
                    break
                sent += 1
        except (UnitAborted, ProducerUnusable) as failure:
            if isinstance(failure, DeliveryFailed) and failure.at_once:
                unit.culprit = savepoint
            self._fail(failure)
        if unit.produced == 0 and sent:
            reached(FaultPoint.AFTER_FIRST_PRODUCE)
        unit.produced += sent

    def _keep(self, outputs: Sequence[Outgoing]) -> None:
        self.unit.outbox.extend(outputs)
        if len(self.unit.outbox) >= OUTBOX_BOUND:
            self._close_gate("outbox full")

    def _open_transaction(self) -> bool:
        """Begin the unit's transaction and give the producer what waited; True when nothing waits any more."""
        producer = self.producer
        if producer is None:
            return False
        try:
            if not self.transaction_open:
                producer.begin()
                self.transaction_open = True
            outbox = self.unit.outbox
            sent = 0
            for outgoing in outbox:
                if not producer.produce(outgoing):
                    break
                sent += 1
        except (UnitAborted, ProducerUnusable) as failure:
            self._fail(failure)
            return False
        del outbox[:sent]
        self.unit.produced += sent
        self._direct = not outbox
        if self._direct:
            self._open_gate("outbox full")
        return self._direct

    def serve(self) -> None:
        """Let the producer handle deliveries, and give it what waited for room. On the loop, between runs of records."""
        producer = self.producer
        if producer is not None:
            producer.serve()
        if self.unit.outbox and not self._direct:
            with self.lock:
                if self.flight is None and self.failure is None:
                    self._open_transaction()

    # --- between units; these take the lock themselves

    def close_unit(self) -> tuple[UnitOfWork, bool]:
        """Take the open unit for its commit and begin an empty one; tells whether its transaction is open. Under the lock."""
        unit, self.unit = self.unit, UnitOfWork()
        self.flight = unit
        for partition in unit.dirty:
            partition.close_unit()
        for lane in unit.firsts:
            unit.taken[lane], lane.admitted = lane.admitted, 0
        transaction_open, self.transaction_open = self.transaction_open, False
        self._direct = False
        self.commit_at = None
        self._open_gate("outbox full")  # what waited goes with its unit
        return unit, transaction_open

    def committed(self, unit: UnitOfWork) -> None:
        """The unit's transaction is durable: its offsets are the lanes' committed ones, and the next may begin."""
        now = self._clock.wall()
        with self.lock:
            for lane, upto in unit.lanes.items():
                lane.merged += unit.taken.get(lane, 0)
                lane.in_group, lane.committed_at = upto, now
                if lane.number == unit.numbers[lane]:
                    told = unit.counts.get(lane)
                    if lane.life is not None and (told is not None or upto > lane.life.base):
                        lane.life.is_counted = True
                    lane.count = lane.count_at(upto, told)
                    lane.committed = upto
                    if lane.condemned:
                        lane.condemned = {at: found for at, found in lane.condemned.items() if at.offset >= upto}
                    if lane in self.isolating and upto >= lane.isolate_until:
                        self.isolating.discard(lane)
            self.flight = None
            self._open_gate("isolating")
            self._open_gate("overlay full")

    def drop(self) -> list[UnitOfWork]:
        """Forget the unit that is being committed, if any, and the open one; return them. The gate stays closed until `resume`."""
        with self.lock:
            self._close_gate("aborting")
            units = [unit for unit in (self.flight, self.unit) if unit is not None]
            for partition in self.unit.dirty:
                partition.drop_open()
            for lane in self.unit.firsts:
                lane.admitted = 0
            if self.flight is not None:
                for partition in self.flight.dirty:
                    partition.drop_committing()
            self.unit = UnitOfWork()
            self.flight = None
            self.transaction_open = False
            self._direct = False
            self.failure = None
            self.commit_at = None
            self._closed_for -= {"isolating", "overlay full", "outbox full"}
            return units

    def resume(self) -> None:
        """The abort is over."""
        with self.lock:
            self._open_gate("aborting")

    def fail(self, failure: Exception) -> None:
        """The open unit can only be aborted: wake the transaction thread."""
        with self.lock:
            self._fail(failure)

    def _fail(self, failure: Exception) -> None:
        if self.failure is None:
            self.failure = failure
        self._direct = False
        self._close_gate("aborting")
        self.changed.notify_all()

    def commit_by(self, moment: float) -> None:
        """Commit what the unit holds no later than `moment` (monotonic seconds)."""
        with self.lock:
            if not self.unit.is_empty:
                self._commit_by(moment)

    def _commit_by(self, moment: float) -> None:
        if self.commit_at is None or moment < self.commit_at:
            self.commit_at = moment
            self.changed.notify_all()

    # --- the gate

    def close_gate(self, reason: str) -> None:
        """Start no record until `open_gate` with the same reason."""
        with self.lock:
            self._close_gate(reason)

    def open_gate(self, reason: str) -> None:
        with self.lock:
            self._open_gate(reason)

    def shut(self) -> tuple[float, str] | None:
        """Return since when (monotonic seconds) no record may be started at all, and why; None while they may."""
        reasons = sorted(self._closed_for)
        return (self._closed_at, ", ".join(reasons)) if reasons else None

    def _close_gate(self, reason: str) -> None:
        if not self._closed_for:
            self._closed_at = self._clock.monotonic()
        self._closed_for.add(reason)
        self.gate_open = False

    def _open_gate(self, reason: str) -> None:
        self._closed_for.discard(reason)
        if not self._closed_for and not self.gate_open:
            self.gate_open = True
            self.opened()
