"""One consumer of the app's group on its own poll thread: the only thread that ever touches it.

A confluent_kafka Consumer holds a mutex through poll, consume, committed and the rebalance callbacks: from another thread even
`assignment()` hangs while a callback runs. So others post requests, which are answered between two polls, and at the start of a
callback where they need no seek.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar, cast

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.clock import Deadline, SystemClock
from streamapp.errors import CommitRefused, ConfigurationError, Fatal, RivalWorker
from streamapp.events import CLIENT_LOGGER, Event, log_event
from streamapp.faults import FaultPoint, reached
from streamapp.kafka.failures import error_of, options_checked, refuse_without_right
from streamapp.kafka.producer import metadata_is_fenced
from streamapp.kafka.settled_share import SettledShare
from streamapp.kafka.silence import Silence, is_reachable
from streamapp.ports import Fetched, GroupMetadata, SourceListener
from streamapp.records import Partition, RawRecord

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 500
"""Records per hop to the loop: a hop per record costs more than the record's work."""

POLL = 0.02
"""Longest wait in one poll, in seconds: the longest that a posted request waits on an idle source."""

WAKE = 1.0
"""Seconds that a request made for its own sake may hold up the poll thread. It is answered in a few milliseconds; one that is given up
makes the client complain, and drop the connection at times."""

CROWDED_WAIT = 0.02
"""Seconds between looks while the worker has all the records it may hold."""

CROWDED_PATIENCE = 1.0
"""Seconds of no progress after which full lanes are paused, so that polling (and with it the group) goes on.

Not sooner: a pause throws away what librdkafka has prefetched for the partition, and the resume fetches it again.
"""

RIVAL_WINDOW = 60.0
"""A consumer that turns fatal twice within these seconds has a real rival."""


