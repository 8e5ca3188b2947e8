"""The stream that an agent iterates: Faust's operators over the engine's cursor.

A record is done when the loop asks for the next one, never by an iterator's cleanup: whatever else ends the loop leaves it
unfinished.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from faust.exceptions import ImproperlyConfigured, Skip
from faust.types.models import FieldDescriptorT
from faust.types.streams import StreamT
from mode import Service, want_seconds
from mode.utils.futures import maybe_async

from streamapp.worker.events import CurrentEvent, Event, InHand
from streamapp.worker.refusals import refuse
from streamapp.worker.topics import Topic

if TYPE_CHECKING:
    from streamapp.worker.agents import Agent

T = TypeVar("T")
Kept = list[tuple[int, Any]]
"""A batch after the processors: place in the batch, value."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A function that every value passes."""

    function: Callable[[Any], Any]
    changes_value: bool = True
    """False for `filter` and `echo`: behind a `group_by` they are not run again."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a stream goes on: behind this topic, under this key."""

    topic: Topic
    key: Callable[[Any], Any] | None
    processors: tuple[Processor, ...]
    """What each value passes before the topic."""
    source: str
    """The topic that the records come from."""


JOIN_IDIOM = "keep one side in a table and look it up: row = table.get(key)"


class Stream(StreamT[T], Service):
    """One agent's stream over one cursor. Iterating it finishes the record in hand and hands out the next."""

    mundane_level = "debug"

    def __init__(self, channel: Any = None, *, app: Any = None, **options: Any) -> None:
        """As Faust calls it. Streams are made by `Stream.over`; a stream without an agent is refused."""
        refuse("app.stream(…)", "read topics with agents: @app.agent(topic)")

    @classmethod
    def over(cls, cursor: InHand, agent: Agent, current: CurrentEvent) -> Stream[Any]:
        """Return the stream of one life of an agent."""
        stream = cls.__new__(cls)
        Service.__init__(stream, beacon=cast("Any", agent.beacon))
        stream.app = agent.app
        stream.agent = agent
        stream.channel = cast("Any", agent.channel)
        stream.combined = []
        stream.prefix = agent.name
        stream.concurrency_index = None
        stream._attach(cursor, current)
        stream._processors = []
        stream._is_iterated_bare = False
        stream._moved = None
        stream._is_moved = False
        stream.move = None
        return stream

    agent: Agent
    _cursor: InHand
    _current: CurrentEvent
    _next_value: Callable[[], Awaitable[Any]]
    _processors: list[Processor]
    _is_iterated_bare: bool
    _moved: Stream[Any] | None
    """The stream that `group_by` or `through` made of this one."""
    _is_moved: bool
    move: Move | None
    """What `group_by` or `through` asked for."""

    def _attach(self, cursor: InHand, current: CurrentEvent) -> None:
        self._cursor = cursor
        self._current = current
        self._next_value = cursor.__anext__

    # --- iteration

    def __aiter__(self) -> AsyncIterator[T]:
        if self._processors:
            return cast("AsyncIterator[T]", self)
        # Nothing stands between the agent and the cursor: a call less per record.
        self._is_iterated_bare = True
        return self._cursor

    def __anext__(self) -> Awaitable[T]:
        """Finish the record in hand and return the next one's value: the cursor's own coroutine, no other."""
        if self._processors:
            return self._next_processed()
        return self._next_value()

    async def _next_processed(self) -> Any:
        while True:
            try:
                return await self._processed(await self._next_value())
            except Skip:
                continue  # a record that was filtered out is done

    async def _processed(self, value: Any) -> Any:
        for processor in self._processors:
            value = await maybe_async(processor.function(value))
        return value

    @property
    def current_event(self) -> Event | None:  # type: ignore[override]  # Faust assigns it for each record; ours is asked for
        """The event of the record in hand."""
        return self._current()

    def events(self) -> _Mapped[Event]:
        """Iterate events instead of values."""
        return _Mapped(self, lambda _: cast("Event", self._current()))

    def items(self) -> _Mapped[tuple[Any, T]]:
        """Iterate (key, value)."""
        return _Mapped(self, lambda value: (self._current.key(), value))

    def enumerate(self, start: int = 0) -> _Mapped[tuple[int, T]]:
        """Iterate (number, value), counted from the agent's last start: the number is no state."""
        count = start - 1

        def numbered(value: T) -> tuple[int, T]:
            nonlocal count
            count += 1
            return count, value

        return _Mapped(self, numbered)

    def take(self, max_: int, within: Any = None) -> _Batches[T]:
        """Iterate lists of up to `max_` values of one partition; a list is done, or fails, as a whole.

        `within`: seconds to wait for a list to fill once it has a record; None waits until it is full.
        """
        return _Batches(self, max_, within, lambda kept: [value for _, value in kept])

    def take_events(self, max_: int, within: Any = None) -> _Batches[Event]:
        """As `take`, events instead of values."""

        def as_events(kept: Kept) -> list[Event]:
            events = self._current.batch()
            return [events[place] for place, _ in kept]

        return _Batches(self, max_, within, as_events)

    def take_with_timestamp(self, max_: int, within: Any = None, timestamp_field_name: str = "timestamp") -> _Batches[T]:
        """As `take`, with the record's timestamp (seconds) under that name in each value that is a dict."""

        def stamped(kept: Kept) -> list[Any]:
            records = self._cursor.records
            for place, value in kept:
                if isinstance(value, dict):
                    value[timestamp_field_name] = records[place].timestamp()[1] / 1000
            return [value for _, value in kept]

        return _Batches(self, max_, within, stamped)

    async def ack(self, event: Any) -> bool:
        """Declare the event's record done now."""
        return cast("bool", event.ack())

    # --- operators

    def add_processor(self, processor: Callable[[Any], Any]) -> None:
        """Pass every value through `processor` (async or not) before the agent sees it."""
        self._process_by(Processor(processor))

    def filter(self, fun: Callable[[Any], Any]) -> Stream[T]:
        """Leave out the values for which `fun` (async or not) is false; their records are done."""

        async def keep(value: Any) -> Any:
            if not await maybe_async(fun(value)):
                raise Skip
            return value

        self._process_by(Processor(keep, changes_value=False))
        return self

    def echo(self, *channels: Any) -> Stream[T]:
        """Send each value also to these topics."""
        topics = [
            self.derive_topic(channel) if isinstance(channel, str) else self.agent.app.topic_of(channel) for channel in channels
        ]

        async def echoing(value: Any) -> Any:
            for topic in topics:
                await topic.send(value=value)
            return value

        self._process_by(Processor(echoing, changes_value=False))
        return self

    def _process_by(self, processor: Processor) -> None:
        if self._is_iterated_bare:
            raise ImproperlyConfigured(f"agent {self.agent.name}: give the stream its processors before the loop over it begins")
        self._processors.append(processor)

    def through(self, channel: Any) -> Stream[T]:
        """Send the records on to a topic and go on with what comes out of it, maybe on another worker."""
        topic = self.derive_topic(channel) if isinstance(channel, str) else self.agent.app.topic_of(channel)
        return self._move("through", topic, None)

    def group_by(self, key: Any, *, name: str | None = None, topic: Any = None, partitions: int | None = None) -> Stream[T]:
        """Send the records on under another key and go on with those of this worker's partitions.

        `key`: a model's field (`Order.customer`), a field's name, or a function of the value (then `name=` is needed).
        """
        suffix = name or (key.ident if isinstance(key, FieldDescriptorT) else key if isinstance(key, str) else None)
        if not suffix:
            raise TypeError("group_by with a function needs a name: stream.group_by(function, name=…)")
        if topic is None:
            source = self.agent.source_topic
            prefix = "" if source.has_prefix else f"{self.prefix}-"
            topic = source.derive_topic(
                topics=[f"{prefix}{source.get_topic_name()}-{suffix}-repartition"],
                partitions=partitions or self.agent.app.settings.topics.topic_partitions,
                internal=True,
                has_prefix=True,
            )
        return self._move("group_by", self.agent.app.topic_of(topic), _key_function(key))

    def _move(self, what: str, topic: Any, key: Callable[[Any], Any] | None) -> Stream[Any]:
        if self.agent.concurrency > 1:
            raise ImproperlyConfigured(f"agent {self.agent.name}: stream.{what} needs concurrency=1")
        if self._moved is not None or self._is_moved:
            raise ImproperlyConfigured(f"agent {self.agent.name}: a stream has one group_by or through")
        self.move = Move(topic, key, tuple(self._processors), self.agent.source_topic.topics[0])
        # The cursor reads the repartition topic already: an agent of its own carries the records there (see repartition.py).
        self._moved = moved = Stream.over(self._cursor, self.agent, self._current)
        moved._is_moved = True
        moved._processors = [processor for processor in self._processors if processor.changes_value]
        return moved

    def get_active_stream(self) -> Stream[Any]:
        return self._moved.get_active_stream() if self._moved is not None else self

    def get_root_stream(self) -> Stream[Any]:
        return self

    def derive_topic(self, name: str, **options: Any) -> Any:
        """Return a topic of that name with this stream's types."""
        options.setdefault("partitions", None)
        return self.agent.source_topic.derive_topic(topics=[name], **options)

    # --- what does not work

    def noack(self) -> NoReturn:
        refuse("stream.noack()", "take(n, within=…) holds several records at a time; event.ack() ends one early")

    def noack_take(self, max_: int, within: Any) -> NoReturn:
        refuse("stream.noack_take()", "take(n, within=…) holds several records at a time")

    def combine(self, *nodes: Any, **options: Any) -> NoReturn:
        refuse("stream.combine()", 'read both topics with one agent: @app.agent(app.topic("a", "b"))')

    def __and__(self, other: Any) -> NoReturn:
        refuse("stream & stream", 'read both topics with one agent: @app.agent(app.topic("a", "b"))')

    def join(self, *fields: Any) -> NoReturn:
        refuse("stream.join()", JOIN_IDIOM)

    def left_join(self, *fields: Any) -> NoReturn:
        refuse("stream.left_join()", JOIN_IDIOM)

    def inner_join(self, *fields: Any) -> NoReturn:
        refuse("stream.inner_join()", JOIN_IDIOM)

    def outer_join(self, *fields: Any) -> NoReturn:
        refuse("stream.outer_join()", JOIN_IDIOM)

    def contribute_to_stream(self, active: Any) -> NoReturn:
        refuse("stream.contribute_to_stream()", JOIN_IDIOM)

    async def remove_from_stream(self, stream: Any) -> NoReturn:
        refuse("stream.remove_from_stream()", JOIN_IDIOM)

    async def throw(self, exc: BaseException) -> NoReturn:
        refuse("stream.throw()", "raise in the agent")

    def clone(self, **options: Any) -> NoReturn:
        refuse("stream.clone()", "pass the stream itself")

    def __copy__(self) -> NoReturn:
        refuse("copy(stream)", "pass the stream itself")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("streams are asynchronous: async for value in stream")

    def __next__(self) -> Any:
        raise TypeError("streams are asynchronous: async for value in stream")

    def info(self) -> Mapping[str, Any]:
        return {"app": self.app, "channel": self.channel, "prefix": self.prefix}

    def _human_channel(self) -> str:
        return str(self.channel)

    @property
    def label(self) -> str:
        return f"Stream: {self._human_channel()}"

    @property
    def shortlabel(self) -> str:
        return self.label


