"""A TransactionalProducer on the memory broker: the states and refusals of librdkafka's, as the port tells them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

from streamapp.clock import Deadline
from streamapp.errors import (
    BrokerUnreachable,
    CommitRefused,
    DeadlinePassed,
    DeliveryFailed,
    OutcomeUnknown,
    ProducerFenced,
    ProducerUnusable,
    StreamAppError,
    UnitAborted,
)
from streamapp.pipeline.partitioner import partition_of
from streamapp.ports import GroupMetadata
from streamapp.records import ANY_PARTITION, Headers, Outgoing, Partition
from streamapp.testing.memory_kafka.group import MemoryGroupMetadata
from streamapp.testing.memory_kafka.host import Call, Fault, MemoryHost
from streamapp.testing.memory_kafka.refusals import Code, Refused
from streamapp.testing.memory_kafka.transactions import ProducerId


class MemoryProducer:
    """A producer whose records are in one open transaction (`transactional_id`), or in none."""

    def __init__(
        self,
        host: MemoryHost,
        transactional_id: str | None = None,
        *,
        transaction_timeout: float = 60.0,
        queue_bound: int | None = None,
    ) -> None:
        """`queue_bound`: how many records its local queue takes before `produce` says that it is full; None: any number."""
        self._host = host
        self._broker = host.broker
        self._name = transactional_id
        self._timeout = transaction_timeout
        self._bound = queue_bound
        self._id: ProducerId | None = None
        self._queue: deque[tuple[Partition, bytes | None, bytes | None, int, Headers, Callable[[int], None] | None]] = deque()
        self._delivering = threading.Lock()
        self._in_transaction = False
        self._touched = False
        """Whether the broker knows of the transaction: one that it never heard of needs no end."""
        self._failed: StreamAppError | None = None
        """Why the transaction can only be aborted, or (ProducerUnusable) the producer only be closed."""
        self._gaps: set[Partition] = set()
        """Where a refused batch has used up a sequence number that the broker never saw: the next one there is refused, too."""
        self._is_heard = False
        """Whether the record that failed asked for a report."""
        self._is_late = False
        self._closed = False
        self._keyless = 0

    # --- life

    def init_transactions(self, deadline: Deadline) -> None:
        """Take over the transactional.id: ends what a dead predecessor left open and fences it. Raises BrokerUnreachable."""
        name = cast("str", self._name)

        def init() -> None:
            while True:
                try:
                    self._id = self._broker.init_producer(name, self._timeout)
                except Refused as refused:
                    if not self._moment(deadline):
                        raise BrokerUnreachable(f"init_transactions: {refused}") from refused
                else:
                    return

        self._host.call(Call.INIT, init)

    def close(self) -> None:
        """Destroy it; what it still holds is thrown away, and its open transaction is left to its successor."""
        self._closed = True
        self._queue.clear()

    @property
    def suspect(self) -> bool:
        return self._is_late

    @property
    def resumed(self) -> bool:
        return False

    # --- records

    def begin(self) -> None:
        """Open the transaction. Local."""
        self._check_open()
        if self._name is None:
            return
        self._host.call(Call.BEGIN, self._begin)

    def _begin(self) -> None:
        if isinstance(self._failed, ProducerUnusable):
            raise self._failed
        if self._id is None or self._in_transaction:
            raise ProducerUnusable("begin_transaction: not now")
        self._in_transaction, self._touched, self._failed, self._is_late = True, False, None, False

    def produce(self, record: Outgoing, on_delivery: Callable[[int], None] | None = None) -> bool:
        """Hand over one record; False when the local queue is full. Raises DeliveryFailed, ProducerUnusable, CommitRefused."""
        self._check_open()
        topic, value, key, number, timestamp, headers = record
        if self._failed is not None:
            raise self._failed
        if self._name is not None and not self._in_transaction:
            raise ProducerUnusable(f"produce to {topic}: in no transaction")
        if self._bound is not None and len(self._queue) >= self._bound:
            return False

        def keep() -> None:
            self._queue.append((self._place(topic, number, key), key, value, timestamp, headers, on_delivery))

        self._host.call(Call.PRODUCE, keep)
        return True

    def produce_changelog(
        self, partition: Partition, writes: Mapping[bytes, bytes | None], on_end: Callable[[int], None], deadline: Deadline
    ) -> None:
        """Hand over every write, in order. Waits while the local queue is full. Raises DeliveryFailed, ProducerUnusable, DeadlinePassed."""
        last = len(writes) - 1
        for at, (key, value) in enumerate(writes.items()):
            while not self.produce((partition.topic, value, key, partition.number, 0, []), on_end if at == last else None):
                if deadline.passed:
                    raise DeadlinePassed(f"{partition.topic}: the producer's queue stayed full for the commit's time")
                self.wait(deadline.slice(0.1))

    def serve(self) -> None:
        """Deliver what waits."""
        self.wait(0)

    def wait(self, seconds: float) -> None:
        """Deliver what waits, for at most `seconds`; what fails is raised by `flush`."""
        # One thread delivers at a time, and whoever only serves (the event loop) does not wait for it.
        if self._closed or not self._delivering.acquire(blocking=False):
            return
        try:
            self._deliver(Deadline.after(seconds))
        except StreamAppError as failure:
            self._fail(failure)
        finally:
            self._delivering.release()

    def flush(self, deadline: Deadline) -> None:
        """Return when every record is delivered. Raises DeliveryFailed, CommitRefused, ProducerUnusable, DeadlinePassed."""
        self._check_open()

        def flush() -> None:
            with self._delivering:
                if self._failed is None:
                    try:
                        self._deliver(deadline)
                    except StreamAppError as failure:
                        self._fail(failure)
            failed, is_heard = self._failed, self._is_heard
            self._is_heard = False
            if self._name is None:
                self._failed = None  # it is told once: the next records have their own luck
            # librdkafka's flush says nothing of a record that asked for no report; whatever ends the transaction then does.
            if failed is not None and (is_heard or self._name is None or isinstance(failed, ProducerUnusable)):
                raise failed
            if self._queue:
                raise DeadlinePassed(f"{len(self._queue)} records were not delivered in time")

        self._struck(Call.FLUSH, flush)

    # --- the transaction's end

    def send_offsets(self, offsets: Mapping[Partition, tuple[int, str]], group: GroupMetadata, deadline: Deadline) -> None:
        """Add offsets to the transaction. Raises CommitRefused, ProducerUnusable."""
        self._check_ready("send_offsets")
        name, producer, member = cast("str", self._name), cast("ProducerId", self._id), cast("MemoryGroupMetadata", group)
        rows = dict(offsets)

        def send() -> None:
            self._asked(lambda: self._broker.add_offsets(name, producer, member, rows), deadline)
            self._touched = True

        self._late(Call.SEND_OFFSETS, send, lambda: self._broker.txn_offset_commit(name, producer, member, rows))

    def commit(self, deadline: Deadline) -> None:
        """Commit. Raises OutcomeUnknown: whatever failed, only the broker knows what became of it."""

        def commit() -> None:
            self._check_ready("commit_transaction")
            with self._delivering:
                self._deliver(deadline)
            self._end(commit=True, deadline=deadline)

        try:
            self._check_open()
            self._late(Call.COMMIT, commit, self._end_again(commit=True))
        except OutcomeUnknown:
            raise
        except ProducerUnusable as failure:
            raise OutcomeUnknown(f"commit_transaction: {failure}", fenced=failure.fenced) from failure
        except StreamAppError as failure:
            raise OutcomeUnknown(f"commit_transaction: {failure}") from failure

    def abort(self, deadline: Deadline) -> None:
        """Abort. Raises ProducerUnusable when only a new producer can go on."""
        if not self._in_transaction or self._name is None:
            return
        self._check_open()

        def abort() -> None:
            if isinstance(self._failed, ProducerUnusable):
                raise OutcomeUnknown(f"abort_transaction: {self._failed}", fenced=self._failed.fenced)
            with self._delivering:
                self._queue.clear()
            self._end(commit=False, deadline=deadline)

        try:
            self._late(Call.ABORT, abort, self._end_again(commit=False))
        except UnitAborted as failure:
            raise OutcomeUnknown(f"abort_transaction: {failure}") from failure

    # --- inside

    def _end(self, *, commit: bool, deadline: Deadline) -> None:
        if self._touched:
            again = self._end_again(commit=commit)
            self._asked(again, deadline)
        self._in_transaction = False
        self._failed = None

    def _end_again(self, *, commit: bool) -> Callable[[], None]:
        name, producer = self._name or "", self._id or ProducerId(-1, -1)
        return lambda: self._broker.end_transaction(name, producer, commit=commit)

    def _late(self, call: Call, work: Callable[[], None], copy: Callable[[], None]) -> None:
        fault = self._host.strike(call)
        if fault is not None and fault.is_late:
            self._is_late = True
            self._host.strays.append(copy)
        self._struck(call, work, fault or Fault())

    def _struck(self, call: Call, work: Callable[[], None], fault: Fault | None = None) -> None:
        """Do `work` as its fault lets it; an error that was injected leaves the producer as a real one would."""
        try:
            self._host.call(call, work, fault=fault)
        except StreamAppError as failure:
            if self._name is not None:
                self._fail(failure)
            raise

    def _deliver(self, deadline: Deadline) -> None:
        while self._queue:
            record = self._queue.popleft()
            where, key, value, timestamp, headers, told = record
            fault = self._host.strike(Call.DELIVER)

            def send(
                where: Partition = where, content: tuple[object, ...] = (key, value, timestamp, headers or None)
            ) -> int | None:
                return self._sent(where, content, deadline)

            self._is_heard = told is not None
            offset = self._host.call(Call.DELIVER, send, fault=fault or Fault())
            self._is_heard = False
            if offset is None:  # not in time
                self._queue.appendleft(record)
                return
            if told is not None:
                told(offset)

    def _sent(self, where: Partition, record: tuple[object, ...], deadline: Deadline) -> int | None:
        if self._name is None:
            key, value, timestamp, headers = record
            return self._alone(where, cast("bytes", key), cast("bytes", value), cast("int", timestamp), cast("Headers", headers))
        name, producer = self._name, cast("ProducerId", self._id)
        found: list[int] = []
        if where in self._gaps:
            raise CommitRefused(f"{where}: OUT_OF_ORDER_SEQUENCE_NUMBER")
        try:
            self._asked(lambda: found.append(self._broker.produce_in(name, producer, where, record)), deadline)
        except DeadlinePassed:
            return None
        except DeliveryFailed:
            self._gaps.add(where)
            raise
        self._touched = True
        return found[0]

    def _alone(self, where: Partition, key: bytes, value: bytes, timestamp: int, headers: Headers) -> int:
        with self._broker.lock:
            try:
                self._broker.check_size(where, key, value)
                offset = self._broker.log(where).high_watermark
                self._broker.feed(*where, value, key=key, timestamp=timestamp, headers=headers)
            except Refused as refused:
                raise _translated(refused) from refused
            return offset

    def _asked(self, request: Callable[[], None], deadline: Deadline) -> None:
        """Make a request, again while the markers of the last transaction are still to be written. Raises what the port says."""
        while True:
            try:
                request()
            except Refused as refused:
                if refused.code is not Code.CONCURRENT_TRANSACTIONS:
                    raise _translated(refused) from refused
                if not self._moment(deadline):
                    raise DeadlinePassed(str(refused)) from refused
            else:
                return

    def _moment(self, deadline: Deadline) -> bool:
        """Wait for the broker to change; False when the time is over."""
        self._host.check_alive()
        with self._broker.changed:
            self._broker.changed.wait(deadline.slice(0.02))
        return not deadline.passed

    def _fail(self, failure: StreamAppError) -> None:
        if isinstance(self._failed, ProducerUnusable) or isinstance(failure, DeadlinePassed):
            return
        self._failed = failure
        self._queue.clear()  # librdkafka purges what an abortable or fatal error leaves undelivered

    def _check_open(self) -> None:
        self._host.check_alive()
        if self._closed:
            raise UnitAborted("the producer is being replaced")

    def _check_ready(self, what: str) -> None:
        """Refuse an end of the transaction that something has spoilt already."""
        self._check_open()
        if self._failed is not None:
            raise self._failed
        if not self._in_transaction:
            raise ProducerUnusable(f"{what}: in no transaction")

    def _place(self, topic: str, number: int, key: bytes | None) -> Partition:
        if number != ANY_PARTITION:
            return Partition(topic, number)
        count = max(1, self._broker.partitions_of(topic))
        if key is None:
            self._keyless += 1
            return Partition(topic, self._keyless % count)
        return Partition(topic, partition_of(key, count))


def _translated(refused: Refused) -> StreamAppError:
    """Return our error for a refusal, by the flags that librdkafka gives it (DESIGN §4)."""
    match refused.code:
        case Code.INVALID_PRODUCER_EPOCH:
            return ProducerFenced(str(refused))
        case Code.INVALID_TXN_STATE:
            return ProducerUnusable(str(refused))
        case Code.MSG_SIZE_TOO_LARGE:
            return DeliveryFailed(str(refused), too_large=True)
        case Code.UNKNOWN_TOPIC_OR_PART:
            return DeliveryFailed(str(refused))
    return CommitRefused(str(refused))
