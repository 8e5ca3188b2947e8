"""The transactional producer and the idempotent one, with every wait bounded and every error on the branch of its recovery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, CommitRefused, DeadlinePassed, DeliveryFailed, UnitAborted
from streamapp.events import Event, log_event
from streamapp.kafka.failures import (
    TOO_LARGE,
    error_of,
    is_brokers,
    is_retriable,
    options_checked,
    refuse_without_right,
    timed_out,
    translated,
)
from streamapp.ports import GroupMetadata
from streamapp.records import Outgoing, Partition

log = logging.getLogger(__name__)

SLICE = 0.5
"""Longest single call into librdkafka, in seconds; flush, commit and abort may all be called again."""

AGAIN = 0.05
"""Seconds between two tries of a call that may be made again: one that is refused at once would else spin until its deadline."""

SUSPECT_AFTER = 0.4
"""Seconds of send_offsets, commit and abort together from which a request may have been sent twice.

librdkafka sends EndTxn again no earlier than 0.8 x retry.backoff.ms (500, ours) and TxnOffsetCommit no earlier than 500 ms. A
copy that arrives late would end the *next* transaction halfway, or set the group's offset back; a new producer epoch fences it.
"""


class KafkaProducer:
    """A producer whose records are in one open transaction (`transactional`), or in none.

    A failed delivery makes librdkafka put the transaction into its abortable state, so flush and commit raise: no callback per
    record is needed for that, and none is paid for.
    """

    def __init__(self, config: Mapping[str, object], *, transactional: bool, logger: logging.Logger = log) -> None:
        self._transactional = transactional
        self._in_transaction = False
        self._undelivered: KafkaError | None = None
        self._transaction = 0
        self._spent = 0.0
        self._unanswered = False
        self.resumed = False
        options = dict(config)
        self._name = str(options.get("transactional.id", ""))
        if not transactional:
            # Without a transaction nothing else tells of a failed delivery; reports of good ones stay without a callback.
            options["on_delivery"] = self._delivered_anything
        with options_checked():
            self._producer: Producer | None = Producer(options, logger=logger)

    # --- life

    def init_transactions(self, deadline: Deadline) -> None:
        """Take over the transactional.id: ends what a dead predecessor left open and fences it.

        Raises BrokerUnreachable, NotAllowed, ProducerUnusable.
        """
        while True:
            try:
                # It goes on where it was when called again, so a stop during the start need not wait long for it.
                self._open().init_transactions(max(0.1, deadline.slice(2 * SLICE)))
            except (KafkaException, SystemError) as failure:
                refuse_without_right(failure, "transactional id", self._name, "Write and Describe")
                if not (is_retriable(failure) or timed_out(failure)):
                    raise translated(failure, "init_transactions") from failure
                if deadline.passed:
                    raise BrokerUnreachable(f"no transaction coordinator: {error_of(failure)}") from failure
            else:
                return

    def close(self) -> None:
        """Destroy it; what it still holds is thrown away."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.purge()
            producer.poll(0)
        except (KafkaException, SystemError) as failure:
            log.debug("purging the old producer: %s", failure)

    @property
    def suspect(self) -> bool:
        return self._transactional and (self._unanswered or self._spent >= SUSPECT_AFTER)

    # --- records

    def begin(self) -> None:
        """Open the transaction. Local."""
        if not self._transactional:
            return
        self._transaction += 1
        self._undelivered = None
        self._spent = 0.0
        try:
            self._open().begin_transaction()
        except (KafkaException, SystemError) as failure:
            raise translated(failure, "begin_transaction") from failure
        self._in_transaction = True

    def produce(self, record: Outgoing, on_delivery: Callable[[int], None] | None = None) -> bool:
        """Hand over one record; False when the local queue is full. Raises DeliveryFailed, ProducerUnusable."""
        topic, value, key, partition, timestamp, headers = record
        producer = self._producer
        if producer is None:
            raise UnitAborted("the producer is being replaced")
        told = None if on_delivery is None else self._told(on_delivery)
        try:
            # By place: 0.34 µs a record; with names 0.56, and with an empty list of headers 0.93.
            if headers:
                producer.produce(topic, value, key, partition, told, None, timestamp, headers)  # type: ignore[arg-type]  # a list is what it takes
            else:
                producer.produce(topic, value, key, partition, told, None, timestamp)
        except BufferError:
            return False
        except (KafkaException, SystemError) as failure:
            raise self._refused(topic, failure) from failure
        except Exception as failure:  # what the client cannot take as an argument, it will not take the next time either
            raise DeliveryFailed(f"produce to {topic}: {failure!r}", for_good=True, at_once=True) from failure
        return True

    def produce_changelog(
        self, partition: Partition, writes: Mapping[bytes, bytes | None], on_end: Callable[[int], None], deadline: Deadline
    ) -> None:
        """Hand over every write, in order. Waits while the local queue is full. Raises DeliveryFailed, ProducerUnusable, DeadlinePassed."""
        # A loop of its own: through `produce` a record costs twice as much, and a commit has as many as its records wrote keys.
        produce, (topic, number) = self._open().produce, partition
        last, told = len(writes) - 1, self._told(on_end)
        for position, (key, value) in enumerate(writes.items()):
            while True:
                try:
                    if position == last:  # the partition's log is in order, so the last report tells the end
                        produce(topic, value, key, number, told)
                    else:
                        produce(topic, value, key, number)
                    break
                except BufferError:
                    if deadline.passed:
                        raise DeadlinePassed(f"{topic}: the producer's queue stayed full for the commit's time") from None
                    self.wait(deadline.slice(0.1))
                except (KafkaException, SystemError) as failure:
                    raise self._refused(topic, failure) from failure

    def serve(self) -> None:
        """Handle deliveries; does not wait."""
        self.wait(0)

    def wait(self, seconds: float) -> None:
        """Handle deliveries for at most `seconds`."""
        producer = self._producer
        if producer is None:
            return
        try:
            producer.poll(seconds)
        except (KafkaException, SystemError) as failure:
            # A fatal error surfaces here first (it never reaches error_cb); flush and commit raise it again, and decide.
            log.debug("producer poll: %s", failure)

    def flush(self, deadline: Deadline) -> None:
        """Return when every record is delivered. Raises DeliveryFailed, CommitRefused, ProducerUnusable, DeadlinePassed."""
        producer = self._open()
        while True:
            try:
                left = producer.flush(deadline.slice(SLICE))
            except (KafkaException, SystemError) as failure:
                if self._again(failure, deadline):
                    continue
                raise translated(failure, "flush") from failure
            undelivered, self._undelivered = self._undelivered, None
            if undelivered is not None:
                raise DeliveryFailed(undelivered.str(), too_large=undelivered.code() in TOO_LARGE)
            if left == 0:
                return
            if deadline.passed:
                # It may have lost its brokers for good (see `silence`), and an abort that has nobody to ask succeeds.
                self._unanswered = True
                raise DeadlinePassed(f"{left} records were not delivered in time")

    # --- the transaction's end

    def send_offsets(self, offsets: Mapping[Partition, tuple[int, str]], group: GroupMetadata, deadline: Deadline) -> None:
        """Add offsets to the transaction. Raises CommitRefused, ProducerUnusable."""
        rows = [TopicPartition(topic, number, offset, metadata) for (topic, number), (offset, metadata) in offsets.items()]
        while True:
            try:
                # Bounded by socket.timeout.ms, whatever is passed here: its own timeout of 1 s was measured to return after 30 s.
                with self._watched():
                    self._open().send_offsets_to_transaction(rows, group, max(0.1, deadline.left))
            except (KafkaException, SystemError) as failure:
                if self._again(failure, deadline):
                    continue
                raise self._why(translated(failure, "send_offsets_to_transaction")) from failure
            else:
                return

    def commit(self, deadline: Deadline) -> None:
        """Commit, resuming as long as it may. Raises OutcomeUnknown: only the broker knows what became of it."""
        self.resumed = False
        while True:
            try:
                with self._watched():
                    self._open().commit_transaction(max(0.05, deadline.slice(SLICE)))
            except (KafkaException, SystemError) as failure:
                # A commit that timed out may only be committed again; abort would answer _CONFLICT.
                if self._again(failure, deadline):
                    if not self.resumed:
                        self.resumed = True
                        log_event(log, logging.INFO, Event.COMMIT_RESUMED, f"the commit goes on: {failure}")
                    continue
                raise translated(failure, "commit_transaction", asked=True) from failure
            else:
                self._in_transaction = False
                return

    def abort(self, deadline: Deadline) -> None:
        """Abort. Raises ProducerUnusable when only a new producer can go on."""
        if not self._in_transaction or not self._transactional:
            return
        while True:
            try:
                with self._watched():
                    self._open().abort_transaction(max(0.05, deadline.slice(SLICE)))
            except (KafkaException, SystemError) as failure:
                if self._again(failure, deadline):
                    continue
                # Whatever its flags: what cannot be aborted is ended by the successor.
                raise translated(failure, "abort_transaction", asked=True) from failure
            else:
                self._in_transaction = False
                return

    # --- inside

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Around a request of the transaction's end: may it still be under way when the next transaction is open?"""
        began = time.monotonic()
        try:
            yield
        except (KafkaException, SystemError) as failure:
            if not is_brokers(failure):
                self._unanswered = True
            raise
        finally:
            self._spent += time.monotonic() - began

    def _again(self, failure: BaseException, deadline: Deadline) -> bool:
        """Return, after a moment, whether the same call may be made again."""
        if not is_retriable(failure) or deadline.passed:
            return False
        self.wait(deadline.slice(AGAIN))
        return True

    def _open(self) -> Producer:
        if self._producer is None:
            raise UnitAborted("the producer is being replaced")
        return self._producer

    def _refused(self, topic: str, failure: BaseException) -> Exception:
        """Return our error for a record that the library does not take."""
        error = error_of(failure)
        if error is not None and error.code() in TOO_LARGE:
            return DeliveryFailed(f"{topic}: {error.str()}", too_large=True, at_once=True)
        return translated(self._reason(failure), f"produce to {topic}")

    def _reason(self, failure: BaseException) -> BaseException:
        """Return why no more records are taken, where `failure` says only that they are not.

        After something fatal produce answers `_FATAL`, after a failed delivery `_STATE`, without a flag. Beginning a transaction is
        refused then, harmlessly (for `_STATE` only inside one), and the refusal tells what happened.
        """
        error = error_of(failure)
        code = None if error is None else error.code()
        asks = code == KafkaError._FATAL or (code == KafkaError._STATE and self._in_transaction)
        if not asks or not self._transactional:
            return failure
        try:
            self._open().begin_transaction()
        except (KafkaException, SystemError) as told:
            reason = error_of(told)
            if reason is not None and (reason.fatal() or reason.txn_requires_abort()):
                return told
        return failure

    def _told(self, on_delivery: Callable[[int], None]) -> Callable[[KafkaError | None, Message], None]:
        transaction = self._transaction

        def told(error: KafkaError | None, message: Message) -> None:
            # Callbacks never raise: an exception here would surface in some unrelated call.
            if error is not None:
                # What an abort purged is reported late, in the next transaction: none of its business.
                if transaction == self._transaction:
                    self._undelivered = self._undelivered or error
                    self._unanswered = self._unanswered or error.code() == KafkaError._MSG_TIMED_OUT
                return
            offset = message.offset()
            on_delivery(-1 if offset is None else offset)

        return told

    def _delivered_anything(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._undelivered = self._undelivered or error

    def _why(self, told: Exception) -> Exception:
        """Prefer the delivery error that made the transaction abortable over the refusal that followed from it."""
        undelivered, self._undelivered = self._undelivered, None
        if undelivered is not None and isinstance(told, CommitRefused):
            return DeliveryFailed(undelivered.str(), too_large=undelivered.code() in TOO_LARGE)
        return told


def metadata_is_fenced(group: GroupMetadata) -> bool:
    """Return whether group metadata names a member and a generation: without both the broker accepts offsets unfenced.

    Source: librdkafka's serialisation, `CGMDv2:`, generation (int32), group and member (zero-terminated), then the instance, if any.
    """
    data = cast("bytes", group)
    if not isinstance(data, bytes) or not data.startswith(b"CGMDv2:"):
        return False
    rest = data[len(b"CGMDv2:") :]
    generation = int.from_bytes(rest[:4], "little", signed=True)
    texts = rest[4:].split(b"\0")
    return generation >= 0 and len(texts) >= 2 and texts[1] != b""