class KafkaSource:
    """A PartitionSource on confluent_kafka."""

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        config: Mapping[str, object],
        listener: SourceListener,
        *,
        incremental: bool,
        lane_bound: int,
        total_bound: int,
        revoke_budget: float,
        settled: SettledShare | None = None,
    ) -> None:
        self.name = name
        self.topics = tuple(topics)
        self._config = dict(config)
        self._listener = listener
        self._incremental = incremental
        self._lane_bound = lane_bound
        self._total_bound = total_bound
        self._revoke_budget = revoke_budget
        self._settled = settled
        self._joins_anew = False
        """Whether to leave and join again: the group's first answer lacks what the consumer before this one had."""
        self._has_joined = False
        self._requests: deque[Callable[[], None]] = deque()
        self._quick: deque[Callable[[], None]] = deque()
        self._numbers: dict[Partition, int] = {}
        self._open: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._to_fetch: list[Partition] = []
        self._next_number = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"kafka-poll {name}", daemon=True)
        self._consumer: Consumer | None = None
        self._broken_at: float | None = None
        self._callback_failure: Exception | None = None
        self._clock = SystemClock()
        self._crowded_since: float | None = None
        self._crowded_at = 0
        self._silence = Silence()

    # --- called from other threads

    def start(self) -> None:
        """Join the group and begin to poll. Raises SettingInvalid: the client refuses its options."""
        self._consumer = self._new_consumer()  # here, so that a refused configuration is raised where it can be told
        self._thread.start()

    def group_metadata(self) -> Future[GroupMetadata]:
        return self._post(self._metadata_now, quick=True)

    def open(self, positions: Mapping[Partition, int]) -> Future[dict[Partition, int]]:
        wanted = dict(positions)
        return self._post(lambda: self._open_now(wanted))

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> Future[None]:
        rows = [TopicPartition(topic, number, offset, metadata) for (topic, number), (offset, metadata) in offsets.items()]
        return self._post(lambda: self._commit_now(rows), quick=True)

    def stop(self, deadline: Deadline) -> None:
        """Close the consumer and end the thread. May be called twice, and before `start`."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(deadline.left)

    def __str__(self) -> str:
        return self.name

    # --- the poll thread

    def _run(self) -> None:
        try:
            self._subscribe()
            while not self._ending.is_set():
                self._answer()
                self._fetch_now()
                if self._settled is not None:
                    self._settled.alive()
                if not self._crowded():
                    self._poll()
                if self._callback_failure is not None:
                    failure, self._callback_failure = self._callback_failure, None
                    self._replace(f"a rebalance callback failed: {failure!r}", again=failure)
                elif self._joins_anew:
                    self._join_anew()
                elif self._is_deaf():
                    self._lose(list(self._numbers))
                    self._renew("it hears no broker, though one takes connections")
        except (RivalWorker, ConfigurationError) as failure:
            self._listener.broken(self, failure)
        except BaseException as failure:  # the thread's edge: a dead poll thread would silently leave the group
            log.exception("poll thread of %s ended", self.name)
            self._listener.broken(self, failure if isinstance(failure, Exception) else Fatal(repr(failure)))
        finally:
            self._close()

    def _poll(self) -> None:
        consumer = cast("Consumer", self._consumer)
        numbers = self._numbers  # replaced, never changed: these are in force for what this poll returns
        try:
            first = consumer.poll(POLL)
            if first is None:
                return
            messages = [first, *consumer.consume(BATCH - 1, 0)]
            if first.error() is None:
                self._silence.heard()
        except (KafkaException, SystemError) as failure:
            self._trouble(failure)
            return
        self._deliver(messages, numbers)

    def _deliver(self, messages: Sequence[Message], numbers: Mapping[Partition, int]) -> None:
        records: dict[Partition, list[RawRecord]] = {}
        ends: dict[Partition, int] = {}
        topic, number = None, -1
        batch: list[RawRecord] = []
        for message in messages:
            if (error := message.error()) is not None:
                self._event(message, error, ends)
                continue
            # Runs of one partition are long; a look-up per run, not per record.
            if message.partition() != number or message.topic() != topic:
                topic, number = cast("str", message.topic()), cast("int", message.partition())
                batch = records.setdefault(Partition(topic, number), [])
            batch.append(message)  # type: ignore[arg-type]  # it has RawRecord's shape; a cast is a call per record
        fetched = [
            Fetched(where, numbers[where], found := records.get(where, []), ends.get(where), sum(map(len, found)))  # type: ignore[arg-type]  # a Message's len is its value's
            for where in {**records, **ends}
            if where in numbers and where in self._open
        ]
        if fetched:
            self._listener.fetched(self, fetched)

    def _event(self, message: Message, error: KafkaError, ends: dict[Partition, int]) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            ends[Partition(cast("str", message.topic()), cast("int", message.partition()))] = cast("int", message.offset())
        elif error.fatal() or code in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID):
            self._fatal(error)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            where = Partition(message.topic() or "?", message.partition() or 0)
            if where in self._open:
                self._listener.out_of_range(self, where)
        elif code != KafkaError._MAX_POLL_EXCEEDED:
            if not self._has_joined:
                refuse_without_right(error, "group", str(self._config.get("group.id", "?")), "Read")
            log.info("%s: %s: %s", self.name, error.name(), error.str())

    def _trouble(self, failure: BaseException) -> None:
        error = error_of(failure)
        if error is not None and (error.fatal() or error.code() == KafkaError._FATAL):
            self._fatal(error)
        else:
            log.warning("%s: poll: %s", self.name, failure)
            self._ending.wait(0.1)

    def _fatal(self, error: KafkaError) -> None:
        """The consumer answers with errors for ever now: all its partitions are lost, and it is replaced."""
        told = f"{self.name}: {error.name()}: {error.str()}"
        log_event(log, logging.WARNING, Event.INSTANCE_FENCED, told, cause=error.name())
        self._lose(list(self._numbers))
        self._replace(
            told,
            again=RivalWorker(
                f"member {self._config.get('group.instance.id', self.name)}: {error.name()} twice within a minute: "
                f"another live worker has this worker id ({error.str()}); give each worker its own STREAMAPP_WORKER_ID"
            ),
        )

    def _replace(self, why: str, *, again: Exception) -> None:
        """Join with a new consumer; at most once a minute, else raise `again`."""
        now = self._clock.monotonic()
        before, self._broken_at = self._broken_at, now
        if before is not None and now - before < RIVAL_WINDOW:
            raise again
        self._renew(why)

    def _is_deaf(self) -> bool:
        """Return whether the client will hear of no broker again, while a new one would: see `Silence`."""
        consumer = cast("Consumer", self._consumer)
        return self._silence.is_deaf(consumer, self.topics[0]) and is_reachable(str(self._config.get("bootstrap.servers", "")))

    def _renew(self, why: str) -> None:
        log.warning("%s: joining again with a new consumer: %s", self.name, why)
        old, self._consumer = self._consumer, None
        if old is not None:
            with contextlib.suppress(KafkaException, RuntimeError):
                old.close()
        self._callback_failure = None  # of the old one's close
        self._consumer = self._new_consumer()
        self._silence.heard()
        self._subscribe()

    def _join_anew(self) -> None:
        """Leave the group, static member or not, and join it as one that it does not know: it then shares out everything."""
        log.warning(
            "%s: the consumer before this one had more, and may have ended in the middle of a rebalance: leaving and joining again, so that "
            "what it had finds an owner",
            self.name,
        )
        consumer = cast("Consumer", self._consumer)
        consumer.unsubscribe()
        deadline = Deadline.after(self._revoke_budget)
        while consumer.memberid() and not deadline.passed and not self._ending.is_set() and self._callback_failure is None:
            self._answer()
            self._poll()
        if not consumer.memberid() and self._settled is not None:
            self._settled.forget()
        if not self._ending.is_set():
            self._subscribe()

    def _new_consumer(self) -> Consumer:
        with options_checked():
            return Consumer(self._config, logger=logging.getLogger(CLIENT_LOGGER))

    def _subscribe(self) -> None:
        self._has_joined = False
        self._joins_anew = False
        consumer = cast("Consumer", self._consumer)
        consumer.subscribe(list(self.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def _close(self) -> None:
        # Kept until it is closed: that gives the partitions back, and a commit in the middle of it needs the metadata.
        consumer = self._consumer
        if consumer is not None:
            with contextlib.suppress(KafkaException, RuntimeError):
                consumer.close()
        self._consumer = None
        while self._requests or self._quick:
            self._answer(refuse=True)

    # --- backpressure

    def _crowded(self) -> bool:
        """Wait a moment while the worker holds all it may; pause full lanes when that lasts, and let them come again."""
        waiting = self._listener.waiting()
        if self._paused:
            self._resume_roomy()
        if waiting < self._total_bound:
            self._crowded_since = None
            return False
        now = self._clock.monotonic()
        if self._crowded_since is None or waiting < self._crowded_at:
            self._crowded_since = now
            self._crowded_at = waiting
        if now - self._crowded_since < CROWDED_PATIENCE:
            self._ending.wait(CROWDED_WAIT)
            return True
        share = max(1, self._total_bound // max(1, len(self._open)))
        self._pause(
            [where for where in self._open - self._paused if self._listener.crowded(where) >= min(share, self._lane_bound)]
        )
        return False

    def _pause(self, partitions: Sequence[Partition]) -> None:
        if not partitions:
            return
        with contextlib.suppress(KafkaException):
            cast("Consumer", self._consumer).pause([TopicPartition(*where) for where in partitions])
            self._paused.update(partitions)

    def _resume_roomy(self) -> None:
        roomy = [where for where in self._paused if self._listener.crowded(where) <= self._lane_bound // 4]
        if roomy:
            with contextlib.suppress(KafkaException):
                cast("Consumer", self._consumer).resume([TopicPartition(*where) for where in roomy])
                self._paused.difference_update(roomy)

    # --- requests

    def _post(self, work: Callable[[], T], *, quick: bool = False) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if self._consumer is None:
                future.set_exception(CommitRefused(f"{self.name}: the consumer is closed"))
                return
            try:
                future.set_result(work())
            except Exception as failure:  # handed to whoever asked
                future.set_exception(failure)

        (self._quick if quick else self._requests).append(run)
        if self._ending.is_set() and not self._thread.is_alive():
            self._answer(refuse=True)
        return future

    def _answer(self, *, refuse: bool = False, quick_only: bool = False) -> None:
        for requests in (self._quick,) if quick_only else (self._quick, self._requests):
            while requests:
                with contextlib.suppress(IndexError):
                    requests.popleft()()

    def _metadata_now(self) -> GroupMetadata:
        try:
            metadata = cast("Consumer", self._consumer).consumer_group_metadata()
        except (KafkaException, RuntimeError) as failure:
            raise CommitRefused(f"{self.name}: no group metadata: {failure}") from failure
        if metadata is None or not metadata_is_fenced(metadata):
            # Before the join it names no member, and the broker would accept the offsets of anyone.
            raise CommitRefused(f"{self.name}: not a member of the group")
        return metadata

    def _commit_now(self, rows: list[TopicPartition]) -> None:
        try:
            cast("Consumer", self._consumer).commit(offsets=rows, asynchronous=False)
        except KafkaException as failure:
            raise CommitRefused(f"{self.name}: {failure}") from failure

    def _open_now(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Seek, number and resume, between two polls."""
        consumer = cast("Consumer", self._consumer)
        wanted = {where: offset for where, offset in positions.items() if where in self._numbers}
        if not wanted:
            return {}
        rows = [TopicPartition(where.topic, where.number, offset) for where, offset in wanted.items()]
        numbers = dict(self._numbers)
        for where in wanted:
            self._next_number += 1
            numbers[where] = self._next_number
        self._numbers = numbers
        for row in rows:
            self._seek(consumer, row)
        told = {where: numbers[where] for where in wanted}
        self._open.update(wanted)
        self._paused.difference_update(wanted)
        self._listener.numbered(self, told)
        consumer.resume(rows)
        self._to_fetch.extend(wanted)
        return told

    def _fetch_now(self) -> None:
        """Have the client fetch at once what was opened since the last poll: neither seek nor resume wakes its thread of a broker that it had nothing to fetch from, which looks
        around once a second. A request to the partitions' leaders does, whatever becomes of the answer.

        Assigning them anew would, too; but between two polls a revoke may be waiting, and the library would take that for its answer:
        the group then gives the partitions away before they are committed.
        """
        if not self._to_fetch:
            return
        # Once for all: a broker answers a connection's requests in their order, so that each waits out the fetch of the partitions that
        # were opened before, half a second where those have nothing.
        rows, self._to_fetch = [TopicPartition(where.topic, where.number, OFFSET_END) for where in self._to_fetch], []
        with contextlib.suppress(KafkaException):
            cast("Consumer", self._consumer).offsets_for_times(rows, timeout=WAKE)

    def _seek(self, consumer: Consumer, row: TopicPartition) -> None:
        try:
            consumer.seek(row)
        except KafkaException:
            # A partition whose fetcher never started (or stopped on an error) cannot be sought: assign it anew at the offset.
            if self._incremental:
                consumer.incremental_unassign([row])
                consumer.incremental_assign([row])
            else:
                kept = [part for part in consumer.assignment() if (part.topic, part.partition) != (row.topic, row.partition)]
                for part in kept:
                    part.offset = consumer.position([part])[0].offset
                consumer.assign([*kept, row])
                consumer.pause([part for part in kept if Partition(part.topic, part.partition) not in self._open])

    # --- rebalance callbacks: they never raise, an exception would make librdkafka unassign behind our back

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            reached(FaultPoint.IN_ASSIGN)
            rows = [TopicPartition(part.topic, part.partition, 0) for part in partitions]
            # At a fixed offset and paused: where to begin is known only once the old owner's transaction has settled.
            if self._incremental:
                consumer.incremental_assign(rows)
            else:
                consumer.assign(rows)
            if rows:
                consumer.pause(rows)
            gained = [Partition(part.topic, part.partition) for part in partitions]
            numbers = dict(self._numbers)
            for where in gained:
                self._next_number += 1
                numbers[where] = self._next_number
            self._numbers = numbers
            self._listener.assigned(self, {where: numbers[where] for where in gained})
            self._settle(is_first=not self._has_joined)
            self._has_joined = True
        except Exception as failure:
            self._callback_failed("assignment", failure)

    def _settle(self, *, is_first: bool) -> None:
        if self._settled is None:
            return
        if is_first and self._settled.is_short(self._numbers.keys()):
            self._joins_anew = True
        else:
            self._settled.assigned(self._numbers)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            if self._settled is not None and self._consumer is not None and not self._ending.is_set():
                self._settled.gave_back()
            reached(FaultPoint.IN_REVOKE_BEFORE_COMMIT)
            given = [where for part in partitions if (where := Partition(part.topic, part.partition)) in self._numbers]
            if given:
                self._answer(quick_only=True)
                self._give_back(given)
            reached(FaultPoint.IN_REVOKE_AFTER_COMMIT)
            if self._incremental:
                consumer.incremental_unassign(partitions)
            else:
                consumer.unassign()
            self._forget(given)
            self._listener.revoked(self, given)
        except Exception as failure:
            self._callback_failed("revoke", failure)

    def _give_back(self, partitions: Sequence[Partition]) -> None:
        """Wait until what is done there is committed, within the budget; meanwhile the commit gets its metadata from here."""
        done = self._listener.revoking(self, partitions)
        deadline = Deadline.after(self._revoke_budget)
        while not done.done() and not deadline.passed:
            self._answer(quick_only=True)
            with contextlib.suppress(TimeoutError, Exception):
                done.result(timeout=deadline.slice(0.01))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            if self._settled is not None:
                self._settled.forget()  # the group has shared out all of it without us
            self._lose([where for part in partitions if (where := Partition(part.topic, part.partition)) in self._numbers])
            if self._incremental:
                consumer.incremental_unassign(partitions)
            else:
                consumer.unassign()
        except Exception as failure:
            self._callback_failed("loss", failure)

    def _callback_failed(self, what: str, failure: Exception) -> None:
        """What the library holds to be assigned is unknown now: all is lost, and the consumer is replaced after this poll.

        Not here: it cannot be closed from within its own poll.
        """
        log_event(
            log, logging.ERROR, Event.CALLBACK_FAILED, f"{self.name}: {what} failed: {failure!r}", exc_info=failure, kind=what
        )
        self._callback_failure = failure
        try:
            self._lose(list(self._numbers))
        except Exception as worse:
            self._listener.broken(self, worse)

    def _lose(self, partitions: Sequence[Partition]) -> None:
        self._forget(partitions)
        if partitions:
            self._listener.lost(self, partitions)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        gone = set(partitions)
        self._numbers = {where: number for where, number in self._numbers.items() if where not in gone}
        self._open -= gone
        self._paused -= gone