class _Mapped(Generic[T]):
    """A stream's values, each as something else.

    An iterator and no generator: a generator that the agent's failure leaves behind would be closed whenever the collector finds
    it.
    """

    __slots__ = ("_change", "_stream")

    def __init__(self, stream: Stream[Any], change: Callable[[Any], T]) -> None:
        self._stream = stream
        self._change = change

    def __aiter__(self) -> _Mapped[T]:
        return self

    async def __anext__(self) -> T:
        return self._change(await self._stream.__anext__())


class _Batches(Generic[T]):
    """A stream's records in lists."""

    __slots__ = ("_limit", "_shape", "_stream", "_within")

    def __init__(self, stream: Stream[Any], limit: int, within: Any, shape: Callable[[Kept], list[T]]) -> None:
        if limit < 1:
            raise ValueError(f"take({limit}): must be at least 1")
        bound = stream.agent.app.settings.stream.stream_buffer_maxsize
        if not within and limit > bound:
            raise ImproperlyConfigured(
                f"take({limit}) without within= can never fill: STREAMAPP_STREAM_BUFFER_MAXSIZE is {bound} records per partition"
            )
        self._stream = stream
        self._limit = limit
        self._within = want_seconds(within) if within else None
        self._shape = shape

    def __aiter__(self) -> _Batches[T]:
        return self

    async def __anext__(self) -> list[T]:
        stream = self._stream
        while True:
            kept: Kept = []
            for place, value in enumerate(await stream._cursor.take(self._limit, self._within)):
                try:
                    kept.append((place, await stream._processed(value) if stream._processors else value))
                except Skip:
                    continue
            if kept:
                return self._shape(kept)


def _key_function(key: Any) -> Callable[[Any], Any]:
    """Return the function that makes the new key of a value."""
    if isinstance(key, FieldDescriptorT):
        return key.getattr
    if isinstance(key, str):

        def of_field(value: Any) -> Any:
            return value[key] if isinstance(value, Mapping) else getattr(value, key)

        return of_field
    return cast("Callable[[Any], Any]", key)


__all__ = ["Move", "Processor", "Stream"]
