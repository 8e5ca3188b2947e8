"""The main thread's work for one record, alone: no broker, no disk, one thread. Steady to 1 %, where whole runs differ by 7.

    python -m tests.benchmarks.record_path

Cursor, savepoint, dedupe, admission, codecs and `topic.send` are the real ones. Where they would call a library, they call a C function that does
nothing: librdkafka's `produce` and RocksDB's `get` cost another 0.36 and 0.35 µs. What a part costs is told by runs without it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Final, cast

import click
import msgspec
from confluent_kafka import Message
from rich.console import Console
from rich.table import Table

from streamapp.clock import SystemClock
from streamapp.kafka.producer import KafkaProducer
from streamapp.pipeline.admission import Admission
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.decode import decoder_for
from streamapp.pipeline.dedupe import Dedupe
from streamapp.pipeline.lane import Inlet, Lane, LaneState, Line
from streamapp.pipeline.overlay import TablePartition
from streamapp.pipeline.spec import DedupeSpec, SourceSpec
from streamapp.records import Partition
from streamapp.state.rocksdb import RocksStore
from tests.benchmarks.dedupe_app import Order, out

RECORDS: Final = 50_000
SOURCE: Final = Partition("orders", 0)


class Over(BaseException):
    """All records are done."""


def records(count: int = RECORDS) -> list[Message]:
    """Return what the client library would hand over."""
    value = b'{"order_id":"o-%08d","customer":"c-%d","sku":"sku-%d","quantity":3,"unit_price_cents":1999}'
    return [
        Message(*SOURCE, at, b"c-%d" % (at % 1000), value % (at, at % 1000, at % 50), None, None, (1, 1_700_000_000_000 + at))
        for at in range(count)
    ]


def path(waiting: list[Message], *, decodes: bool, dedupes: bool) -> tuple[Cursor, Admission]:
    """Return a cursor that hands out `waiting`, and where its records are admitted."""
    admission = Admission(SystemClock(), overlay_max_bytes=1 << 40, every=None)
    producer = KafkaProducer({"bootstrap.servers": "127.0.0.1:1"}, transactional=False)
    producer._producer = cast("Any", SimpleNamespace(produce="".format, close=lambda: None))
    admission.producer, admission.transaction_open, admission.gate_open = producer, True, True
    store = RocksStore.__new__(RocksStore)
    store._get = cast("Any", {}.get)
    lane = Lane(SOURCE, Line(0), 1)
    lane.line.lanes = [lane]
    for state in (LaneState.RESTORING, LaneState.RUNNING):
        lane.move(state)
    lane.tables = {"seen": TablePartition("seen", 0, Partition("changelog", 0), store, print)}
    key = DedupeSpec(table="seen", key=lambda order: cast("Order", order).order_id, encode=msgspec.json.Encoder().encode)
    nothing = SimpleNamespace(began=str, ended=str, drained=str, serve=str, spent=0.0, slow=SimpleNamespace(add=str))
    agent: Any = SimpleNamespace(
        admission=admission,
        dedupe=Dedupe(key, 86_400.0) if dedupes else None,
        sources={SOURCE.topic: SourceSpec(topic=SOURCE.topic, decode=decoder_for(Order) if decodes else len)},
        work=nothing,
        engine=nothing,
        waiters=[],
    )
    inlet = Inlet(lane, agent, 0)
    inlet.queue = deque(cast("Any", waiting))

    def pick() -> Inlet:
        if not inlet.queue:
            raise Over
        return inlet

    agent.pick = pick
    return Cursor(agent), admission


async def forward(orders: AsyncIterator[Order]) -> None:
    async for order in orders:
        await out.send(key=order.customer, value=order)


async def look(orders: AsyncIterator[Order]) -> None:
    async for _ in orders:
        pass


async def nanoseconds(waiting: list[Message], *, decodes: bool = True, dedupes: bool = True, sends: bool = True) -> float:
    """Return the CPU time of one record."""
    cursor, admission = path(waiting, decodes=decodes, dedupes=dedupes)
    gc.collect()
    gc.disable()
    began = time.thread_time_ns()
    try:
        await (forward if sends else look)(cast("Any", cursor))
    except Over:
        spent = time.thread_time_ns() - began
    finally:
        gc.enable()
    if admission.unit.records != len(waiting):
        raise AssertionError(f"{admission.unit.records} records were admitted, of {len(waiting)}")
    return spent / len(waiting)


VARIANTS: Final[dict[str, dict[str, bool]]] = {
    "the whole": {},
    "without sending": {"sends": False},
    "without dedupe": {"dedupes": False},
    "without either": {"sends": False, "dedupes": False},
    "without decoding, too": {"sends": False, "dedupes": False, "decodes": False},
}


@click.command()
@click.option("--runs", default=9, show_default=True)
def main(runs: int) -> None:
    """Measure the record path."""
    waiting = records()
    shown = Table(title=f"CPU of a record on the main thread, ns; {runs} runs of {RECORDS:,}", title_justify="left")
    for column in ("", "best", "median"):
        shown.add_column(column, justify="right" if column else "left")
    for name, parts in VARIANTS.items():
        found = sorted(asyncio.run(nanoseconds(waiting, **parts)) for _ in range(runs))
        shown.add_row(name, f"{found[0]:,.0f}", f"{found[len(found) // 2]:,.0f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
