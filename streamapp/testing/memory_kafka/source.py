"""A PartitionSource on the memory broker: a member of a group with a poll thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar, cast

from streamapp.clock import Clock, Deadline, SystemClock
from streamapp.errors import CommitRefused, RivalWorker
from streamapp.events import Event, log_event
from streamapp.faults import FaultPoint, reached
from streamapp.ports import Fetched, GroupMetadata, SourceListener
from streamapp.records import Partition, RawRecord
from streamapp.testing.memory_kafka.group import MemoryGroupMetadata, Share
from streamapp.testing.memory_kafka.host import Call, MemoryHost, ProcessDied
from streamapp.testing.memory_kafka.log import OffsetOutOfRange
from streamapp.testing.memory_kafka.refusals import Code, Refused

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 500
"""Records of one partition in one turn."""

IDLE = 0.02
"""Longest wait of one turn, in seconds, when nothing happens."""

RIVAL_WINDOW = 60.0
"""A member that is fenced twice within these seconds has a real rival."""


class MemorySource:
    """One consumer. Static where it has an instance id; cooperative unless `is_eager`.

    `pace` is called before each turn of the poll thread (heartbeat, rebalance callbacks, fetch), and may wait: so a test decides when
    a member looks up. Requests are answered between two turns.
    """

    def __init__(
        self,
        host: MemoryHost,
        group: str,
        topics: Sequence[str],
        listener: SourceListener,
        *,
        instance: str | None = None,
        name: str | None = None,
        is_eager: bool = False,
        total_bound: int = 16_384,
        batch: int = BATCH,
        revoke_budget: float = 10.0,
        pace: Callable[[], object] = lambda: None,
        idle: float = IDLE,
        clock: Clock | None = None,
    ) -> None:
        self.name = name or "+".join(topics)
        self.topics = tuple(topics)
        self.turns = 0
        """Turns of the poll thread that are over."""
        self.is_giving_back = False
        """Whether the poll thread is inside `revoking`."""
        self._host = host
        self._broker = host.broker
        self._group_name = group
        self._listener = listener
        self._instance = instance
        self._is_eager = is_eager
        self._bound = total_bound
        self._batch = batch
        self._revoke_budget = revoke_budget
        self._pace = pace
        self._idle = idle
        self._clock = clock or SystemClock()
        self._member: str | None = None
        self._generation = -1
        self._joining = False
        self._numbers: dict[Partition, int] = {}
        self._next_number = 0
        self._open: set[Partition] = set()
        self._positions: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        """The end last told of each partition: it is told once."""
        self._requests: deque[tuple[bool, Callable[[bool], None]]] = deque()
        self._ending = False
        self._is_over = False
        self._fenced_at: float | None = None
        self._answers_due = 0
        self._thread = threading.Thread(target=self._run, name=f"poll {host.name} {self.name}", daemon=True)

    # --- the port

    def start(self) -> None:
        """Join the group and begin to poll."""
        self._thread.start()

    def group_metadata(self) -> Future[GroupMetadata]:
        return self._post(self._metadata_now, quick=True)

    def open(self, positions: Mapping[Partition, int]) -> Future[dict[Partition, int]]:
        wanted = dict(positions)
        return self._post(lambda: self._open_now(wanted), quick=False)

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> Future[None]:
        rows = dict(offsets)
        return self._post(lambda: self._commit_now(rows), quick=True)

    def stop(self, deadline: Deadline) -> None:
        """Give everything back, leave (a static member stays in the group) and end the thread. May be called twice, and before `start`."""
        with self._broker.changed:
            self._ending = True
            self._broker.changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(deadline.left)

    def __str__(self) -> str:
        return self.name

    @property
    def is_asked(self) -> bool:
        """Whether a request waits for the next turn."""
        return bool(self._requests)

    @property
    def is_over(self) -> bool:
        """Whether the poll thread has ended."""
        return self._is_over

    # --- the poll thread

    def _run(self) -> None:
        try:
            while not self._ending:
                self._pace()
                self._host.check_alive()
                self._turn()
                self.turns += 1
            if self._numbers:
                self._give_back(list(self._numbers), is_rejoining=False)
            self._leave()
        except ProcessDied:
            log.debug("%s: its process is dead", self.name)
        except Exception as failure:  # the thread's edge: the worker must hear of it
            self._listener.broken(self, failure)
        finally:
            self._is_over = True
            self._answer(refuse=True)

    def _turn(self) -> None:
        self._answer()
        try:
            moved = self._membership()
        except Refused as refused:
            self._thrown_out(refused)
            moved = True
        moved = self._fetch() or moved
        if not moved:
            with self._broker.changed:
                if not self._requests and not self._ending:
                    self._broker.changed.wait(self._idle)

    def _membership(self) -> bool:
        """Join, or take part in a rebalance; return whether anything came of it. Raises Refused: we are no member any more."""
        with self._broker.changed:
            group = self._broker.group(self._group_name)
            if self._member is None:
                self._member = group.join(None, self._instance, self.topics, (), is_eager=self._is_eager)
                self._joining = True
                self._broker.changed.notify_all()
            rejoins = not self._joining and group.heartbeat(self._member, self._generation)
            share = group.share(self._member) if self._joining else None
        if rejoins:
            if self._is_eager and self._numbers:
                self._give_back(list(self._numbers), is_rejoining=False)
            self._join_again()
            return True
        if share is not None:
            self._take(share)
            return True
        return False

    def _join_again(self) -> None:
        with self._broker.changed:
            group = self._broker.group(self._group_name)
            group.join(self._member, self._instance, self.topics, self._numbers, is_eager=self._is_eager)
            self._joining = True
            self._broker.changed.notify_all()

    def _take(self, share: Share) -> None:
        """Take a share: what is not in it goes first, then the new comes, and a member that gave something back joins again."""
        self._joining = False
        is_first, self._generation = self._generation < 0, share.generation
        if is_first and self._instance is not None and self._leaves_for_more(self._instance, share):
            return
        gone = sorted(self._numbers.keys() - share.partitions)
        if gone:
            self._give_back(gone, is_rejoining=True)
        reached(FaultPoint.IN_ASSIGN)
        gained = sorted(share.partitions - self._numbers.keys())
        self._listener.assigned(self, self._number(gained))
        self._answers_due = max(0, self._answers_due - 1)
        if not self._answers_due and self._instance is not None:
            with self._broker.lock:
                self._broker.settled[self._group_name, self._instance] = frozenset(self._numbers)
        if gone:
            self._join_again()

    def _give_back(self, partitions: list[Partition], *, is_rejoining: bool) -> None:
        if is_rejoining:
            self._answers_due = 2
        reached(FaultPoint.IN_REVOKE_BEFORE_COMMIT)
        self._answer(quick_only=True)
        done = self._listener.revoking(self, partitions)
        done.add_done_callback(lambda _: self._wake())
        deadline = Deadline.after(self._revoke_budget)
        self.is_giving_back = True
        while not done.done() and not deadline.passed:
            self._host.check_alive()
            self._answer(quick_only=True)
            with self._broker.changed:
                if not done.done() and not any(quick for quick, _ in self._requests):
                    self._broker.changed.wait(deadline.slice(self._idle))
        self.is_giving_back = False
        reached(FaultPoint.IN_REVOKE_AFTER_COMMIT)
        self._host.check_alive()
        self._forget(partitions)
        self._listener.revoked(self, partitions)

    def _thrown_out(self, refused: Refused) -> None:
        """The session ended, or somebody took our place: all is lost, and we join as new."""
        lost = sorted(self._numbers)
        self._forget(lost)
        self._member, self._generation, self._joining = None, -1, False
        self._answers_due = 0
        with self._broker.lock:
            self._broker.settled.pop((self._group_name, self._instance or ""), None)
        if lost:
            self._listener.lost(self, lost)
        if refused.code is Code.FENCED_INSTANCE_ID:
            told = f"{self.name}: {refused}"
            log_event(log, logging.WARNING, Event.INSTANCE_FENCED, told, cause=str(refused.code))
            now = self._clock.monotonic()
            before, self._fenced_at = self._fenced_at, now
            if before is not None and now - before < RIVAL_WINDOW:
                raise RivalWorker(f"member {self._instance}: fenced twice within a minute: {refused}")

    def _leaves_for_more(self, instance: str, share: Share) -> bool:
        """Whoever was here before had more, and may have ended between the joins of a rebalance: leave, so that all is shared out, and join as new."""
        mark = (self._group_name, instance)
        with self._broker.changed:
            if self._broker.settled.get(mark, frozenset()) <= share.partitions:
                return False
            self._broker.expire_session(*mark)
        self._member, self._generation = None, -1
        return True

    def _leave(self) -> None:
        with self._broker.changed:
            if self._member is not None and self._instance is None:
                self._broker.group(self._group_name).leave(self._member)
                self._broker.changed.notify_all()

    # --- records

    def _fetch(self) -> bool:
        if self._listener.waiting() >= self._bound:
            return False
        fetched, strayed = [], []
        with self._broker.lock:
            for where in sorted(self._open):
                try:
                    found = self._fetch_one(where)
                except (OffsetOutOfRange, Refused):
                    strayed.append(where)
                    continue
                if found is not None:
                    fetched.append(found)
            self._open.difference_update(strayed)
        for where in strayed:
            self._listener.out_of_range(self, where)
        if fetched:
            self._listener.fetched(self, fetched)
        return bool(fetched or strayed)

    def _fetch_one(self, where: Partition) -> Fetched | None:
        chunk = self._broker.log(where).read(self._positions[where], self._batch, committed_only=True)
        self._positions[where] = chunk.position
        end = chunk.position if chunk.at_end and self._ends.get(where) != chunk.position else None
        if end is not None:
            self._ends[where] = end
        if not chunk.records and end is None:
            return None
        size = sum(len(record.value() or b"") for record in chunk.records)
        return Fetched(where, self._numbers[where], cast("list[RawRecord]", chunk.records), end, size)

    # --- requests

    def _post(self, work: Callable[[], T], *, quick: bool) -> Future[T]:
        future: Future[T] = Future()

        def run(refuse: bool) -> None:
            if refuse:
                future.set_exception(CommitRefused(f"{self.name}: the consumer is closed"))
                return
            try:
                future.set_result(work())
            except Exception as failure:  # handed to whoever asked
                future.set_exception(failure)

        with self._broker.changed:
            self._requests.append((quick, run))
            self._broker.changed.notify_all()
        if self._is_over:
            self._answer(refuse=True)
        return future

    def _answer(self, *, refuse: bool = False, quick_only: bool = False) -> None:
        with self._broker.lock:
            due = [request for quick, request in self._requests if quick or not quick_only]
            kept = [] if not quick_only else [each for each in self._requests if not each[0]]
            self._requests.clear()
            self._requests.extend(kept)
        for request in due:
            request(refuse)

    def _wake(self) -> None:
        with self._broker.changed:
            self._broker.changed.notify_all()

    def _metadata_now(self) -> GroupMetadata:
        if self._member is None or self._generation < 0:
            # Before the join it would name no member, and the broker would accept the offsets of anyone.
            raise CommitRefused(f"{self.name}: not a member of the group")
        return MemoryGroupMetadata(self._group_name, self._generation, self._member, self._instance)

    def _commit_now(self, rows: Mapping[Partition, tuple[int, str]]) -> None:
        metadata = cast("MemoryGroupMetadata", self._metadata_now())

        def commit() -> None:
            with self._broker.changed:
                try:
                    self._broker.group(self._group_name).commit(metadata, rows)
                except Refused as refused:
                    raise CommitRefused(f"{self.name}: {refused}") from refused
                self._broker.changed.notify_all()

        self._host.call(Call.SOURCE_COMMIT, commit)

    def _open_now(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        wanted = {where: offset for where, offset in positions.items() if where in self._numbers}
        if not wanted:
            return {}
        numbers = self._number(list(wanted))
        for where, offset in wanted.items():
            self._positions[where] = offset
            self._ends.pop(where, None)
        self._open.update(wanted)
        self._listener.numbered(self, numbers)
        return numbers

    def _number(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        numbers = {}
        for where in partitions:
            self._next_number += 1
            numbers[where] = self._numbers[where] = self._next_number
        return numbers

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for where in partitions:
            self._numbers.pop(where, None)
            self._positions.pop(where, None)
            self._ends.pop(where, None)
            self._open.discard(where)
