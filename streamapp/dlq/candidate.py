"""A dead letter as the writing commands see it: its bytes, what its headers say, and what became of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamapp.pipeline.dead_letter import PREFIX, STREAMS_PREFIX, DeadLetter
from streamapp.pipeline.resolution import Status
from streamapp.pipeline.savepoint import travelling
from streamapp.records import Headers, Partition, Position

_STREAMS: Final = tuple(STREAMS_PREFIX + name for name in ("exception", "message", "stacktrace", "topic", "partition", "offset"))


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


def own_headers(headers: Sequence[tuple[str, bytes | None]] | None) -> Headers:
    """Return the user's headers of a dead letter: neither ours nor the six of `dlq_compat=streams`, which stand last."""
    found = list(headers or ())
    if tuple(name for name, _ in found[-len(_STREAMS) :]) == _STREAMS and any(name.startswith(PREFIX) for name, _ in found):
        found = found[: -len(_STREAMS)]
    return travelling(found)


__all__ = ["Candidate", "own_headers"]
