"""`agent.test_context()`: one agent in memory. No broker, no thread, no directory.

    async with order_processor.test_context() as agent:
        await agent.put(Order(...), key="ann")
        assert agent.sent[0].topic == "orders-priced"

A record is a savepoint as in a worker: what it sends and writes is kept when it is done, and dropped when it fails; then `put`
raises what the agent raised. There are no retries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from faust.exceptions import Skip
from mode.utils.futures import maybe_async

from streamapp.errors import SavepointEnded
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.pipeline.spec import SourceSpec
from streamapp.records import Headers, Outgoing
from streamapp.worker.events import Event
from streamapp.worker.handover import as_headers
from streamapp.worker.repartition import find_move
from streamapp.worker.stream import Move

if TYPE_CHECKING:
    from streamapp.worker.agents import Agent


@dataclass(frozen=True, slots=True)
class Sent:
    """What a record sent, as it would stand in Kafka."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int
    """-1: by the key."""
    timestamp: float
    """Seconds since 1970; 0: now."""
    headers: Headers

    @classmethod
    def of(cls, outgoing: Outgoing) -> Sent:
        topic, value, key, partition, timestamp, headers = outgoing
        return cls(topic, key, value, partition, timestamp / 1000, headers)


class MemoryRecord:
    """A RawRecord of a test."""

    def __init__(
        self, place: tuple[str, int, int], key: bytes | None, value: bytes | None, timestamp: float, headers: Headers
    ) -> None:
        self.place = place
        self._key = key
        self._value = value
        self._timestamp = timestamp
        self._headers = headers

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.place[2]

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Headers | None:
        return self._headers or None

    def timestamp(self) -> tuple[int, int]:
        return 1, int(self._timestamp * 1000)

    def under(self, key: bytes | None) -> MemoryRecord:
        """Return the record as it stands behind a `group_by`."""
        return MemoryRecord(self.place, key, self._value, self._timestamp, self._headers)


class MemorySavepoint(Savepoint):
    """A savepoint whose tables are dicts."""

    __slots__ = ("kept", "marks")

    def __init__(self, record: MemoryRecord) -> None:
        self.record = record
        self.exclusive = True
        self.is_open = True
        self.entry = None
        self.outputs = None
        self.mark = None
        self.writes = None
        self.below = None
        self.kept: dict[tuple[str, bytes], bytes | None] = {}
        self.marks: dict[bytes, int] = {}

    def _ended(self, what: str) -> str:
        return f"{what} for offset {self.record.offset()} after that record was done"


