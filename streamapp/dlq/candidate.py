"""A dead letter as the writing commands see it: its bytes, what its headers say, and what became of it so far."""

from __future__ import annotations

from dataclasses import dataclass

from streamapp.dlq.letters import Letter
from streamapp.pipeline.dead_letter import DeadLetter
from streamapp.pipeline.resolution import Status
from streamapp.records import Headers, Partition, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One dead letter, by its newest record."""

    facts: DeadLetter
    dlq: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    """The user's own."""
    status: Status = Status.OPEN
    job: str | None = None
    """The replay job that its row names."""
    replays: int = 0
    """How often it has been sent again, as its row and its headers know."""
    row_replays: int | None = None
    """As its row alone knows; None where it has none."""

    @property
    def id(self) -> str:
        return self.facts.id

    @property
    def source(self) -> Partition:
        return Partition(self.facts.source.topic, self.facts.source.partition)

    @property
    def read_at(self) -> Position:
        """Where the record stands whose bytes the letter has: after a replay another place than the first."""
        parts = self.facts.position.rsplit("/", 2)
        if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
            return Position(parts[0], int(parts[1]), int(parts[2]))
        return self.facts.source

    @property
    def missing(self) -> frozenset[str]:
        """What of the record the letter had no room for: `key`, `value`, `user-headers`."""
        return frozenset(self.facts.truncated) & {"key", "value", "user-headers"}

    @property
    def is_held(self) -> bool:
        """Whether later records of its key wait for it, so that nothing has overtaken it."""
        return self.facts.order == "held"

    @property
    def timestamp(self) -> int:
        """The record's own, in milliseconds since 1970; 0 where it has none."""
        return 0 if self.facts.timestamp_type == "none" else max(0, self.facts.timestamp or 0)


def candidate_of(letter: Letter) -> Candidate:
    """Return a letter that was read whole."""
    return Candidate(
        facts=letter.letter,
        dlq=letter.dlq.topic,
        key=letter.key,
        value=letter.value,
        headers=letter.user_headers,
        status=letter.status,
        job=None if letter.resolution is None else letter.resolution.job,
        replays=letter.replays,
        row_replays=None if letter.resolution is None else letter.resolution.replays,
    )


__all__ = ["Candidate", "candidate_of"]
