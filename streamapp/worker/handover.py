"""Where a send goes: into the record in hand, into the worker's transaction, or to a script's own producer."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator
from typing import Any, Protocol

from faust.types.tuples import TP, RecordMetadata

from streamapp.pipeline.savepoint import current_savepoint
from streamapp.records import Headers, Outgoing


class HandedOver:
    """What a send inside a worker returns: it is done at once, and its offset is unknown until the commit.

    One per topic, shared by all sends. Awaiting the commit inside the record that the commit waits for would never end, so
    awaiting this does not wait: `offset` and `partition` of the metadata are -1.
    """

    __slots__ = ("_metadata",)

    def __init__(self, topic: str) -> None:
        self._metadata = RecordMetadata(topic=topic, partition=-1, topic_partition=TP(topic, -1), offset=-1)

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        yield from ()  # a generator that never waits
        return self._metadata

    def result(self) -> RecordMetadata:
        return self._metadata

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def exception(self) -> None:
        return None

    def add_done_callback(self, callback: Callable[[HandedOver], object]) -> None:
        callback(self)


class Delivery:
    """What a send outside a worker returns: await it for the metadata with the offset that the broker gave."""

    def __init__(self) -> None:
        self.future: concurrent.futures.Future[RecordMetadata] = concurrent.futures.Future()

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        return asyncio.wrap_future(self.future).__await__()

    def result(self) -> RecordMetadata:
        """Return the metadata. Raises InvalidStateError before the delivery is known."""
        if not self.future.done():
            raise asyncio.InvalidStateError("the broker has not answered yet: await it")
        return self.future.result()

    def done(self) -> bool:
        return self.future.done()

    def cancelled(self) -> bool:
        return False

    def exception(self) -> BaseException | None:
        return self.future.exception() if self.future.done() else None

    def add_done_callback(self, callback: Callable[[Delivery], object]) -> None:
        """Call `callback` once the broker answered, on the producer's thread."""
        self.future.add_done_callback(lambda _: callback(self))


class RunningEngine(Protocol):
    """What a send asks of a running engine."""

    def send(self, outgoing: Outgoing) -> None: ...


class Sender(Protocol):
    """Where sends of this process go when no record is in hand."""

    @property
    def engine(self) -> RunningEngine | None:
        """The worker's engine while it runs; None in scripts, commands and tests."""
        ...

    def send_outside(self, outgoing: Outgoing) -> Delivery:
        """Send through the script's own idempotent producer."""
        ...


def hand_over(
    sender: Sender,
    handed_over: HandedOver,
    value: bytes | None,
    key: bytes | None,
    *,
    partition: int | None,
    timestamp: float | None,
    headers: Headers | None,
    exact_headers: bool = False,
) -> HandedOver | Delivery:
    """Send one record by the way that this context has.

    What a record causes inherits its timestamp and headers; `headers` given by name replace inherited ones of that name, with
    `exact_headers` they are all there is.
    """
    topic = handed_over.result().topic
    number = -1 if partition is None else partition
    savepoint = current_savepoint.get()
    if savepoint is not None:
        when = savepoint.timestamp_ms if timestamp is None else int(timestamp * 1000)
        kept = headers or [] if exact_headers else merged(savepoint.headers, headers)
        savepoint.send((topic, value, key, number, when, kept))
        return handed_over
    outgoing = (topic, value, key, number, 0 if timestamp is None else int(timestamp * 1000), headers or [])
    engine = sender.engine
    if engine is not None:
        engine.send(outgoing)
        return handed_over
    return sender.send_outside(outgoing)


def merged(inherited: Headers, given: Headers | None) -> Headers:
    """Return the inherited headers with `given` behind them, in order; a name that is given is not inherited."""
    if not given:
        return inherited
    names = {name for name, _ in given}
    return [header for header in inherited if header[0] not in names] + given


def as_headers(headers: Any) -> Headers | None:
    """Return Faust's ways to give headers (mapping, pairs; text or bytes) as ours."""
    if headers is None:
        return None
    pairs = headers.items() if hasattr(headers, "items") else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


__all__ = ["Delivery", "HandedOver", "RunningEngine", "Sender", "as_headers", "hand_over", "merged"]
