"""An app to try the shell on: made anew for each test, never connected."""

from __future__ import annotations

from typing import Any

import msgspec

from streamapp import StreamApp
from streamapp.pipeline.savepoint import Savepoint
from streamapp.records import Headers, Outgoing, Partition
from streamapp.testing.memory_kafka import MemoryRecord


class Sale(msgspec.Struct, frozen=True):
    sku: str
    amount: int


def new_app(**options: Any) -> StreamApp:
    """Return an app that reads neither the environment nor this project's settings."""
    return StreamApp("shop", **options)


def record_of(
    offset: int = 0,
    key: bytes | None = b"k",
    value: bytes | None = b"1",
    headers: Headers | None = None,
    at: int = 5_000,
) -> MemoryRecord:
    """Return a record of `sales`, as the client library hands it over."""
    return MemoryRecord(Partition("sales", 2), offset, key, value, (1, at), headers)


class FakeSavepoint(Savepoint):
    """A savepoint that only collects."""

    __slots__ = ()

    def __init__(self, record: Any) -> None:
        self.record = record
        self.is_open = True
        self.outputs: list[Outgoing] | None = None
        self.mark = None

    def _ended(self, what: str) -> str:
        return f"{what} too late"


class Stopped(BaseException):
    """The fake cursor has no more records."""


class FakeCursor:
    """Hands out records, and remembers which were done."""

    def __init__(self, *values: Any) -> None:
        self.coming = list(values)
        self.savepoint: Any = None
        self.record: Any = None
        self.value: Any = None
        self.records: list[Any] = []
        self.values: list[Any] = []
        self.done: list[int] = []
        self.offset = -1

    def __aiter__(self) -> FakeCursor:
        return self

    async def __anext__(self) -> Any:
        from streamapp.pipeline.savepoint import current_savepoint

        self.finish()
        if not self.coming:
            raise Stopped
        self.offset += 1
        self.value = self.coming.pop(0)
        self.record = record_of(self.offset, key=b"key%d" % self.offset)
        self.savepoint = FakeSavepoint(self.record)
        current_savepoint.set(self.savepoint)
        return self.value

    async def take(self, limit: int, within: float | None) -> list[Any]:
        self.values, self.records = [await anext(self)], [self.record]
        while self.coming and len(self.values) < limit:
            self.offset += 1
            self.values.append(self.coming.pop(0))
            self.record = record_of(self.offset)
            self.savepoint.record = self.record
            self.records.append(self.record)
        return self.values

    def finish(self) -> None:
        if self.savepoint is not None:
            self.savepoint.is_open = False
            self.savepoint = None
            self.done.append(self.offset)
