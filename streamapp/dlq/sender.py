"""The transactional producer of a replay job: each call is one transaction, whatever becomes of the producer in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from streamapp.clock import Deadline
from streamapp.dlq.guards import GuardRefused
from streamapp.errors import BrokerUnreachable, DeliveryFailed, OutcomeUnknown, ProducerUnusable, UnitAborted
from streamapp.faults import FaultPoint, reached
from streamapp.ports import TransactionalProducer
from streamapp.records import Outgoing

TAKEN_OVER: Final = "another job replays this dead-letter topic now; this one has stopped, and what it sent stands"
FULL: Final = 0.1
"""Seconds between two tries to hand over a record while the local queue is full."""


class JobsProducer(TransactionalProducer, Protocol):
    """A TransactionalProducer that can take its id over."""

    def init_transactions(self, deadline: Deadline) -> None:
        """End what a predecessor left open, and fence it. Raises BrokerUnreachable, NotAllowed, ProducerUnusable."""
        ...


class Superseded(GuardRefused):
    """Another job has taken the dead-letter topic over."""


class IsOurs(Protocol):
    """Tells whether the lock is this job's."""

    def __call__(self, *, fenced: bool, stable: bool) -> bool:
        """`fenced`: the broker says that somebody took the id. `stable`: by the rows that can be seen now, without a wait."""
        ...


class Sender:
    """One thread. `open` it before the first `send`; `close` it."""

    def __init__(self, make: Callable[[], JobsProducer], *, timeout: float, is_ours: IsOurs) -> None:
        self._make = make
        self._timeout = timeout
        self._is_ours = is_ours
        self._producer: JobsProducer | None = None

    def open(self) -> None:
        """Take the transactional id over, as its only owner from now on. Raises BrokerUnreachable, NotAllowed."""
        self.close()
        deadline = Deadline.after(self._timeout)
        while True:
            producer = self._make()
            try:
                producer.init_transactions(deadline)
            except ProducerUnusable as failure:
                producer.close()
                if deadline.passed:
                    raise BrokerUnreachable(str(failure)) from failure
                continue
            except BaseException:
                producer.close()
                raise
            self._producer = producer
            return

    def send(self, records: Sequence[Outgoing], *, arrived: Callable[[], bool]) -> None:
        """Make all records visible together, once. `arrived` is asked where a commit's outcome is unknown: whether they are there.

        Raises DeliveryFailed where `for_good`: one of them can never be sent, and none was. Raises Superseded, BrokerUnreachable.
        """
        deadline = Deadline.after(self._timeout)
        while True:
            producer = self._producer or self._again()
            try:
                self._transaction(producer, records)
            except (UnitAborted, ProducerUnusable) as failure:
                # A new producer ends the old one's transaction whatever state it is in, and fences requests still under way.
                self.close()
                if isinstance(failure, DeliveryFailed) and failure.for_good:
                    raise
                if isinstance(failure, ProducerUnusable) and failure.fenced and not self._is_ours(fenced=True, stable=True):
                    raise Superseded(TAKEN_OVER) from failure
                if isinstance(failure, OutcomeUnknown):
                    self._again()
                    if arrived():
                        return
                if deadline.passed:
                    raise BrokerUnreachable(f"{len(records)} records could not be sent: {failure}") from failure
                continue
            except BaseException:
                self.close()  # interrupted: what is open is ended by the next one, or by the broker
                raise
            if producer.suspect:
                self.close()
            return

    def _again(self) -> JobsProducer:
        """Return a new producer, unless the lock is another's by now: taking the id back would stop that job.

        Looked at twice: before, without waiting, as a transaction of our own may still be open; and after, when it is not.
        """
        if not self._is_ours(fenced=False, stable=True):
            raise Superseded(TAKEN_OVER)
        self.open()
        if not self._is_ours(fenced=False, stable=False):
            self.close()
            raise Superseded(TAKEN_OVER)  # it was fenced just now, finds its own lock, and goes on
        assert self._producer is not None
        return self._producer

    def _transaction(self, producer: JobsProducer, records: Sequence[Outgoing]) -> None:
        deadline = Deadline.after(self._timeout)
        producer.begin()
        for record in records:
            while not producer.produce(record, _reported):
                if deadline.passed:
                    raise UnitAborted("the producer's queue stayed full")
                producer.wait(FULL)
        producer.flush(deadline)
        reached(FaultPoint.REPLAY_BEFORE_COMMIT)
        producer.commit(deadline)
        reached(FaultPoint.REPLAY_AFTER_COMMIT)

    def close(self) -> None:
        """Drop the producer. May be called twice."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()


def _reported(offset: int) -> None:
    """With a report asked for, flush raises what the broker refused; without, only the commit would, as one more unknown outcome."""


__all__ = ["JobsProducer", "Sender", "Superseded"]
