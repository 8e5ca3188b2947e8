"""How a worker is, for its probes: whether its loop turns, its records move, its first restore is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from streamapp.clock import Clock, SystemClock
from streamapp.pipeline.facts import EngineFacts, LaneFacts, StandsFor
from streamapp.worker.told import facts_of

LOOP_TURNS: Final = 10.0
"""Seconds within which the event loop has to turn: an attempt's time, after which blocking code is a fault."""
PROGRESS: Final = 300.0
"""Seconds within which some record has to be done while one is in hand: the group's own patience (`max_poll_interval`)."""
BEAT: Final = 1.0
"""Seconds between two looks of the loop at itself."""
ON_PURPOSE: Final[frozenset[StandsFor]] = frozenset(("retrying", "breaker", "stopped", "blocked", "unwritten", "restoring"))
"""What a partition may stand for as long as it takes: a restart cures none of it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class _Beat:
    """What the loop saw when it turned last. Frozen, and replaced whole: another thread reads it without a lock."""

    at: float
    """Monotonic seconds."""
    stuck: str | None
    """What has been in hand for too long, while nothing was done."""


class Health:
    """One worker's. The loop looks, once a second; what it saw may be asked on any thread, also while the loop is blocked."""

    def __init__(self, app: Any, clock: Clock | None = None) -> None:
        self.restored_once = False
        """Whether the worker was ready at least once."""
        self._app = app
        self._clock = clock or SystemClock()
        self._beat: _Beat | None = None
        self._done = -1
        """Records that were done or dead-lettered when some last were."""
        self._done_at = 0.0
        self._next: asyncio.TimerHandle | None = None

    # --- on the loop

    def start(self) -> None:
        """Look now and every second. May be called again."""
        self.stop()
        self._turn()

    def stop(self) -> None:
        """Look no more. May be called twice, and before `start`."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _turn(self) -> None:
        self._next = asyncio.get_running_loop().call_later(BEAT, self._turn)
        self.look()

    def look(self) -> None:
        """Take down that the loop turns, and whether records move."""
        now = self._clock.monotonic()
        facts = facts_of(self._app)
        if not self.restored_once and self._app.readiness()["ready"]:
            self.restored_once = True
        self._beat = _Beat(now, None if facts is None else self._stuck(facts, now))

    def _stuck(self, facts: EngineFacts, now: float) -> str | None:
        done = sum(agent.processed + sum(agent.dead_letters.values()) for agent in facts.agents)
        if done != self._done:
            self._done, self._done_at = done, now
        if now - self._done_at < PROGRESS:
            return None
        return next((_in_hand(lane) for lane in facts.lanes if _is_stuck(lane)), None)

    # --- on any thread

    def liveness(self) -> list[Check]:
        """Return what `/livez` looks at. Depends neither on the broker nor on the group: a restart cures neither."""
        beat = self._beat
        ago = 0.0 if beat is None else max(0.0, self._clock.monotonic() - beat.at)
        stuck = None if beat is None else beat.stuck
        return [
            Check("loop", ago < LOOP_TURNS, f"turned {ago:.1f} s ago, at most {LOOP_TURNS:g} s"),
            Check("progress", stuck is None, stuck or "records move, or wait on purpose, or there are none"),
        ]

    def startup(self, readiness: dict[str, Any]) -> Check:
        """Return what `/startupz` looks at."""
        if readiness["ready"]:
            self.restored_once = True
        told = "the first restore is done" if self.restored_once else str(readiness.get("failing", "starting"))
        return Check("startup", self.restored_once, told)


def failing(checks: list[Check]) -> Check | None:
    """Return the first that is not well."""
    return next((check for check in checks if not check.ok), None)


def conditions(facts: EngineFacts | None) -> Iterator[Check]:
    """Return what no probe depends on and an operator wants to see: partitions that stand."""
    stands: dict[str, list[str]] = {}
    for lane in () if facts is None else facts.lanes:
        for reason in lane.standstills:
            stands.setdefault(reason.kind, []).append(str(lane.partition))
    for name, kinds, well in (
        ("breakers", ("breaker",), "closed"),
        ("dead letters", ("unwritten",), "can be written"),
        ("partitions", ("stopped", "blocked", "no position"), "none is stopped"),
    ):
        where = sorted({partition for kind in kinds for partition in stands.get(kind, ())})
        yield Check(name, not where, ", ".join(where) or well)


def _is_stuck(lane: LaneFacts) -> bool:
    held = lane.in_hand
    if held is None or held.seconds < PROGRESS:
        return False
    return not any(reason.kind in ON_PURPOSE for reason in lane.standstills)


def _in_hand(lane: LaneFacts) -> str:
    held = lane.in_hand
    assert held is not None
    return f"{lane.partition}@{held.offset} has been with agent {held.agent} for {held.seconds:.0f} s, and no record was done meanwhile"


__all__ = ["BEAT", "LOOP_TURNS", "PROGRESS", "Check", "Health", "conditions", "failing"]