class MemoryTable:
    """The tables' end: what records wrote so far, with the record in hand on top."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        kept = self._kept()
        if kept is not None and (self.name, key) in kept:
            return kept[self.name, key]
        return self.rows.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        kept = self._kept()
        if kept is not None:
            kept[self.name, key] = value
        else:
            self.apply(key, value)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        over = {key: value for (name, key), value in (self._kept() or {}).items() if name == self.name}
        merged = {**self.rows, **over}
        return ((key, value) for key, value in sorted(merged.items()) if value is not None)

    def apply(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = value

    def _kept(self) -> dict[tuple[str, bytes], bytes | None] | None:
        savepoint = current_savepoint.get()
        if not isinstance(savepoint, MemorySavepoint):
            return None
        if not savepoint.is_open:
            raise SavepointEnded(savepoint._ended("table access"))
        return savepoint.kept


class MemoryCursor:
    """A cursor over what the test puts."""

    def __init__(self, harness: AgentHarness) -> None:
        self._harness = harness
        self.savepoint: Savepoint | None = None
        self.record: Any = None
        self.value: Any = None
        self.records: list[Any] = []
        self.values: list[Any] = []

    def __aiter__(self) -> MemoryCursor:
        return self

    async def __anext__(self) -> Any:
        self.finish()
        self.records, self.values = [], []
        while True:
            record = await self._harness._queue.get()
            self.savepoint = savepoint = MemorySavepoint(record)
            current_savepoint.set(savepoint)
            self.record = record
            taken, value = await self._taken(record)
            if not taken:
                self.finish()
                continue
            self.value = value
            return value

    async def take(self, limit: int, within: float | None) -> list[Any]:
        first = await anext(self)
        self.records, self.values = [self.record], [first]
        ends_at = None if within is None else time.monotonic() + within
        while len(self.values) < limit:
            try:
                async with asyncio.timeout(None if ends_at is None else max(0.0, ends_at - time.monotonic())):
                    record = await self._harness._queue.get()
            except TimeoutError:
                break
            cast("Any", self.savepoint).record = self.record = record
            taken, value = await self._taken(record)
            if taken:
                self.records.append(record)
                self.values.append(value)
        return self.values

    async def _taken(self, record: MemoryRecord) -> tuple[bool, Any]:
        """Decode, dedupe and (behind a `group_by`) filter and re-key; False when the agent does not see the record."""
        harness = self._harness
        raw = record.value()
        value = None if raw is None else harness._sources[record.topic()].decode(raw)
        dedupe = harness._agent.dedupe
        if dedupe is not None and harness._is_duplicate(dedupe, value, record):
            return False, value
        if harness._move is not None:
            try:
                carried = value
                for processor in harness._move.processors:
                    carried = await maybe_async(processor.function(carried))
                if harness._move.key is not None:
                    key = await maybe_async(harness._move.key(carried))
                    self.record = record.under(harness._move.topic.encoded_key(key))
                    cast("Any", self.savepoint).record = self.record
            except Skip:
                return False, value
        return True, value

    def finish(self) -> None:
        savepoint, self.savepoint = self.savepoint, None
        if savepoint is not None:
            self._harness._done(cast("MemorySavepoint", savepoint), self.records or [self.record], self.values or [self.value])

    def fail(self) -> MemorySavepoint | None:
        """Drop the record in hand and return its savepoint."""
        savepoint, self.savepoint = self.savepoint, None
        if savepoint is not None:
            savepoint.is_open = False
        return cast("MemorySavepoint | None", savepoint)


class AgentHarness:
    """An agent as a test drives it. An async context manager."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.sent: list[Sent] = []
        """What records sent, in order."""
        self.results: dict[int, Any] = {}
        """By offset: what the agent yielded last for the record, or the value it has processed."""
        self._topic = agent.source_topic
        self._sources: dict[str, SourceSpec] = {}
        self._queue: asyncio.Queue[MemoryRecord] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._next_offset = 0
        self._tables: dict[str, MemoryTable] = {}
        self._marks: dict[bytes, int] = {}
        self._move: Move | None = None
        self._task: asyncio.Task[None] | None = None
        self._cursor: MemoryCursor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    async def __aenter__(self) -> Self:
        self._agent.check()
        self._move = await find_move(self._agent)
        self._sources = {name: self._topic.source(name) for name in self._topic.topics}
        for name, table in self._agent.app.tables.items():
            self._tables[name] = MemoryTable(name)
            table.bind(self._tables[name])
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"test of agent {self._agent.name}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for table in self._agent.app.tables.values():
            table.release()

    async def put(
        self,
        value: Any = None,
        key: Any = None,
        partition: int | None = None,
        timestamp: float | None = None,
        headers: Any = None,
        *,
        topic: str | None = None,
        wait: bool = True,
    ) -> Event:
        """Give the agent one record; with `wait`, return when it is done. Raises what the agent raises on it."""
        name = topic or self._topic.topics[0]
        offset, self._next_offset = self._next_offset, self._next_offset + 1
        record = MemoryRecord(
            (name, partition or 0, offset),
            self._topic.encoded_key(key),
            self._topic.encoded_value(value),
            time.time() if timestamp is None else timestamp,
            as_headers(headers) or [],
        )
        done = self._waiting[offset] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(record)
        if wait:
            await self._until(done)
        raw = record.value()
        source = self._sources[name]
        decoded = None if raw is None else source.decode(raw)
        return Event.of(self._agent.app, source, record, decoded, MemoryCursor(self), None)

    async def drain(self) -> None:
        """Return when every record that was put is done. Raises what the agent raised on one of them."""
        for done in list(self._waiting.values()):
            await self._until(done)

    def table(self, name: str) -> dict[Any, Any]:
        """Return a table's rows."""
        return dict(self._agent.app.tables[name].items())  # type: ignore[union-attr]

    async def _until(self, done: asyncio.Future[None]) -> None:
        task = cast("asyncio.Task[None]", self._task)
        await asyncio.wait({done, task}, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            task.result()
        done.result()

    async def _run(self) -> None:
        """One life of the agent after the other; a failure is its record's."""
        while True:
            self._cursor = cursor = MemoryCursor(self)
            try:
                await self._agent.live(cursor, self._sources, self._yielded)
                cursor.finish()
            except Exception as failure:  # the agent's own: the test hears of it
                batch = cursor.records or ([cursor.record] if cursor.record is not None else [])
                if cursor.fail() is None or not batch:
                    raise
                for record in batch:
                    self._settle(record.offset(), failure)

    def _yielded(self, value: Any) -> None:
        cursor = self._cursor
        if cursor is not None and cursor.record is not None:
            self.results[cursor.record.offset()] = value

    def _done(self, savepoint: MemorySavepoint, records: list[MemoryRecord], values: list[Any]) -> None:
        savepoint.is_open = False
        self.sent += [Sent.of(outgoing) for outgoing in savepoint.outputs or ()]
        self._marks.update(savepoint.marks)
        for (name, key), value in savepoint.kept.items():
            self._tables[name].apply(key, value)
        for record, value in zip(records, values, strict=True):
            self.results.setdefault(record.offset(), value)
            self._settle(record.offset(), None)

    def _settle(self, offset: int, failure: Exception | None) -> None:
        done = self._waiting.pop(offset, None)
        if done is None or done.done():
            return
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
            done.exception()  # a put that does not wait is no error of the loop's

    def _is_duplicate(self, dedupe: Any, value: Any, record: MemoryRecord) -> bool:
        spec = dedupe.spec()
        key = spec.encode(spec.key(value))
        at = record.timestamp()[1]
        mark = self._marks.get(key)
        if mark is not None and at < mark + dedupe.table.horizon * 1000:
            return True
        # Kept with the record: one that fails leaves no mark.
        cast("MemorySavepoint", current_savepoint.get()).marks[key] = at
        return False


__all__ = ["AgentHarness", "MemoryRecord", "Sent"]
