"""The job of the group tests: per customer a running count in a table, duplicates dropped, one output per order.

Plain values for the engine, no shell: `Sums.agent()` and `Sums.tables()` are what an app would declare.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import msgspec

from streamapp.errors import Permanent, Transient
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import current_savepoint
from streamapp.pipeline.spec import AgentSpec, DedupeSpec, SourceSpec, TableSpec
from streamapp.pipeline.table import TableHandle

WEEK = 7 * 86_400.0
Before: TypeAlias = "Callable[[Order], Awaitable[None]]"


class Order(msgspec.Struct, frozen=True):
    """`do`: what the agent shall do with it besides: `raise`, `refuse` (permanent), `wobble` (transient), `big`, `half`."""

    i: int
    c: str
    do: str = ""


class Line(msgspec.Struct, frozen=True):
    """An output: order `i` was customer `c`'s `n`-th."""

    i: int
    c: str
    n: int
    pad: str = ""


class Bug(Exception):
    """What the agent raises on `raise` and `half`."""


@dataclass
class Sums:
    """One member's copy of the job; all members of a group have the same names."""

    app: str
    sources: tuple[str, ...]
    out: str
    dlq: str | None = None
    dedupe: bool = True
    horizon: float = WEEK
    table_too: bool = True
    retry: Retry = field(default_factory=lambda: Retry(attempts=3, base=0.05, budget=2.0, jitter="none"))
    concurrency: int = 1
    before: Before | None = None
    """Called with each order before anything is done with it; may wait, or raise."""
    after: Before | None = None
    """Called once all of it is in its savepoint, which is still open."""
    name: str = "sums"
    changelog_config: Mapping[str, str] = field(default_factory=dict)
    big: int = 60_000
    """Bytes of an output for an order that says `big`."""
    table: TableHandle | None = None
    """Set once the engine is built."""
    seen: list[int] = field(default_factory=list)
    """Ids of the orders that were begun here, one entry per attempt."""

    @property
    def sums_changelog(self) -> str:
        return f"{self.app}-{self.name}-changelog"

    @property
    def marks_changelog(self) -> str:
        return f"{self.app}-{self.name}-marks-changelog"

    def agent(self) -> AgentSpec:
        decode = msgspec.json.Decoder(Order).decode
        return AgentSpec(
            name=self.name,
            sources=tuple(SourceSpec(topic=topic, decode=decode) for topic in self.sources),
            run=self._run,
            dlq=self.dlq,
            retry=self.retry,
            concurrency=self.concurrency,
            dedupe=DedupeSpec(table=f"{self.name}-marks", key=_id_of, encode=_mark) if self.dedupe else None,
        )

    def tables(self) -> list[TableSpec]:
        tables = []
        if self.table_too:
            tables.append(
                TableSpec(
                    name=self.name,
                    topics=self.sources,
                    changelog=self.sums_changelog,
                    changelog_config=self.changelog_config,
                )
            )
        if self.dedupe:
            tables.append(
                TableSpec(
                    name=f"{self.name}-marks",
                    topics=self.sources,
                    changelog=self.marks_changelog,
                    horizon=self.horizon,
                    changelog_config=self.changelog_config,
                )
            )
        return tables

    async def _run(self, cursor: Cursor) -> None:
        while True:
            order = cast("Order", await anext(cursor))
            self.seen.append(order.i)
            if self.before is not None:
                await self.before(order)
            self._work(order)
            if self.after is not None:
                await self.after(order)

    def _work(self, order: Order) -> None:
        savepoint = current_savepoint.get()
        assert savepoint is not None
        count = 0
        if self.table is not None:
            key = order.c.encode()
            count = int(self.table.get(key) or 0) + 1
            self.table.put(key, b"%d" % count)
        if order.do == "refuse":
            raise Permanent("refused, as it asks for")
        if order.do == "wobble":
            raise Transient("wobbles, as it asks for")
        if order.do == "raise":
            raise Bug("raises, as it asks for")
        pad = "x" * self.big if order.do == "big" else ""
        line = msgspec.json.encode(Line(i=order.i, c=order.c, n=count, pad=pad))
        savepoint.send((self.out, line, order.c.encode(), -1, savepoint.timestamp_ms, savepoint.headers))
        if order.do == "half":
            raise Bug("raises after it sent")


def _id_of(order: Any) -> object:
    return order.i


def _mark(key: object) -> bytes:
    return b"%d" % cast("int", key)
