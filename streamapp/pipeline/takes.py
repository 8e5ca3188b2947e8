"""Requests that a stopped partition dead-letter the record it waits on: what this worker does about them (`dlq take`).

A request is a row of the status topic that every worker reads. The owner of the partition acts and answers, in the unit of the dead letter;
all others are silent. A partition on its way to another owner is that one's, so a request is looked at until it is answered or too old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamapp.clock import Clock
from streamapp.pipeline.dead_letter import parse_id
from streamapp.pipeline.resolution import TakeState
from streamapp.records import Outgoing, Partition, Position

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Inlet, Lane
    from streamapp.pipeline.replayed import Answers

FRESH: Final = 60.0
"""Seconds, by the worker's clock, that a request is worth acting on: later nobody waits for it, and things may have changed."""

MAY_COME: Final = 5.0
"""Seconds that the owner waits for the partition to stand there, where it has not come that far: half of what an asker waits."""


def parse_position(text: str) -> Position | None:
    """Return the place that a request's row names, `topic/partition/offset`; None where it names none."""
    found = None if "@" in text else parse_id(f"{text}@any")
    return None if found is None else found[0]


@dataclass(slots=True)
class _Request:
    position: Position
    asked_at: float
    """Seconds since 1970, by the clock of whoever asked."""
    seen_at: float
    """Monotonic seconds: a clock that runs ahead makes no request last longer."""
    taken_under: int | None = None
    """The number of the lane under which its record was dead-lettered. With another one, that unit may have been dropped."""


class Takes:
    """The requests that nobody has answered. On the loop."""

    def __init__(self, lanes: Mapping[Partition, Lane], answers: Answers, send: Callable[[Outgoing], None], clock: Clock) -> None:
        self._lanes = lanes
        self._answers = answers
        self._send = send
        self._clock = clock
        self._requests: dict[Position, _Request] = {}

    def asked(self, position: Position, at: float) -> None:
        """Somebody asked at `at` (seconds since 1970). One that is too old is left alone."""
        request = _Request(position, at, self._clock.monotonic())
        if not self._is_stale(request):
            self._requests[position] = request
            self.step()

    def answered(self, position: Position) -> None:
        """Some owner's answer is committed, or the request was taken back."""
        self._requests.pop(position, None)

    def step(self) -> None:
        """Act on what can be acted on now. Called a few times a second."""
        for request in list(self._requests.values()):
            if self._is_stale(request) or self._act(request):
                del self._requests[request.position]

    def _act(self, request: _Request) -> bool:
        """Return whether the request is done with."""
        topic, number, offset = request.position
        lane = self._lanes.get(Partition(topic, number))
        if lane is None or not lane.running or request.taken_under == lane.number:
            return False
        inlet = _standing_at(lane, offset) or _untried_at(lane, offset)
        if inlet is None:
            # Taken and dropped, it comes again; taken and committed, its own answer is on the way.
            return request.taken_under is None and not self._may_come(request, lane) and self._refuse(request)
        if lane.line.holder not in (None, inlet.queue[0]):
            return False  # a record of another topic, or a timer, is at work on the line
        if not inlet.agent.bury_standing(inlet, self._answers.took(request.position, TakeState.TAKEN)):
            return self._refuse(request)
        request.taken_under = lane.number
        return False

    def _may_come(self, request: _Request, lane: Lane) -> bool:
        if lane.next_offset > request.position.offset or any(inlet.standing is not None for inlet in lane.inlets):
            return False
        return self._clock.monotonic() - request.seen_at < MAY_COME

    def _refuse(self, request: _Request) -> bool:
        self._send(self._answers.took(request.position, TakeState.NOT_WAITING))
        return True

    def _is_stale(self, request: _Request) -> bool:
        return self._clock.wall() - request.asked_at > FRESH or self._clock.monotonic() - request.seen_at > FRESH


def _standing_at(lane: Lane, offset: int) -> Inlet | None:
    return next((inlet for inlet in lane.inlets if inlet.standing is not None and inlet.standing.offset == offset), None)


def _untried_at(lane: Lane, offset: int) -> Inlet | None:
    """Return the inlet at whose head the record waits, untried, for an open breaker to close."""
    for inlet in lane.inlets:
        breakers = inlet.agent.breakers
        if breakers is not None and inlet.queue and inlet.head_offset == offset and breakers.stand(inlet):
            return inlet
    return None


__all__ = ["FRESH", "Takes", "parse_position"]
