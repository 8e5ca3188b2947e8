"""What a worker answers to a replayed record: the row that says `resolved`, or `reopened`.

A replay sends a dead letter's record again with `streamapp.dlq.replay-of`. Its row is one more output of the record's savepoint, so it is
visible exactly when the record's own outputs, or its next dead letter, are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from streamapp.clock import Clock
from streamapp.pipeline import resolution
from streamapp.pipeline.dead_letter import job_of, parse_id, replay_of
from streamapp.pipeline.resolution import Resolution, Row, Status, TakeState
from streamapp.records import Headers, Outgoing, Position, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.spec import AgentSpec

PROCESSED = "processed"


class Answers:
    """Makes this worker's rows of the status topic."""

    def __init__(self, topic: str, worker: str, clock: Clock) -> None:
        self._topic = topic
        self._worker = worker
        self._clock = clock

    def resolved(self, agent: AgentSpec, record: RawRecord, outcome: str | None) -> Outgoing | None:
        """Return the row of a record that `agent` is done with; None where it is no replay of a dead letter of that agent."""
        return self._row(agent, record.headers(), Status.RESOLVED, outcome or PROCESSED)

    def reopened(self, agent: AgentSpec, record: RawRecord) -> Outgoing | None:
        """Return the row beside the next dead letter of a record that failed again; None as for `resolved`."""
        return self._row(agent, record.headers(), Status.REOPENED, None)

    def took(self, position: Position, state: TakeState) -> Outgoing:
        """Return the answer to a request to dead-letter the record at `position`."""
        return self._outgoing(str(position), resolution.Take(state=state, at=self._now(), by=self._worker))

    def _row(self, agent: AgentSpec, headers: Headers | None, status: Status, outcome: str | None) -> Outgoing | None:
        replay = replay_of(headers)
        if replay is None or agent.dlq is None:
            return None
        id_, count = replay
        # As in the dead letter: another agent's failure is none of this one's, nor another app's whose records come this way.
        first = parse_id(id_)
        if first is None or first[1] != agent.name:
            return None
        job = job_of(headers)
        row = Resolution(status=status, at=self._now(), by=self._worker, job=job, outcome=outcome, replays=count)
        return self._outgoing(id_, row)

    def _outgoing(self, name: str, row: Row) -> Outgoing:
        key, value = resolution.encode(name, row)
        return (self._topic, value, key, 0, 0, [])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), UTC)


__all__ = ["PROCESSED", "Answers"]
