"""Changelog partitions as a restore reads them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.errors import BrokerUnreachable
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka.failures import options_checked
from streamapp.kafka.silence import DEAF_AFTER, Silence
from streamapp.ports import ChangelogBatch, ChangelogBounds
from streamapp.records import Headers, Partition

BATCH = 2_000
"""Records read at once, so also the writes of one apply at most: both hold the GIL, together for some 2 ms. Larger ones gained
nothing (measured: see tests/benchmarks/restore.py)."""

FETCH_WAIT = 0.02
"""Seconds that an empty fetch waits at the broker. A changelog ends in a commit marker, and the client learns that nothing follows it by a
fetch that comes back empty: librdkafka's 0.5 s made each restore, of one record even, take 0.5 s (now 0.03)."""

LEADER_WAIT = 2.0
"""Seconds that the question for a changelog's leaders may take; the restore asks again."""

FORMAT_KEY = b"\x00streamapp.format"
"""The key of a format record: what follows it in its partition is of the format that its header FORMAT_HEADER names, in digits.

One key, so that compaction keeps the newest; its value is for that version's own use. The header is what makes it ours: a table's
key may be any bytes, and a table's record has no headers. Found by one look-up per batch, so a changelog of format 1, which has
none, pays nothing per record.
"""

FORMAT_HEADER = "streamapp.format"

_TRUNCATED = frozenset((KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION))


