"""An agent that blocks keys, on fakes: what it is given, what fails, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from streamapp.errors import Permanent
from streamapp.pipeline.dead_letter import PREFIX, DeadLetter, read_dead_letter
from streamapp.pipeline.held import Blocked, HoldLimits, held_table, read_blocked, read_name
from streamapp.pipeline.spec import AgentSpec, TableSpec
from tests.support.fakes import FakeBroker
from tests.support.pipeline import Bench, agent, each, here, table

HELD = held_table("agent")


@dataclass
class Poison:
    """Which values the agent fails on, for as long as they are in it."""

    values: set[bytes] = field(default_factory=set)
    seen: list[bytes] = field(default_factory=list)
    """What the agent's function was called with, in order."""
    stalls_at: bytes | None = None
    """The value on which it waits for ever."""

    async def __call__(self, value: bytes) -> None:
        self.seen.append(value)
        if value in self.values:
            raise Permanent("as the test wants it")
        if value == self.stalls_at:
            await asyncio.Event().wait()
        record, savepoint = here().record, here()
        savepoint.send(("out", value, record.key(), record.partition() or 0, savepoint.timestamp_ms, savepoint.headers))


def blocking(
    body: Callable[[bytes], Awaitable[None]],
    *,
    topics: Sequence[str] = ("in",),
    hold: HoldLimits | None = None,
    name: str = "agent",
) -> AgentSpec:
    return agent(each(body), name=name, topics=topics, on_error="block_key", hold=hold)


def table_of(spec: AgentSpec) -> TableSpec:
    """Return the table of what the agent holds."""
    return table(held_table(spec.name), *spec.topics)


def letters(broker: FakeBroker) -> list[DeadLetter]:
    """Return the committed dead letters, in order."""
    with broker.lock:
        found = [
            read_dead_letter(record[5])
            for transaction in broker.transactions
            if transaction.committed
            for record in transaction.records
            if record[0] == "dlq"
        ]
    return [letter for letter in found if letter is not None]


def replay(broker: FakeBroker, letter: str, value: bytes, key: bytes | None, number: int = 0) -> None:
    """Send a dead letter again, as `dlq replay` does."""
    broker.feed("in", number, value, key=key, headers=[(f"{PREFIX}replay-of", letter.encode())])


def settle(bench: Bench, *ids: str) -> None:
    """Have these be resolved or discarded, and the engine hear of it."""
    bench.resolved.update(ids)
    bench.engine.settled(ids)


def held(rows: dict[bytes, bytes]) -> dict[bytes, Blocked]:
    """Return the blocked keys among rows of the table."""
    named = [(read_name(name)[1], value) for name, value in rows.items()]
    return {key: read_blocked(value) for key, value in named if isinstance(key, bytes)}


def outputs(broker: FakeBroker, of: Callable[[bytes], bool] = lambda value: True) -> list[bytes]:
    return [value for value in broker.values("out") if value is not None and of(value)]


__all__ = ["HELD", "Poison", "blocking", "held", "letters", "outputs", "replay", "settle", "table_of"]
