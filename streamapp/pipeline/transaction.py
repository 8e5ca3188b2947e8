"""The transaction thread: when a unit is committed, and what happens when it cannot be.

It waits for nothing that the loop does, so a handler that blocks the loop cannot hold a transaction open past its timeout.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from streamapp.clock import Clock, Deadline
from streamapp.errors import (
    BrokerUnreachable,
    Fatal,
    OutcomeUnknown,
    ProducerUnusable,
    RivalWorker,
    StateUnusable,
    UnitAborted,
)
from streamapp.events import Event, log_event
from streamapp.faults import FaultPoint, reached
from streamapp.pipeline.commit import Commit
from streamapp.pipeline.measures import DURATIONS, RECORDS, Histogram

if TYPE_CHECKING:
    from streamapp.pipeline.admission import Admission
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.tracing import Tracer
    from streamapp.pipeline.unit_of_work import UnitOfWork
    from streamapp.ports import TransactionalProducer

log = logging.getLogger(__name__)

SAFE_SHARE = 0.7
"""Share of the transaction timeout after which a unit has been committed or aborted: past the timeout the broker fences us."""

SLOW_COMMIT = 1.0
"""Seconds, and SLOW_INTERVALS intervals: a commit that took longer is named, with its steps; usual are some 20 ms."""
SLOW_INTERVALS = 5

RIVAL_WINDOW = 60.0
RIVAL_FENCES = 5
"""Fenced so often within RIVAL_WINDOW, without a timeout of our own: somebody else has our identity.

