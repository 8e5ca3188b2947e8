"""What keeps a lane from going on: records that are condemned, the record at which it stands, and every reason why."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from streamapp.pipeline.dead_letter import Reason, Stage
    from streamapp.pipeline.facts import StandsFor
    from streamapp.pipeline.measures import Told
    from streamapp.pipeline.retry import RetryState


class Place(NamedTuple):
    """One agent's turn at one record of a lane."""

    stage: int
    offset: int


@dataclass(frozen=True, slots=True)
class Condemned:
    """What is known of a record that fails without another call when it is read again; kept until it is committed."""

    failure: Exception | None
    """What it fails with: an output of it was refused, or its verdict has fallen. None where only its dead letter was refused."""
    tries: RetryState | None
    """Its failed attempts before the one whose output was refused; all of them where the verdict has fallen."""
    letters: int = 0
    """Dead letters of it that were refused: after one it gets a bare reference, after two its partition stands."""
    stage: Stage = "sink"
    reason: Reason | None = None
    """The verdict, where it has fallen: the partition stands at the record, or its dead letter is still to be written."""
    unwritten: int = 0
    """How often its dead letter went down with its unit; then it is written in a unit of its own."""
    not_before: float = 0.0
    """Monotonic seconds before which the dead letter is not tried again."""
    refusal: str = ""
    """What was said of the dead letter that went down."""
    letter: Told | None = None
    """What is counted once its dead letter is durable."""
    since: float = field(default_factory=time.monotonic)
    """Monotonic seconds since when that is known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The record at the head of an inlet, on which its partition stands until somebody decides (`dlq take`)."""

    offset: int
    state: RetryState
    failure: Exception
    """What its dead letter would tell."""
    stage: Stage
    pause: str | None
    """The lane's pause that ends with this record; None where what holds the partition holds the next record, too."""


class Why(NamedTuple):
    """One reason why a lane starts no record."""

    kind: StandsFor
    since: float
    """Monotonic seconds."""
    agent: str | None
    offset: int | None
    detail: str
