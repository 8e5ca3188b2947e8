"""An agent's breakers at work: partitions that stand because its dependency, or the agent itself, fails on everything.

An open one pauses its partition, over rewinds too, and lets one record at a time through: the one at the head, whose success closes it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from streamapp.errors import AgentFailed
from streamapp.events import Event, log_event
from streamapp.pipeline.breaker import Breaker, BreakerState
from streamapp.pipeline.dead_letter import named, rfc3339, text_of
from streamapp.pipeline.obstacles import Standing
from streamapp.pipeline.retry import FailureClass, RetryState, announced_outage

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Inlet, Lane
    from streamapp.pipeline.process import AgentRun
    from streamapp.pipeline.savepoint import Savepoint

log = logging.getLogger(__name__)

REASON = "breaker of "
"""What the pauses of open breakers begin with: the only ones that a probe may pass."""


class Breakers:
    """One agent's, over its partitions. Everything here runs on the loop."""

    def __init__(self, agent: AgentRun, policy: Breaker) -> None:
        self._agent = agent
        self._policy = policy
        self._reason = REASON + agent.name
        self._clock = agent.engine.clock

    # --- what failures mean

    def keeps(self, inlet: Inlet, offset: int, tries: RetryState, kind: FailureClass, failure: Exception) -> bool:
        """Return whether the record that failed stays where it is, as the breaker is open; a permanent failure is the record's own."""
        breaker = inlet.breaker
        if breaker is None or not breaker.is_open:
            return False
        probing = inlet.probe == offset
        if probing:
            inlet.probe = None
        if kind is FailureClass.PERMANENT:
            return False  # it says nothing about the dependency: the next probe stays due
        self._hold(inlet, offset, tries, failure)
        if probing:
            breaker.open(self._clock.monotonic(), max(self._policy.probe_interval, announced_outage(failure) or 0.0))
            self._say_it_stands(inlet, breaker, failure)
        return True

    def outage(self, inlet: Inlet, offset: int, tries: RetryState, seconds: float, failure: Exception) -> None:
        """The dependency said for how long it is away: no verdict, the record waits as the probe."""
        breaker = self._state(inlet)
        breaker.open(self._clock.monotonic(), seconds)
        self._hold(inlet, offset, tries, failure)
        self._opened(inlet, breaker, f"asked to be left alone for {seconds:g} s", failure)

    def verdict(self, inlet: Inlet, offset: int, kind: FailureClass, failure: Exception) -> None:
        """Count a verdict; its record is dead-lettered all the same, the next one waits if the breaker opened."""
        breaker = self._state(inlet)
        why = breaker.verdict(offset, kind, self._clock.monotonic())
        inlet.attentive = inlet.attentive or breaker.listens
        if why is not None:
            self._opened(inlet, breaker, why, failure)

    def done(self, inlet: Inlet, savepoint: Savepoint) -> None:
        """A record was done. A duplicate says nothing about the dependency."""
        breaker = inlet.breaker
        if breaker is None:
            return
        told_nothing = getattr(savepoint, "outcome", None) is not None
        if not breaker.is_open:
            if not told_nothing:
                breaker.succeeded()
            return
        if inlet.probe != savepoint.record.offset():
            return  # it was in hand before
        inlet.probe = None
        if not told_nothing:  # else the next probe stays due
            self._close(inlet, breaker)

    # --- probes

    def step(self, now: float) -> None:
        """Let due probes through. A few times a second."""
        for lane in self._agent.engine.group.lanes.values():
            for inlet in lane.inlets:
                if inlet.agent is not self._agent or not lane.running:
                    continue
                breaker = self._state(inlet)
                if not breaker.is_open:
                    breaker.mark(lane.next_offset, now)
                elif now >= breaker.probe_at and inlet.queue and self._may_pass(lane) and not self._agent.holds(lane):
                    self._probe(inlet, now)

    def lets_through(self, inlet: Inlet) -> bool:
        """Return whether the record at the inlet's head may be started though its lane is paused."""
        return inlet.probe is not None and inlet.probe == inlet.head_offset and self._may_pass(inlet.lane)

    def _probe(self, inlet: Inlet, now: float) -> None:
        offset = inlet.probe = inlet.head_offset
        inlet.standing = None  # in hand, nobody may take it
        inlet.retries[offset] = replace(inlet.retries.get(offset) or RetryState(now), started=now, attempts=0)
        inlet.attentive = True
        self._agent.split_batch(inlet, offset + 1)
        self._agent.offer(inlet, 1)

    @staticmethod
    def _may_pass(lane: Lane) -> bool:
        return all(reason.startswith(REASON) for reason in lane.pauses)

    # --- on request

    def stand(self, inlet: Inlet) -> bool:
        """Have the record at the head stand as one that failed does, so that it may be dead-lettered; False where it does not wait for us.

        A verdict opened the breaker, and nobody tried this record yet: its dead letter says so.
        """
        breaker, lane = inlet.breaker, inlet.lane
        if breaker is None or not breaker.is_open or inlet.probe is not None or not self._may_pass(lane):
            return False
        if self._agent.holds(lane) or (self._agent.holding is not None and self._agent.holding.has_to_wait(inlet)):
            return False
        offset, now = inlet.head_offset, self._clock.monotonic()
        why = f"not tried: the breaker of agent {self._agent.name} is open since {self._since(breaker)}, last error {breaker.last_error}"
        inlet.standing = Standing(offset, inlet.retries.get(offset) or RetryState(now), AgentFailed(why), "handler", None)
        return True

    # --- open and closed

    def _state(self, inlet: Inlet) -> BreakerState:
        if inlet.breaker is None:
            inlet.breaker = BreakerState(self._policy)
        return inlet.breaker

    @staticmethod
    def _hold(inlet: Inlet, offset: int, tries: RetryState, failure: Exception) -> None:
        """The record gets its attempts anew when the breaker is closed; its dead letter will tell of all of them."""
        inlet.standing = Standing(offset, tries, failure, "handler", None)
        inlet.retries[offset] = replace(tries, earlier=tries.calls, attempts=0)
        inlet.attentive = True

    def _opened(self, inlet: Inlet, breaker: BreakerState, why: str, failure: Exception) -> None:
        lane = inlet.lane
        lane.pause(self._reason, lasts=True, kind="breaker", agent=self._agent.name)
        inlet.attentive = True
        log_event(
            log, logging.ERROR, Event.BREAKER_OPENED,
            f"{lane}: the breaker of agent {self._agent.name} opened: {why}; one record is tried "
            f"in {breaker.probe_at - self._clock.monotonic():.0f} s, and nothing is dead-lettered until one succeeds",
            topic=lane.partition.topic, partition=lane.partition.number, agent=self._agent.name, error_type=type(failure).__name__,
        )  # fmt: skip
        self._say_it_stands(inlet, breaker, failure)

    def _say_it_stands(self, inlet: Inlet, breaker: BreakerState, failure: Exception) -> None:
        lane = inlet.lane
        breaker.last_error = f"{type(failure).__name__}: {text_of(failure)}"
        log_event(
            log, logging.ERROR, Event.LANE_STALLED,
            f"{lane}: breaker open since {self._since(breaker)}, last error {named(failure)}",
            topic=lane.partition.topic, partition=lane.partition.number, agent=self._agent.name, error_type=type(failure).__name__,
        )  # fmt: skip

    def _since(self, breaker: BreakerState) -> str:
        opened_at = cast("float", breaker.opened_at)
        return rfc3339(self._clock.wall() - (self._clock.monotonic() - opened_at))

    def _close(self, inlet: Inlet, breaker: BreakerState) -> None:
        lane, now = inlet.lane, self._clock.monotonic()
        open_for = now - cast("float", breaker.opened_at)
        breaker.close()
        inlet.standing = None
        for offset, tries in inlet.retries.items():
            inlet.retries[offset] = replace(tries, started=now)
        lane.unpause(self._reason)
        log_event(
            log, logging.WARNING, Event.BREAKER_CLOSED,
            f"{lane}: a record of agent {self._agent.name} succeeded, the breaker closed after {open_for:.0f} s",
            topic=lane.partition.topic, partition=lane.partition.number, agent=self._agent.name, duration_seconds=round(open_for, 3),
        )  # fmt: skip
        self._agent.engine.wake_line(lane.line)


__all__ = ["REASON", "Breakers"]