class KafkaChangelogReader:
    """A ChangelogReader on two consumers that join no group: one reads, `read_committed`, one asks for high watermarks.

    The second must be `read_uncommitted`: a `read_committed` consumer's watermarks end at the last stable offset.
    """

    def __init__(self, reader_config: Mapping[str, object], watermark_config: Mapping[str, object]) -> None:
        self._trouble: str | None = None
        shared = {"logger": logging.getLogger(CLIENT_LOGGER), "error_cb": self._troubled}
        with options_checked():
            self._reader = Consumer({**reader_config, **shared, "fetch.wait.max.ms": round(FETCH_WAIT * 1000)})
        try:
            with options_checked():
                self._watermarks = Consumer({**watermark_config, **shared})
        except BaseException:
            self._reader.close()
            raise
        self._open: dict[Partition, TopicPartition] = {}
        self._silence = Silence()
        self._closed = False

    def bounds(self, partition: Partition, timeout: float) -> ChangelogBounds:
        try:
            answer = self._watermarks.get_watermark_offsets(_row(partition), timeout=timeout, cached=False)
        except KafkaException as failure:
            raise BrokerUnreachable(f"{partition}: {_words(failure)}") from failure
        finally:
            self._watermarks.poll(0)  # hands over log lines and errors, which would pile up
        if answer is None:
            raise BrokerUnreachable(f"{partition}: no answer for {timeout:.0f} s")
        return ChangelogBounds(*answer)

    def open(self, partition: Partition, offset: int) -> None:
        self.shut(partition)
        self._learn_leaders(partition.topic)
        if not self._open:
            self._silence.heard()  # a reader of nothing hears nothing
        row = TopicPartition(partition.topic, partition.number, offset)
        self._reader.incremental_assign([row])
        self._open[partition] = row

    def _learn_leaders(self, topic: str) -> None:
        """Ask who leads a topic that is not being read. Raises BrokerUnreachable.

        A connected client that is given a topic it does not know finds its leaders in a look around once a second, so each table's
        restore would begin up to a second late, however short.
        """
        if any(partition.topic == topic for partition in self._open):
            return
        try:
            self._reader.list_topics(topic, timeout=LEADER_WAIT)
        except KafkaException as failure:
            raise BrokerUnreachable(f"{topic}: {_words(failure)}") from failure

    def shut(self, partition: Partition) -> None:
        if row := self._open.pop(partition, None):
            self._reader.incremental_unassign([row])

    def read(self, timeout: float) -> dict[Partition, ChangelogBatch]:
        # consume() waits until its batch is full or the time is over, so a short tail would always cost the whole timeout: wait
        # for one record, then take what is there.
        try:
            first = self._reader.poll(timeout)
            if first is None:
                if self._open and self._silence.is_deaf(self._reader, next(iter(self._open)).topic):
                    raise BrokerUnreachable(f"no answer to the reader of changelogs for {DEAF_AFTER:.0f} s")
                return {}
            self._silence.heard()
            messages = [first, *self._reader.consume(BATCH - 1, timeout=0)]
        except KafkaException as failure:
            raise BrokerUnreachable(_words(failure)) from failure
        return self._batches(messages)

    def trouble(self) -> str | None:
        return self._trouble

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for consumer in (self._reader, self._watermarks):
                with suppress(KafkaException):
                    consumer.close()

    def _batches(self, messages: Sequence[Message]) -> dict[Partition, ChangelogBatch]:
        batches: dict[Partition, ChangelogBatch] = {}
        topic: str | None = None
        number: int | None = None
        batch = _empty()
        for message in messages:  # some 0.5 µs a record: six calls into the client and one write to a dict
            if message.error() is not None:
                self._event(message, batches)
                topic = None
                continue
            if message.partition() != number or message.topic() != topic:
                topic, number = cast("str", message.topic()), cast("int", message.partition())
                batch = self._batch(Partition(topic, number), batches)
                batch.at_end = False
                self._trouble = None
            key = message.key()
            if key is not None:  # a record without a key is none of ours: somebody wrote to the changelog by hand
                batch.writes[key] = message.value()
            batch.records += 1
            batch.position = cast("int", message.offset()) + 1
        if any(FORMAT_KEY in batch.writes for batch in batches.values()):
            self._take_formats(messages, batches)
        return batches

    @staticmethod
    def _take_formats(messages: Sequence[Message], batches: Mapping[Partition, ChangelogBatch]) -> None:
        """Take the format records out of `batches` and note what they say."""
        for message in messages:
            if message.error() is not None or message.key() != FORMAT_KEY:
                continue
            headers = cast("Headers", message.headers() or [])
            named = [value for name, value in headers if name == FORMAT_HEADER]
            batch = batches.get(Partition(cast("str", message.topic()), cast("int", message.partition())))
            if named and batch is not None:
                batch.format = max(batch.format, _format(named[-1]))
                batch.writes.pop(FORMAT_KEY, None)

    def _event(self, message: Message, batches: dict[Partition, ChangelogBatch]) -> None:
        """Take in what the client reports in a record's place."""
        error = cast("KafkaError", message.error())
        topic, number = message.topic(), message.partition()
        if topic is None or number is None or number < 0:
            self._troubled(error)
            return
        if error.code() == KafkaError._PARTITION_EOF:
            batch = self._batch(Partition(topic, number), batches)
            batch.position, batch.at_end = cast("int", message.offset()), True
            self._trouble = None
        elif error.code() in _TRUNCATED:
            self._batch(Partition(topic, number), batches).truncated = True
        else:
            self._trouble = f"{topic}/{number}: {error.str()}"
        if error.fatal():
            raise BrokerUnreachable(error.str())

    def _batch(self, partition: Partition, batches: dict[Partition, ChangelogBatch]) -> ChangelogBatch:
        if partition not in self._open:
            return _empty()  # shut meanwhile
        if partition not in batches:
            batches[partition] = _empty()
        return batches[partition]

    def _troubled(self, error: KafkaError) -> None:
        # On the reader's thread, inside poll: it must not raise.
        self._trouble = error.str()


def _format(named: bytes | str | None) -> int:
    try:
        return int(named or b"")
    except ValueError:
        return sys.maxsize  # of a version that says it in another way, so one that this one cannot read


def _row(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)


def _empty() -> ChangelogBatch:
    return ChangelogBatch(writes={}, records=0, position=-1, at_end=False, truncated=False)


def _words(failure: KafkaException) -> str:
    error = failure.args[0] if failure.args else failure
    return error.str() if isinstance(error, KafkaError) else str(error)
