"""What a tracer may hear of the engine's work, and the cursors that tell it. Without one, the plain cursors run and nothing is looked at.

A *call* is an agent's work on one record, over all its attempts, or on one batch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from streamapp.pipeline.cursor import Cursor, Rewound
from streamapp.pipeline.holding import HoldingCursor
from streamapp.records import Partition

if TYPE_CHECKING:
    from streamapp.pipeline.dead_letter import Stage
    from streamapp.pipeline.holding import Holding
    from streamapp.pipeline.process import AgentRun
    from streamapp.pipeline.savepoint import Savepoint
    from streamapp.records import Outgoing, RawRecord


class Call(Protocol):
    """One call. Everything runs on the loop, in the actor's task."""

    trace_id: str | None
    """Lower-case hex; None where it is not known."""

    def entered(self) -> None:
        """An attempt begins: what the agent does in this context belongs to the call."""
        ...

    def left(self) -> None:
        """The attempt is over."""
        ...

    def batch(self, records: Sequence[RawRecord]) -> None:
        """The call is on all of these, of which it knew the first."""
        ...

    def sent(self, outputs: Sequence[Outgoing]) -> list[Outgoing]:
        """Return the call's outputs with what tells their readers where they come from. Before `done`."""
        ...

    def retried(self, attempt: int, failure: Exception, seconds: float) -> None:
        """That attempt failed; the next one comes in `seconds`."""
        ...

    def done(self) -> None: ...

    def failed(self, failure: Exception, reason: str) -> None:
        """It failed for good: its record is dead-lettered, or its partition stands at it."""
        ...

    def dropped(self, why: str) -> None:
        """Its record is read again, here or elsewhere."""
        ...


class CommitCall(Protocol):
    """One commit, on the transaction thread."""

    def done(self) -> None: ...

    def failed(self, failure: Exception) -> None: ...


class Tracer(Protocol):
    """Who hears of calls and commits."""

    def call(self, record: RawRecord) -> Call: ...

    def commit(self, records: int) -> CommitCall: ...


class Calls:
    """The calls whose record is not in hand: between two attempts, or about to be dead-lettered. On the loop."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._between: dict[tuple[str, Partition, int], Call] = {}

    def begin(self, agent: str, savepoint: Savepoint) -> Call:
        """Return the call that goes on with this attempt."""
        return self._between.pop(_place(agent, savepoint), None) or self._tracer.call(savepoint.record)

    def keep(self, agent: str, savepoint: Savepoint, call: Call) -> None:
        """The attempt failed; what becomes of it is being decided."""
        self._between[_place(agent, savepoint)] = call

    def split(self, agent: str, savepoint: Savepoint) -> None:
        """The call was on a batch, whose records come one by one now."""
        if (call := self._between.pop(_place(agent, savepoint), None)) is not None:
            call.dropped("batch split")

    def trace_of(self, agent: str, partition: Partition, offset: int) -> str | None:
        call = self._between.get((agent, partition, offset))
        return None if call is None else call.trace_id

    def retried(self, agent: str, partition: Partition, offset: int, attempt: int, failure: Exception, seconds: float) -> None:
        if (call := self._between.get((agent, partition, offset))) is not None:
            call.retried(attempt, failure, seconds)

    def failed(self, agent: str, partition: Partition, offset: int, failure: Exception, reason: str) -> None:
        if (call := self._between.pop((agent, partition, offset), None)) is not None:
            call.failed(failure, reason)

    def gone(self, partitions: Collection[Partition]) -> None:
        """Other workers have these now."""
        for place in [place for place in self._between if place[1] in partitions]:
            self._between.pop(place).dropped("partition gone")


def _place(agent: str, savepoint: Savepoint) -> tuple[str, Partition, int]:
    return agent, savepoint.lane.partition, cast("int", savepoint.record.offset())


class _Told(Cursor):
    """A cursor that tells of its records."""

    # Without slots of its own, as two bases that have some cannot be joined.
    _call: Call | None
    _calls: Calls

    async def __anext__(self) -> object:
        self.finish()  # by name: the plain cursor may do that in place
        value = await super().__anext__()
        savepoint = cast("Savepoint", self.savepoint)
        self._call = self._calls.begin(self.agent.name, savepoint)
        self._call.entered()
        return value

    async def take(self, limit: int, within: float | None) -> list[object]:
        values = await super().take(limit, within)
        if self._call is not None and len(self.records) > 1:
            self._call.batch(self.records)
        return values

    def finish(self) -> None:
        savepoint, call = self.savepoint, self._call
        if savepoint is None or call is None:
            super().finish()
            return
        self._call = None
        if savepoint.outputs:
            savepoint.outputs = call.sent(savepoint.outputs)
        call.left()
        try:
            super().finish()
        except Rewound:
            call.dropped("rewound")
            raise
        call.done()

    def fail(self, failure: Exception, *, stage: Stage = "handler") -> None:
        savepoint, call = self.savepoint, self._call
        if savepoint is None:
            return
        self._call = None
        agent = self.agent.name
        if call is None:  # it never reached the agent
            call = self._calls.begin(agent, savepoint)
        else:
            call.left()
        self._calls.keep(agent, savepoint, call)
        is_batch = len(self._in_hand(savepoint)) > 1
        super().fail(failure, stage=stage)
        if is_batch:
            self._calls.split(agent, savepoint)

    def reset(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.left()
            call.dropped("rewound")
        super().reset()


class TracedCursor(_Told):
    """Hands out records and tells of them."""

    def __init__(self, agent: AgentRun, calls: Calls) -> None:
        super().__init__(agent)
        self._call, self._calls = None, calls


class TracedHoldingCursor(_Told, HoldingCursor):
    """The same for an agent that holds."""

    def __init__(self, agent: AgentRun, holding: Holding, calls: Calls) -> None:
        HoldingCursor.__init__(self, agent, holding)
        self._call, self._calls = None, calls


def cursor_of(agent: AgentRun, holding: Holding | None, calls: Calls | None) -> Cursor:
    """Return the cursor that an agent needs, and no more than that: it is the record path."""
    if calls is None:
        return Cursor(agent) if holding is None else HoldingCursor(agent, holding)
    return TracedCursor(agent, calls) if holding is None else TracedHoldingCursor(agent, holding, calls)


__all__ = ["Call", "Calls", "CommitCall", "Tracer", "cursor_of"]
