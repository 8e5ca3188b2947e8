"""Why a lane starts no record, as it is told to an operator: kinds and error classes, never what an exception says of a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from streamapp.pipeline.facts import StandsFor, Standstill
from streamapp.pipeline.isolation import ISOLATION
from streamapp.pipeline.lane import LaneState

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Inlet, Lane
    from streamapp.pipeline.obstacles import Why

_STATES: Final[dict[LaneState, StandsFor]] = {
    LaneState.ASSIGNED: "restoring",
    LaneState.RESTORING: "restoring",
    LaneState.REWINDING: "rewinding",
}


def standstills(lane: Lane, shut: tuple[float, str] | None, wall: Callable[[float], float]) -> tuple[Standstill, ...]:
    """Return why `lane` starts no record, the oldest reason first; empty where it may.

    `shut`: since when no lane of the worker may, and why. `wall` turns monotonic seconds into seconds since 1970.
    """
    return tuple(sorted(_all_of(lane, shut, wall), key=lambda standstill: standstill.since))


def _all_of(lane: Lane, shut: tuple[float, str] | None, wall: Callable[[float], float]) -> Iterator[Standstill]:
    if (kind := _STATES.get(lane.state)) is not None:
        yield Standstill(kind, wall(lane.moved_at))
    if shut is not None:
        yield Standstill("paused", wall(shut[0]), detail=shut[1])
    for reason, why in list(lane.whys.items()):
        inlet = next((inlet for inlet in lane.inlets if inlet.agent.name == why.agent), None)
        if reason == ISOLATION:
            yield _isolated(lane, wall(why.since))
        elif why.kind == "breaker" and inlet is not None:
            yield _broken(inlet, why, wall(why.since))
        else:
            yield Standstill(why.kind, wall(why.since), why.agent, why.offset, _attempt(inlet, why.offset), why.detail)


def _isolated(lane: Lane, since: float) -> Standstill:
    if lane.life is not None and lane.life.is_suspect:
        return Standstill("suspect", since, detail="its records are tried one by one, when it is its turn")
    return Standstill("paused", since, detail="the records of a suspect are tried one by one")


def _broken(inlet: Inlet, why: Why, since: float) -> Standstill:
    offset = inlet.head_offset if inlet.queue else None
    error = "" if inlet.breaker is None else inlet.breaker.last_error.partition(":")[0]
    return Standstill("breaker", since, why.agent, offset, _attempt(inlet, offset), f"last error {error}" if error else "")


def _attempt(inlet: Inlet | None, offset: int | None) -> int | None:
    """Return which attempt comes next; None where none comes, or it would be the first."""
    tries = None if inlet is None or offset is None else inlet.retries.get(offset)
    return None if tries is None else tries.calls + 1


__all__ = ["standstills"]
