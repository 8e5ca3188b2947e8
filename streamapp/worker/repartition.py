"""`group_by` and `through`: found before the start, and run as an agent of its own that carries the records to the new topic.

The engine has to know every source before the first record, but Faust's users name the topic inside the function. So a function
that mentions `group_by` or `through` is run once up to its first record, on a cursor that has none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from types import CodeType
from typing import Any, NoReturn, cast

from faust.exceptions import Skip
from mode.utils.futures import maybe_async

from streamapp.errors import ConfigurationError
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import Savepoint
from streamapp.pipeline.spec import AgentSpec, SourceSpec
from streamapp.records import RawRecord
from streamapp.worker.agents import Agent
from streamapp.worker.events import CurrentEvent, set_current_event
from streamapp.worker.stream import Move, Stream
from streamapp.worker.tables import function_of

log = logging.getLogger(__name__)

PROBE_SECONDS = 10.0
"""A function that has not asked for its first record after that long waits for something else."""


class _AskedForRecord(BaseException):
    """The function asked for its first record. A BaseException, so that its own `except Exception` lets it through."""


class _NoRecords:
    """A cursor that ends the probe when it is asked."""

    def __init__(self) -> None:
        self.savepoint: Savepoint | None = None
        self.record: RawRecord | None = None
        self.value: Any = None
        self.records: list[Any] = []
        self.values: list[Any] = []

    def __aiter__(self) -> _NoRecords:
        return self

    async def __anext__(self) -> NoReturn:
        raise _AskedForRecord

    async def take(self, limit: int, within: float | None) -> NoReturn:
        raise _AskedForRecord

    def finish(self) -> None:
        """Nothing is in hand."""


def mentions_move(function: Any) -> bool:
    """Return whether the function's code names `group_by` or `through`."""
    code = getattr(function_of(function), "__code__", None)
    return code is not None and _names_move(code)


def _names_move(code: CodeType) -> bool:
    if "group_by" in code.co_names or "through" in code.co_names:
        return True
    return any(isinstance(constant, CodeType) and _names_move(constant) for constant in code.co_consts)


async def find_move(agent: Agent) -> Move | None:
    """Return where the agent's stream goes on, None where it stays on its topic."""
    if not mentions_move(agent.fun):
        return None
    cursor = _NoRecords()
    stream = Stream.over(cursor, agent, CurrentEvent(agent.app, cursor, {}))
    life = agent.fun(stream)
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            if isinstance(life, Awaitable):
                await life
            else:
                await anext(cast("AsyncIterator[Any]", life))
    except (_AskedForRecord, StopAsyncIteration):
        pass
    except TimeoutError:
        raise ConfigurationError(
            f"agent {agent.name} names group_by or through, and did not ask for its first record within {PROBE_SECONDS:g} s: "
            "call it at the start of the function, before anything that waits"
        ) from None
    return stream.move


def carrier(agent: Agent, move: Move, sources: list[SourceSpec], *, retry: Retry, dlq: str | None) -> AgentSpec:
    """Return the agent that carries records of the source topic to the move's topic."""
    by_topic = {source.topic: source for source in sources}

    async def run(cursor: Cursor) -> None:
        current = CurrentEvent(agent.app, cursor, by_topic)
        set_current_event(current)
        while True:
            value = await anext(cursor)
            try:
                for processor in move.processors:
                    value = await maybe_async(processor.function(value))
            except Skip:
                continue
            event = current()
            if event is None:
                continue
            if move.key is None:
                await event.forward(move.topic)
            else:
                await event.forward(move.topic, key=await maybe_async(move.key(value)))

    return AgentSpec(name=f"{agent.name}-to-{move.topic.get_topic_name()}", sources=tuple(sources), run=run, retry=retry, dlq=dlq)


__all__ = ["carrier", "find_move", "mentions_move"]
