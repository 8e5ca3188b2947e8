"""Make a unit of work durable: the numbered steps, exactly once and at least once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from streamapp.clock import Clock, Deadline
from streamapp.errors import AssignmentLost, CommitRefused, DeadlinePassed, DeliveryFailed
from streamapp.faults import FaultPoint, reached
from streamapp.records import Outgoing, Partition

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.savepoint import Savepoint
    from streamapp.pipeline.unit_of_work import UnitOfWork
    from streamapp.ports import GroupMetadata, PartitionSource, TransactionalProducer

FRESH_WAIT = 0.005
"""Seconds that a commit waits for group metadata of after its flush; a poll that brings records answers within them."""


class Ownership(Protocol):
    """What the commit asks of the worker about its lanes."""

    def still_owned(self, unit: UnitOfWork) -> list[Lane]:
        """Return the lanes of `unit` that no longer have the number its work was admitted under. Takes the lock of the callbacks."""
        ...

    def superseded(self, unit: UnitOfWork, partition: TablePartition) -> bool:
        """Return whether a lane that wrote `partition` has begun anew since; its restore brings what `unit` wrote."""
        ...


class Commit:
    """One unit's way into Kafka. Runs on the transaction thread; `asked` tells whether EndTxn may have left."""

    def __init__(
        self, unit: UnitOfWork, producer: TransactionalProducer, ownership: Ownership, transaction_open: bool, clock: Clock
    ) -> None:
        self.unit = unit
        self.producer = producer
        self.asked = False
        self._ownership = ownership
        self._transaction_open = transaction_open
        self._clock = clock
        self._reached: list[tuple[str, float]] = []
        self._ends: dict[TablePartition, int] = {}

    def exactly_once(self, deadline: Deadline) -> None:
        """Make the unit durable, or raise the error that says what became of it.

        1 close    the next offset after each lane's last admitted record (the caller closed it, under the lock)
        2 produce  what the unit still holds: outputs, dead letters, the last value of each changed key for the changelog
        3 flush    every delivery report is in, and good
        4 offsets  group metadata read now, then: is every partition of the unit still ours? only then its offsets, none left out
        5 commit   the transaction
        The caller then applies the overlay (6), and tells listeners (7).

        Raises UnitAborted (nothing of it is or becomes visible, once aborted) or ProducerUnusable.
        """
        # 3 before 4, though commit also flushes: the next owner waits for these offsets, then restores up to the changelog's
        # end. A changelog record still queued here would be missing from its table.
        # 6 after 5: disk never holds what Kafka did not commit.
        early = {lane.source: lane.source.group_metadata() for lane in self.unit.lanes}
        if not self._transaction_open:
            self.producer.begin()
        reached(FaultPoint.BEFORE_PRODUCE)
        self._produce_outbox(deadline)
        self._produce_changelog(deadline)
        self._done("produce")
        self.producer.flush(deadline)
        self._done("flush")
        reached(FaultPoint.AFTER_FLUSH)
        group = self._group_metadata(early, deadline)
        lost = self._ownership.still_owned(self.unit)
        if lost:
            raise AssignmentLost("no longer ours: " + ", ".join(str(lane) for lane in lost))
        for source, metadata in group.items():
            self.producer.send_offsets(self._offsets_of(source), metadata, deadline)
        self._done("offsets")
        reached(FaultPoint.AFTER_SEND_OFFSETS)
        self.asked = True
        self.producer.commit(deadline)
        self._done("commit")
        reached(FaultPoint.AFTER_COMMIT)

    def at_least_once(self, deadline: Deadline) -> None:
        """The same work without a transaction: outputs, then changelog, then offsets, each durable before the next.

        A dedupe mark must not outlive its output: acknowledged without it, it would drop the record when it is read again.
        Raises UnitAborted: the records are read again; outputs may be seen twice.
        """
        reached(FaultPoint.BEFORE_PRODUCE)
        self._produce_outbox(deadline)
        self.producer.flush(deadline)
        reached(FaultPoint.AFTER_FLUSH)
        self._produce_changelog(deadline)
        self.producer.flush(deadline)
        self._done("changelog")
        reached(FaultPoint.AFTER_CHANGELOG)
        lost = self._ownership.still_owned(self.unit)
        if lost:
            raise AssignmentLost("no longer ours: " + ", ".join(str(lane) for lane in lost))
        for source in {lane.source for lane in self.unit.lanes}:
            try:
                source.commit(self._offsets_of(source)).result(timeout=deadline.left)
            except TimeoutError:
                raise DeadlinePassed(f"{source}: the offset commit was not answered in time") from None
        self._done("offsets")
        self.asked = True
        reached(FaultPoint.AFTER_COMMIT)

    def steps(self, began: float) -> Iterator[tuple[str, float]]:
        """Return the steps that are done and the seconds that each took."""
        for step, at in self._reached:
            yield step, at - began
            began = at

    def _done(self, step: str) -> None:
        self._reached.append((step, self._clock.monotonic()))

    def apply(self) -> dict[TablePartition, Exception]:
        """6 apply: each table partition's overlay and changelog offset in one write batch; return those that the disk refused.

        A refused one is committed all the same: its overlay stays readable, its line is closed and restored.
        """
        refused: dict[TablePartition, Exception] = {}
        for number, partition in enumerate(self.unit.dirty):
            if number == 1:
                reached(FaultPoint.MID_APPLY)
            if self._ownership.superseded(self.unit, partition):
                partition.applied()
                continue
            try:
                partition.store.apply(partition.committing, self._ends.get(partition))
            except Exception as failure:  # whatever the disk says: the transaction is committed and must not be rewound for it
                refused[partition] = failure
            else:
                partition.applied()
        self._done("apply")
        reached(FaultPoint.AFTER_APPLY)
        return refused

    @staticmethod
    def _group_metadata(
        early: Mapping[PartitionSource, Future[GroupMetadata]], deadline: Deadline
    ) -> dict[PartitionSource, GroupMetadata]:
        """Return each source's group metadata, as young as can be had without waiting for an idle poll.

        A generation that ends between here and the broker's look costs an abort. Measured, joins of a second worker at a commit
        every 0.05 s: asked before the flush only, 4 of 6 aborted a unit of the first.
        """
        fresh = {source: source.group_metadata() for source in early}
        ends = Deadline.after(deadline.slice(FRESH_WAIT))
        group: dict[PartitionSource, GroupMetadata] = {}
        for source, asked in early.items():
            try:
                group[source] = fresh[source].result(timeout=ends.left)
            except TimeoutError:
                try:
                    group[source] = asked.result(timeout=deadline.left)
                except TimeoutError:
                    raise DeadlinePassed(f"{source}: no group metadata within the commit's time") from None
        return group

    def _produce_outbox(self, deadline: Deadline) -> None:
        for outgoing in self.unit.outbox:
            self._produce(outgoing, None, deadline)
        self.unit.outbox.clear()
        for savepoint, outputs in self.unit.pieces:
            with self._blaming(savepoint):
                for outgoing in outputs:
                    self._produce(outgoing, _unheard, deadline)
                self.producer.flush(deadline)

    def _produce_changelog(self, deadline: Deadline) -> None:
        for partition in self.unit.dirty:
            ends = self._remember_end(partition)
            if not self.unit.sifted:
                self.producer.produce_changelog(partition.changelog, partition.committing, ends, deadline)
                continue
            for key, value in partition.committing.items():
                with self._blaming(self.unit.writers.get((partition, key))):
                    self.producer.produce_changelog(partition.changelog, {key: value}, ends, deadline)
                    self.producer.flush(deadline)

    @contextmanager
    def _blaming(self, savepoint: Savepoint | None) -> Iterator[None]:
        """What is refused inside is `savepoint`'s: it is alone on its way, as a broker refuses whole batches."""
        try:
            yield
        except DeliveryFailed:
            self.unit.culprit = savepoint
            raise

    def _produce(self, outgoing: Outgoing, told: Callable[[int], None] | None, deadline: Deadline) -> None:
        while not self.producer.produce(outgoing, told):
            # The local queue is full: wait for deliveries, at most the commit's time.
            if deadline.passed:
                raise DeadlinePassed("the producer's queue stayed full for the commit's time")
            self.producer.wait(deadline.slice(0.1))

    def _remember_end(self, partition: TablePartition) -> Callable[[int], None]:
        def told(offset: int) -> None:
            if offset >= 0:  # a good report may carry no offset: the store then keeps its old one, and replays a little more
                self._ends[partition] = offset + 1

        return told

    def _offsets_of(self, source: PartitionSource) -> Mapping[Partition, tuple[int, str]]:
        told = self.unit.counts
        offsets = {
            lane.partition: (upto, lane.metadata_at(upto, told.get(lane)))
            for lane, upto in self.unit.lanes.items()
            if lane.source is source
        }
        for partition, (offset, _) in offsets.items():
            if offset < 0:
                raise CommitRefused(f"{partition}: {offset} is no offset that may be committed")
        return offsets


def _unheard(offset: int) -> None:
    """Asked for only so that a failed report reaches the next flush."""


__all__ = ["Commit", "Ownership"]
