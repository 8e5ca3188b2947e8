"""Stubs of faults: enough of Kafka to run the real engine with its real threads, and to let any one call fail.

They decide by themselves what is assigned and when, and know no coordinator: what Kafka means is in streamapp.testing.memory_kafka,
which passes the conformance tests. Each fake is strict where Kafka is: a producer is fenced by its successor, records outside a transaction are refused, offsets
need the group's present generation. What the engine must never do is written into `FakeBroker.violations`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

from streamapp.clock import Deadline
from streamapp.errors import CommitRefused, OutcomeUnknown, ProducerFenced, UnitAborted
from streamapp.ports import CommittedOffset, Fetched, GroupMetadata, SourceListener, Store
from streamapp.records import Headers, Outgoing, Partition, RawRecord
from streamapp.state.memory import MemoryStore
from streamapp.testing.memory_kafka import MemoryRecord

T = TypeVar("T")


def record_at(
    place: Partition, offset: int, value: bytes | None, key: bytes | None, timestamp: int, headers: Headers | None
) -> MemoryRecord:
    """Return a record as a log has it; timestamp 0 = none."""
    return MemoryRecord(place, offset, key, value, (1, timestamp) if timestamp else (0, -1), headers)


@dataclass
class Fault:
    """What one call of a producer does instead of its work."""

    error: Exception | None = None
    done: bool = False
    """Whether the broker does the work all the same (a lost answer)."""
    wait: Callable[[], object] = lambda: None
    """Called before: to be late, or to hold the call until a test lets it go."""


@dataclass
class Transaction:
    """What one transaction held, as it ended."""

    records: list[Outgoing]
    offsets: dict[Partition, int]
    committed: bool


@dataclass
class FakeBroker:
    """Topics, the group's offsets, and the transactions that ended. Thread-safe."""

    logs: dict[Partition, list[MemoryRecord | None]] = field(default_factory=dict)
    """None is an offset without a record, such as a commit marker."""
    starts: dict[Partition, int] = field(default_factory=dict)
    """The first offset that is still there."""
    offsets: dict[Partition, tuple[int, str]] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    transactions: list[Transaction] = field(default_factory=list)
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    """By call: new begin produce flush send_offsets commit abort committed restore apply."""
    violations: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    room: int | None = None
    """How many records a producer's local queue takes before `produce` says that it is full; None = any number."""
    largest: int | None = None
    """Bytes of the largest value that a flush delivers."""
    unwritable: set[str] = field(default_factory=set)
    """Topics whose records no flush delivers."""
    producers: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)

    # --- what tests do

    def feed(
        self,
        topic: str,
        number: int,
        *values: bytes | None,
        key: bytes | None = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        """Append records to a source partition."""
        place = Partition(topic, number)
        with self.changed:
            log = self.logs.setdefault(place, [])
            for value in values:
                log.append(record_at(place, len(log), value, key, timestamp, headers))
            self.changed.notify_all()

    def marker(self, topic: str, number: int) -> None:
        """Append an offset that no reader sees."""
        with self.changed:
            self.logs.setdefault(Partition(topic, number), []).append(None)
            self.changed.notify_all()

    def fail(self, call: str, *errors: Exception | Fault) -> None:
        """Let the next calls of this kind fail, one after the other."""
        with self.lock:
            queue = self.faults.setdefault(call, deque())
            queue.extend(each if isinstance(each, Fault) else Fault(each) for each in errors)

    def values(self, topic: str, number: int | None = None) -> list[bytes | None]:
        """Return what a read_committed reader sees of an output topic, in order."""
        with self.lock:
            return [
                record[1]
                for transaction in self.transactions
                if transaction.committed
                for record in transaction.records
                if record[0] == topic and number in (None, record[3])
            ]

    def committed(self, topic: str, number: int) -> int | None:
        with self.lock:
            found = self.offsets.get(Partition(topic, number))
        return None if found is None else found[0]

    def end(self, place: Partition) -> int:
        return len(self.logs.get(place, []))

    # --- what fakes do

    def strike(self, call: str) -> Fault | None:
        with self.lock:
            self.calls.append(call)
            queue = self.faults.get(call)
            fault = queue.popleft() if queue else None
        if fault is not None:
            fault.wait()
        return fault

    def violated(self, what: str) -> None:
        with self.lock:
            self.violations.append(what)


class FakeProducer:
    """A TransactionalProducer (`transactional`), or an idempotent one whose records count when they are flushed."""

    suspect = False
    resumed = False

    def __init__(self, broker: FakeBroker, *, transactional: bool = True) -> None:
        fault = broker.strike("new")
        if fault is not None and fault.error is not None:
            raise fault.error
        self._broker = broker
        self._transactional = transactional
        self._open = False
        self._closed = False
        self._asked = False
        self._records: list[Outgoing] = []
        self._told: list[tuple[Callable[[int], None], int]] = []
        self._queued = 0
        self._offsets: dict[Partition, tuple[int, str]] = {}
        with broker.lock:
            if transactional:
                broker.producers += 1
            self._epoch = broker.producers

    def begin(self) -> None:
        self._call("begin")
        if self._open and self._transactional:
            self._broker.violated("begin inside a transaction")
        self._open = True

    def produce(self, record: Outgoing, on_delivery: Callable[[int], None] | None = None) -> bool:
        self._call("produce")
        if self._transactional and not self._open:
            self._broker.violated(f"produce to {record[0]} outside a transaction")
        if self._broker.room is not None and self._queued >= self._broker.room:
            return False
        self._queued += 1
        self._records.append(record)
        if on_delivery is not None:
            with self._broker.lock:
                earlier = self._broker.end(Partition(record[0], record[3]))
            behind = sum(1 for each in self._records if (each[0], each[3]) == (record[0], record[3]))
            self._told.append((on_delivery, earlier + behind - 1))
        return True

    def produce_changelog(
        self, partition: Partition, writes: Mapping[bytes, bytes | None], on_end: Callable[[int], None], deadline: Deadline
    ) -> None:
        for position, (key, value) in enumerate(writes.items()):
            told = on_end if position == len(writes) - 1 else None
            while not self.produce((partition.topic, value, key, partition.number, 0, []), told):
                assert not deadline.passed
                self.wait(0.001)

    def serve(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self._queued = 0
        time.sleep(min(seconds, 0.001))

    def flush(self, deadline: Deadline) -> None:
        self._call("flush")
        largest = self._broker.largest
        if largest is not None and any(record[1] is not None and len(record[1]) > largest for record in self._records):
            from streamapp.errors import DeliveryFailed

            raise DeliveryFailed("message size too large", too_large=True)
        if refused := self._broker.unwritable & {record[0] for record in self._records}:
            from streamapp.errors import DeliveryFailed

            raise DeliveryFailed(f"{min(refused)}: TOPIC_AUTHORIZATION_FAILED")
        self._queued = 0
        told, self._told = self._told, []
        for on_delivery, offset in told:
            on_delivery(offset)
        if not self._transactional:
            self._end(committed=True)

    def send_offsets(self, offsets: Mapping[Partition, tuple[int, str]], group: GroupMetadata, deadline: Deadline) -> None:
        fault = self._call("send_offsets", doing=True)
        if self._queued:
            self._broker.violated("send_offsets before flush")
        if not offsets:
            self._broker.violated("send_offsets of nothing")
        source, generation = cast("tuple[str, int]", group)
        with self._broker.lock:
            if self._broker.generations[source] != generation:
                raise CommitRefused("illegal generation")
        self._offsets.update(offsets)
        if fault is not None and fault.error is not None:
            raise fault.error

    def commit(self, deadline: Deadline) -> None:
        fault = self._strike("commit")
        self._asked = True
        if not self._offsets:
            self._broker.violated("commit without offsets")
        if fault is None or fault.done or fault.error is None:
            self._check()
            self._end(committed=True)
        if fault is not None and fault.error is not None:
            if fault.done and not isinstance(fault.error, OutcomeUnknown):
                raise AssertionError("a commit that was done cannot be refused for certain")
            raise fault.error

    def abort(self, deadline: Deadline) -> None:
        if self._asked:
            self._broker.violated("abort after commit was called")
        self._call("abort")
        if self._open:
            self._end(committed=False)

    def close(self) -> None:
        self._closed = True
        if self._open and self._transactional:
            # Only the successor's init (or the timeout) ends it at the broker; nobody commits it any more.
            self._end(committed=False)

    # --- inside

    def _strike(self, call: str) -> Fault | None:
        if self._closed:
            raise UnitAborted("the producer is being replaced")
        return self._broker.strike(call)

    def _check(self) -> None:
        with self._broker.lock:
            if self._transactional and self._broker.producers != self._epoch:
                raise ProducerFenced

    def _call(self, call: str, *, doing: bool = False) -> Fault | None:
        fault = self._strike(call)
        self._check()
        if fault is not None and fault.error is not None and not (doing and fault.done):
            raise fault.error
        return fault

    def _end(self, *, committed: bool) -> None:
        broker = self._broker
        with broker.changed:
            broker.transactions.append(
                Transaction(self._records, {place: offset for place, (offset, _) in self._offsets.items()}, committed)
            )
            if committed:
                self._commit_offsets()
                for topic, value, key, number, timestamp, headers in self._records:
                    if number >= 0:
                        place = Partition(topic, number)
                        log = broker.logs.setdefault(place, [])
                        log.append(record_at(place, len(log), value, key, timestamp, headers))
            broker.changed.notify_all()
        self._records = []
        self._offsets = {}
        self._told = []
        self._open = False
        self._asked = False

    def _commit_offsets(self) -> None:
        for place, (offset, metadata) in self._offsets.items():
            earlier = self._broker.offsets.get(place)
            if earlier is not None and offset < earlier[0]:
                self._broker.violated(f"{place}: offset set back from {earlier[0]} to {offset}")
            self._broker.offsets[place] = (offset, metadata)


class FakeSource:
    """A PartitionSource over the broker's logs, with a poll thread of its own."""

    def __init__(
        self,
        broker: FakeBroker,
        name: str,
        listener: SourceListener,
        given: Sequence[Partition],
        *,
        batch: int = 50,
        bound: int = 2000,
    ) -> None:
        self.name = name
        self.assigned: set[Partition] = set()
        self._broker = broker
        self._listener = listener
        self._given = list(given)
        self._batch = batch
        self._bound = bound
        self._positions: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        self._numbers: dict[Partition, int] = {}
        self._next_number = 0
        self._requests: deque[tuple[bool, Callable[[], None]]] = deque()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"poll {name}", daemon=True)
        self.frozen = False
        """Whether the thread takes no request and polls nothing."""
        self.revoke_budget = 5.0
        """Seconds that a revoke waits for the engine."""
        with broker.lock:
            broker.generations[name] = 1

    # --- the port

    def start(self) -> None:
        self._thread.start()
        if self._given is not None:
            self.assign(*self._given)

    def group_metadata(self) -> Future[GroupMetadata]:
        return self._post(lambda: (self.name, self._broker.generations[self.name]), quick=True)

    def open(self, positions: Mapping[Partition, int]) -> Future[dict[Partition, int]]:
        return self._post(lambda: self._open_now(dict(positions)))

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> Future[None]:
        def commit() -> None:
            fault = self._broker.strike("source commit")
            if fault is not None and fault.error is not None:
                raise fault.error
            with self._broker.changed:
                self._broker.offsets.update(offsets)
                self._broker.changed.notify_all()

        return self._post(commit, quick=True)

    def stop(self, deadline: Deadline) -> None:
        if self._thread.ident is None:
            return
        if not self._ending:
            self._post(lambda: self._revoke_now(sorted(self.assigned)))
        with self._broker.changed:
            self._ending = True
            self._broker.changed.notify_all()
        self._thread.join(deadline.left)

    # --- what tests do: the group's decisions

    def assign(self, *places: Partition) -> Future[None]:
        return self._post(lambda: self._assign_now(list(places)))

    def revoke(self, *places: Partition) -> Future[None]:
        return self._post(lambda: self._revoke_now(list(places)))

    def lose(self, *places: Partition) -> Future[None]:
        return self._post(lambda: self._lose_now(list(places)))

    def out_of_range(self, place: Partition) -> Future[None]:
        return self._post(lambda: self._listener.out_of_range(self, place))

    # --- the thread

    def _run(self) -> None:
        while True:
            self._answer()
            with self._broker.changed:
                if self._ending and not self._requests:
                    return
                batches = [] if self.frozen else self._fetch()
                if not batches and not self._requests:
                    self._broker.changed.wait(0.02)
                    continue
            if batches:
                self._listener.fetched(self, batches)

    def _fetch(self) -> list[Fetched]:
        batches = []
        for place, position in self._positions.items():
            log = self._broker.logs.get(place, [])
            if self._listener.crowded(place) >= self._bound:
                continue
            upto = min(len(log), position + self._batch)
            records: list[RawRecord] = [record for record in log[position:upto] if record is not None]
            end = len(log) if upto == len(log) and self._ends.get(place) != upto else None
            if not records and end is None:
                self._positions[place] = upto
                continue
            if end is not None:
                self._ends[place] = end
            self._positions[place] = upto
            batches.append(Fetched(place, self._numbers[place], records, end))
        return batches

    def _answer(self, *, quick_only: bool = False) -> None:
        while True:
            with self._broker.lock:
                if self.frozen and not self._ending:
                    return
                found = next((each for each in self._requests if each[0] or not quick_only), None)
                if found is None:
                    return
                self._requests.remove(found)
            found[1]()

    def _post(self, work: Callable[[], T], *, quick: bool = False) -> Future[T]:
        answer: Future[T] = Future()

        def do() -> None:
            try:
                answer.set_result(work())
            except Exception as failure:
                answer.set_exception(failure)

        with self._broker.changed:
            self._requests.append((quick, do))
            self._broker.changed.notify_all()
        return answer

    def _number(self, places: Sequence[Partition]) -> dict[Partition, int]:
        numbers = {}
        for place in places:
            self._next_number += 1
            numbers[place] = self._numbers[place] = self._next_number
        return numbers

    def _open_now(self, positions: dict[Partition, int]) -> dict[Partition, int]:
        kept = {place: offset for place, offset in positions.items() if place in self.assigned}
        numbers = self._number(list(kept))
        with self._broker.lock:
            for place, offset in kept.items():
                self._positions[place] = offset
                self._ends.pop(place, None)
        self._listener.numbered(self, numbers)
        return numbers

    def _assign_now(self, places: list[Partition]) -> None:
        with self._broker.lock:
            self._broker.generations[self.name] += 1
        self.assigned.update(places)
        self._listener.assigned(self, self._number(places))

    def _revoke_now(self, places: list[Partition]) -> None:
        done = self._listener.revoking(self, places)
        deadline = Deadline.after(self.revoke_budget)
        while not done.done() and not deadline.passed:
            self._answer(quick_only=True)
            time.sleep(0.0005)
        self._forget(places)
        self._listener.revoked(self, places)

    def _lose_now(self, places: list[Partition]) -> None:
        self._forget(places)
        self._listener.lost(self, places)

    def _forget(self, places: list[Partition]) -> None:
        with self._broker.lock:
            self._broker.generations[self.name] += 1
            for place in places:
                self.assigned.discard(place)
                self._positions.pop(place, None)
                self._numbers.pop(place, None)
                self._ends.pop(place, None)

    def __str__(self) -> str:
        return self.name


class FakeOffsets:
    """An OffsetReader."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    def committed(self, partitions: Sequence[Partition], deadline: Deadline) -> dict[Partition, CommittedOffset]:
        fault = self._broker.strike("committed")
        if fault is not None and fault.error is not None:
            raise fault.error
        with self._broker.lock:
            found = {place: self._broker.offsets.get(place) for place in partitions}
        return {place: CommittedOffset(None, "") if at is None else CommittedOffset(*at) for place, at in found.items()}

    def bounds(self, partition: Partition, deadline: Deadline) -> tuple[int, int]:
        with self._broker.lock:
            return self._broker.starts.get(partition, 0), self._broker.end(partition)

    def last_stable(self, partition: Partition, deadline: Deadline) -> int:
        return self.bounds(partition, deadline)[1]

    def close(self) -> None:
        pass


class FakeStore(MemoryStore):
    """A memory store whose disk can refuse. It outlives its opening, as a directory would."""

    def __init__(self, broker: FakeBroker, name: str) -> None:
        super().__init__(name)
        self._broker = broker
        self.broken = False

    @property
    def usable(self) -> bool:
        return super().usable and not self.broken

    def get(self, key: bytes) -> bytes | None:
        fault = self._broker.strike("get") if "get" in self._broker.faults else None
        if fault is not None and fault.error is not None:
            raise fault.error
        return super().get(key)

    def apply(
        self, writes: Mapping[bytes, bytes | None], changelog_offset: int | None, *, current_at: float | None = None
    ) -> None:
        fault = self._broker.strike("apply")
        if fault is not None and fault.error is not None:
            self.broken = True
            raise fault.error
        super().apply(writes, changelog_offset, current_at=current_at)


class FakeRestore:
    """A TableRestore: a store per table partition, brought up to the committed end of its changelog."""

    def __init__(self, broker: FakeBroker, changelogs: Mapping[str, str]) -> None:
        self.stores: dict[tuple[str, int], FakeStore] = {}
        self.begun: list[tuple[str, int]] = []
        self.cancelled: list[Future[Store]] = []
        self.hold = threading.Event()
        """Cleared by a test that wants restores to wait."""
        self.hold.set()
        self._broker = broker
        self._changelogs = changelogs
        self._pool = ThreadPoolExecutor(2, "restore")

    def begin(self, table: str, number: int) -> Future[Store]:
        self.begun.append((table, number))
        return self._pool.submit(self._restore, table, number)

    def cancel(self, restore: Future[Store]) -> None:
        self.cancelled.append(restore)

    def close(self) -> None:
        self.hold.set()
        self._pool.shutdown()

    def _restore(self, table: str, number: int) -> Store:
        self.hold.wait()
        fault = self._broker.strike("restore")
        if fault is not None and fault.error is not None:
            raise fault.error
        store = self.stores.get((table, number))
        if store is None or not store.usable:
            store = self.stores[table, number] = FakeStore(self._broker, f"{table}/{number}")
        place = Partition(self._changelogs[table], number)
        with self._broker.lock:
            tail = [record for record in self._broker.logs.get(place, []) if record is not None]
        tail = tail[store.changelog_offset or 0 :]
        writes = {record.key() or b"": record.value() for record in tail}
        if tail:
            MemoryStore.apply(store, writes, tail[-1].offset() + 1)
        return store