Not at the second: a request of ours for an epoch whose answer was lost is sent again, at once when the coordinator is connected again,
and the first one may arrive when the producer is at work. It fences as a rival does, but a rival goes on: five take it seconds.
"""


class TransactionListener(Protocol):
    """What becomes of units. Called on the transaction thread; nothing here may wait."""

    def still_owned(self, unit: UnitOfWork) -> list[Lane]: ...
    def superseded(self, unit: UnitOfWork, partition: TablePartition) -> bool: ...
    def unit_committed(self, unit: UnitOfWork, refused: dict[TablePartition, Exception]) -> None: ...
    def units_dropped(self, cause: Exception, units: Sequence[UnitOfWork], *, unknown: bool) -> None:
        """Both units are dropped: rewind what is kept, or (`unknown`) ask the broker and restore first."""
        ...

    def closing_units(self) -> None:
        """Both units are about to be dropped: stop admission on every lane. Called under no lock."""
        ...

    def stopped_for(self, failure: BaseException) -> None:
        """The thread cannot go on."""
        ...


class TransactionThread:
    """One thread, one producer, one transaction at a time."""

    def __init__(
        self,
        admission: Admission,
        new_producer: Callable[[], TransactionalProducer],
        listener: TransactionListener,
        clock: Clock,
        *,
        transactional_id: str,
        transaction_timeout: float,
        exactly_once: bool,
        tracer: Tracer | None = None,
    ) -> None:
        self.commits = 0
        self.aborts = 0
        self.rebuilds = 0
        self.records = 0
        """Source records whose work became durable."""
        self.replayed = 0
        """Source records whose work was dropped, to be done again."""
        self.resumed = 0
        """Commits that were called again after their time was over."""
        self.unknown = 0
        """Those of `aborts` whose unit may have been committed all the same: the broker is asked."""
        self.reasons: dict[str, int] = {}
        """How many of `rebuilds` for which reason."""
        self.last_commit: float | None = None
        """Seconds since 1970."""
        self.duration = Histogram(DURATIONS)
        self.commit_duration = Histogram(DURATIONS)
        self.unit_records = Histogram(RECORDS)
        self._admission = admission
        self._new_producer = new_producer
        self._listener = listener
        self._clock = clock
        self._id = transactional_id
        self._timeout = transaction_timeout
        self._exactly_once = exactly_once
        self._tracer = tracer
        self._stopping = False
        self._ended = False
        self._waiting: list[Future[bool]] = []
        self._closing: list[Lane] = []
        self._fenced_at: deque[float] = deque(maxlen=RIVAL_FENCES)
        self._thread = threading.Thread(target=self._run, name="kafka-txn", daemon=True)

    # --- called from other threads

    def start(self) -> None:
        """Make the first producer (it ends what a dead predecessor left open) and begin. Raises what the factory raises."""
        self._admission.producer = self._new_producer()
        self._thread.start()

    def commit_now(self, closing: Sequence[Lane] = ()) -> Future[bool]:
        """Commit what is admitted by now. The future tells whether it became durable; True when there was nothing to do.

        `closing`: lanes that are given back. Nothing of them is admitted after this unit is closed: it could only be aborted.
        """
        asked: Future[bool] = Future()
        admission = self._admission
        with admission.lock:
            if self._ended:
                asked.set_result(False)
                return asked
            self._waiting.append(asked)
            self._closing.extend(closing)
            admission.changed.notify_all()
        return asked

    def stop(self, deadline: Deadline) -> None:
        """End the thread and destroy the producer. May be called twice, and before `start`."""
        admission = self._admission
        with admission.lock:
            self._stopping = True
            admission.changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(deadline.left)
        if admission.producer is not None:
            admission.producer.close()

    # --- the thread

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as failure:  # the thread's edge: the worker stops and says why
            self._listener.stopped_for(failure)
        finally:
            # Nobody is left who would answer: a revoke or a stop must not wait out its time for that.
            with self._admission.lock:
                self._ended = True
            _answer(self._waiting, durable=False)

    def _turn(self) -> bool:
        admission = self._admission
        with admission.lock:
            while True:
                if admission.failure is not None:
                    failure: Exception | None = admission.failure
                    unit = None
                    break
                now = self._clock.monotonic()
                due = admission.commit_at is not None and now >= admission.commit_at
                if self._waiting or due:
                    failure = None
                    asked, self._waiting = self._waiting, []
                    for lane in self._closing:
                        lane.running = False
                    self._closing.clear()
                    if admission.unit.is_empty:
                        _answer(asked, durable=True)
                        continue
                    unit, transaction_open = admission.close_unit()
                    break
                if self._stopping:
                    return False
                admission.changed.wait(None if admission.commit_at is None else max(0.0, admission.commit_at - now))
        durable = False
        try:
            if unit is None:
                asked, self._waiting = self._waiting, []
                self._drop(failure or UnitAborted(), unknown=isinstance(failure, OutcomeUnknown))
            else:
                durable = self._commit(unit, transaction_open=transaction_open)
        finally:
            _answer(asked, durable=durable)
        return True

    def _commit(self, unit: UnitOfWork, *, transaction_open: bool) -> bool:
        admission = self._admission
        producer = admission.producer
        if producer is None:
            raise Fatal("no producer")
        closed_at = self._clock.monotonic()
        opened_at = unit.opened_at if unit.opened_at is not None else closed_at
        # At least a second: a unit that waited long still gets its try, and the broker's answer decides.
        allowed = SAFE_SHARE * self._timeout
        allowed = allowed if unit.within is None else min(allowed, unit.within)
        deadline = Deadline(max(opened_at + allowed, self._clock.monotonic() + 1.0))
        commit = Commit(unit, producer, self._listener, transaction_open, self._clock)
        traced = None if self._tracer is None else self._tracer.commit(unit.records)
        try:
            if self._exactly_once:
                commit.exactly_once(deadline)
            else:
                commit.at_least_once(deadline)
        except (UnitAborted, ProducerUnusable) as failure:
            if traced is not None:
                traced.failed(failure)
            self._drop(failure, unknown=commit.asked and isinstance(failure, ProducerUnusable))
            return False
        now = self._clock.monotonic()
        self.last_commit = self._clock.wall()
        if traced is not None:
            traced.done()
        self.commits += 1
        self.resumed += producer.resumed
        self.records += unit.records
        self.duration.add(now - opened_at)
        self.commit_duration.add(now - closed_at)
        self.unit_records.add(unit.records)
        refused = commit.apply()
        self._say_if_slow(commit, closed_at)
        if producer.suspect:
            # Before `committed`, which lets the loop begin the next transaction: that must be the new producer's.
            self._rebuild("coordinator_trouble")
        admission.committed(unit)
        self._listener.unit_committed(unit, refused)
        if refused:
            partition, reason = next(iter(refused.items()))
            self._drop(StateUnusable(f"{partition}: {reason}"), unknown=False)
        return True

    def _say_if_slow(self, commit: Commit, began: float) -> None:
        took = self._clock.monotonic() - began
        if took < SLOW_COMMIT or took < SLOW_INTERVALS * self._admission.interval:
            return
        steps = {step: round(seconds, 3) for step, seconds in commit.steps(began)}
        told = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in steps.items())
        log_event(
            log, logging.WARNING, Event.COMMIT_SLOW,
            f"a commit of {commit.unit.records} records took {took:.2f} s: {told}",
            duration_seconds=round(took, 3), records=commit.unit.records, steps=steps,
        )  # fmt: skip

    def _drop(self, cause: Exception, *, unknown: bool) -> None:
        """Abort: drop overlays and buffers, abort the transaction (or replace the producer), have the lanes rewound."""
        admission = self._admission
        self.aborts += 1
        self.unknown += unknown
        self._listener.closing_units()
        had_transaction = admission.transaction_open or admission.flight is not None
        units = admission.drop()
        replayed = sum(unit.records for unit in units)
        self.replayed += replayed
        log_event(
            log,
            logging.WARNING,
            Event.COMMIT_UNKNOWN if unknown else Event.TRANSACTION_ABORTED,
            f"unit dropped, its records are read again ({replayed}): {type(cause).__name__}: {cause}",
            cause=type(cause).__name__,
            records=replayed,
        )
        reached(FaultPoint.ABORT_BEFORE_REWIND)
        if isinstance(cause, ProducerUnusable):
            self._note_fence(cause, units)
            self._rebuild("fenced" if cause.fenced else "unknown_outcome" if unknown else "unusable")
        elif had_transaction and self._exactly_once and admission.producer is not None:
            try:
                admission.producer.abort(Deadline.after(SAFE_SHARE * self._timeout))
            except (ProducerUnusable, UnitAborted) as failure:
                self._note_fence(failure, units)
                self._rebuild(type(failure).__name__)
            else:
                if admission.producer.suspect:
                    self._rebuild("coordinator_trouble")
        elif had_transaction and not self._exactly_once:
            self._rebuild("delivery_failed")
        self._listener.units_dropped(cause, units, unknown=unknown)
        reached(FaultPoint.ABORT_AFTER_REWIND)
        admission.resume()

    def _note_fence(self, failure: Exception, units: Sequence[UnitOfWork]) -> None:
        """Raise RivalWorker at the fifth fence within a minute that no timeout of our own explains."""
        now = self._clock.monotonic()
        if not isinstance(failure, ProducerUnusable) or not failure.fenced:
            return
        if any(unit.opened_at is not None and now - unit.opened_at >= self._timeout for unit in units):
            return
        self._fenced_at.append(now)
        if len(self._fenced_at) == RIVAL_FENCES and now - self._fenced_at[0] < RIVAL_WINDOW:
            raise RivalWorker(
                f"producer {self._id} fenced {RIVAL_FENCES} times within a minute: another live worker has this worker id; "
                f"give each worker its own STREAMAPP_WORKER_ID ({failure})"
            ) from failure

    def _rebuild(self, reason: str) -> None:
        """Replace the producer by one with the same transactional.id: it waits out and fences whatever the old one left."""
        admission = self._admission
        old, admission.producer = admission.producer, None
        if old is not None:
            old.close()
        reached(FaultPoint.IN_PRODUCER_REBUILD)
        self.rebuilds += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        wait = 0.1
        while not self._stopping:
            try:
                admission.producer = self._new_producer()
            except (BrokerUnreachable, ProducerUnusable, UnitAborted) as failure:
                log.warning("no new producer yet, trying again in %.1f s: %s", wait, failure)
                with admission.lock:
                    if not self._stopping:
                        admission.changed.wait(wait)
                wait = min(5.0, wait * 2)
            else:
                log_event(log, logging.WARNING, Event.PRODUCER_REBUILT, f"new producer under the same id: {reason}", cause=reason)
                return


def _answer(asked: Sequence[Future[bool]], *, durable: bool) -> None:
    for future in asked:
        future.set_result(durable)


__all__ = ["TransactionListener", "TransactionThread"]
