"""Events: a record as Faust's users know it, built only when somebody asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import faust
import faust.streams
from faust.types.tuples import TP, Message

from streamapp.errors import SavepointEnded
from streamapp.pipeline.dead_letter import PREFIX, parse_id
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.pipeline.spec import SourceSpec
from streamapp.records import Position, RawRecord
from streamapp.worker.handover import Delivery, HandedOver
from streamapp.worker.topics import Topic

if TYPE_CHECKING:
    from streamapp.application import StreamApp


class InHand(Protocol):
    """What an event and a stream ask of a cursor (`streamapp.pipeline.cursor.Cursor` has this shape, so has the test's)."""

    savepoint: Savepoint | None
    record: RawRecord | None
    value: Any
    records: list[RawRecord]
    values: list[Any]

    def __aiter__(self) -> AsyncIterator[Any]: ...

    async def __anext__(self) -> Any: ...

    async def take(self, limit: int, within: float | None) -> list[Any]: ...

    def finish(self) -> None: ...


REPLAY_OF: Final = f"{PREFIX}replay-of"
_UNSET: Any = object()


class Event(faust.Event):
    """One record. Faust's names, and `idempotency_key` for what lies outside Kafka."""

    app: StreamApp

    def __init__(  # Faust's signature, which its own code calls
        self, app: Any, key: Any, value: Any, headers: Any, message: Message
    ) -> None:
        super().__init__(app, key, value, headers, message)
        self._cursor: InHand | None = None
        self._savepoint: Savepoint | None = None

    @classmethod
    def of(
        cls, app: Any, source: SourceSpec, record: RawRecord, value: Any, cursor: InHand, savepoint: Savepoint | None
    ) -> Event:
        """Return the event of a record that an agent has in hand."""
        raw_key = record.key()
        key = raw_key if raw_key is None or source.decode_key is None else source.decode_key(raw_key)
        kind, milliseconds = record.timestamp()
        topic, partition = cast("str", record.topic()), cast("int", record.partition())
        headers = record.headers()
        message = Message(
            topic,
            partition,
            cast("int", record.offset()),
            timestamp=milliseconds / 1000 if kind else 0.0,
            timestamp_type=max(0, kind - 1),
            headers=cast("Any", headers or []),
            key=raw_key,
            value=record.value(),
            checksum=None,
            tp=TP(topic, partition),
        )
        event = cls(app, key, value, headers or [], message)
        event._cursor, event._savepoint = cursor, savepoint
        return event

    @property
    def idempotency_key(self) -> str:
        """What names this record for ever: `topic-partition-offset`, of the first failure where it is a replayed dead letter.
        Give it to what lies outside Kafka, so that a retry is seen as one; `idempotency_key_of` where a record has several effects.
        """
        message = self.message
        place = _first_failure(message.headers) or Position(message.topic, message.partition, message.offset)
        return f"{place.topic}-{place.partition}-{place.offset}"

    def idempotency_key_of(self, effect: int) -> str:
        """Return the name of the record's n-th effect outside Kafka: `topic-partition-offset-n`."""
        return f"{self.idempotency_key}-{effect}"

    def __call__(self) -> Event:
        # faust.current_event() calls what stands in its context variable.
        return self

    async def send(
        self,
        channel: Any,
        key: Any = _UNSET,
        value: Any = _UNSET,
        partition: int | None = None,
        timestamp: float | None = None,
        headers: Any = _UNSET,
        schema: Any = None,
        key_serializer: Any = None,
        value_serializer: Any = None,
        callback: Any = None,
        force: bool = False,
    ) -> HandedOver | Delivery:
        """Send key and value on, serialised anew; what is given replaces the event's own."""
        self._require_in_hand("send")
        return await self._topic(channel).send(
            key=self.key if key is _UNSET else key,
            value=self.value if value is _UNSET else value,
            partition=partition,
            timestamp=timestamp,
            headers=None if headers is _UNSET else headers,
            schema=schema,
            key_serializer=key_serializer,
            value_serializer=value_serializer,
            callback=callback,
        )

    async def forward(
        self,
        channel: Any,
        key: Any = _UNSET,
        value: Any = _UNSET,
        partition: int | None = None,
        timestamp: float | None = None,
        headers: Any = _UNSET,
        schema: Any = None,
        key_serializer: Any = None,
        value_serializer: Any = None,
        callback: Any = None,
        force: bool = False,
    ) -> HandedOver | Delivery:
        """Send the record on as it came: its bytes and all its headers; what is given replaces the record's own."""
        self._require_in_hand("forward")
        topic = self._topic(channel)
        message = self.message
        return topic.forward(
            message.value if value is _UNSET else topic.encoded_value(value),
            message.key if key is _UNSET else topic.encoded_key(key),
            message.headers if headers is _UNSET else headers,
            partition=partition,
            timestamp=timestamp,
        )

    def ack(self) -> bool:
        """Declare the record done now: what it sent and wrote is kept even if the agent fails afterwards. True if that was news."""
        if self.acked or self._cursor is None or self._cursor.savepoint is None or self._cursor.savepoint is not self._savepoint:
            return False
        self.acked = True
        self._cursor.finish()
        return True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> bool | None:
        # Faust acks here even when the body raised; then the record would be lost.
        if exc_type is None:
            self.ack()
        return None

    def _topic(self, channel: Any) -> Topic:
        return self.app.topic_of(channel)

    def _require_in_hand(self, what: str) -> None:
        savepoint = self._savepoint
        if savepoint is not None and savepoint is not current_savepoint.get():
            raise SavepointEnded(
                f"event.{what} of {self.idempotency_key} after that record was done: send before the next record"
            )


class CurrentEvent:
    """What stands in Faust's `current_event` for one life of an agent: builds the event of the record in hand when called.

    Set once per life, not per record. A task that the agent started asks with its own context, so it gets the record that it was
    started in.
    """

    __slots__ = ("_app", "_cursor", "_event", "_savepoint", "_sources")

    def __init__(self, app: Any, cursor: InHand, sources: dict[str, SourceSpec]) -> None:
        self._app = app
        self._cursor = cursor
        self._sources = sources
        self._savepoint: Savepoint | None = None
        self._event: Event | None = None

    def __call__(self) -> Event | None:
        savepoint = current_savepoint.get()
        cursor = self._cursor
        if savepoint is None:
            return None
        record = savepoint.record
        event = self._event
        if event is not None and self._savepoint is savepoint and event.message.offset == record.offset():
            return event
        source = self._sources[cast("str", record.topic())]
        if savepoint is cursor.savepoint and record is cursor.record and not cursor.values:
            value = cursor.value
        elif cursor.values and record is cursor.records[-1]:
            value = cursor.values[-1]
        else:
            raw = record.value()
            value = None if raw is None else source.decode(raw)
        self._savepoint = savepoint
        self._event = event = Event.of(self._app, source, record, value, cursor, savepoint)
        return event

    def batch(self) -> list[Event]:
        """Return the events of the batch that `take` has in hand."""
        cursor = self._cursor
        savepoint = cursor.savepoint
        return [
            Event.of(self._app, self._sources[cast("str", record.topic())], record, value, cursor, savepoint)
            for record, value in zip(cursor.records, cursor.values, strict=True)
        ]

    def key(self) -> Any:
        """Return the decoded key of the record in hand."""
        record = cast("RawRecord", self._cursor.record)
        raw = record.key()
        decode = self._sources[cast("str", record.topic())].decode_key
        return raw if raw is None or decode is None else decode(raw)


def _first_failure(headers: Any) -> Position | None:
    """Return where a replayed dead letter first failed; None for any other record."""
    for name, value in reversed(headers or ()):
        if name == REPLAY_OF and value is not None and (first := parse_id(value.decode("utf-8", "replace"))) is not None:
            return first[0]
    return None


def set_current_event(current: CurrentEvent | None) -> None:
    """Make `faust.current_event()` answer from `current` in this task and those that it starts."""
    faust.streams._current_event.set(cast("Any", current))


def current_event() -> Event | None:
    """Return the event of the record in hand, None outside an agent."""
    return cast("Event | None", faust.streams.current_event())


__all__ = ["CurrentEvent", "Event", "InHand", "current_event", "set_current_event"]
