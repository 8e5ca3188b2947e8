"""What became of dead letters: the rows of `<app id>-dlq-status`, which workers and commands write and read.

One partition, so that rows have one order; compacted, so that the last row of a key counts. Keys are text:

    orders/5/901@order_processor   a dead letter's id           -> Resolution
    take:orders/5/901              a request to a stopped lane  -> Take
    job:7f3a9c01                   a replay job                 -> Job
    lock:orders-dlq                who replays that topic       -> Lock

Topic names have no colon, so a key's kind is plain. Values are JSON; a reader skips what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from streamapp.pipeline.dead_letter import parse_id


class Status(StrEnum):
    """What is known of a dead letter."""

    OPEN = "open"
    """No row says otherwise."""
    REPLAYING = "replaying"
    """Sent again; the worker that reads it has not answered."""
    RESOLVED = "resolved"
    REOPENED = "reopened"
    """It failed again."""
    PARKED = "parked"
    """It was replayed too often, and waits for somebody who forces it."""
    DISCARDED = "discarded"


SETTLED: Final = frozenset({Status.RESOLVED, Status.DISCARDED})
"""All others count as unresolved."""


class Resolution(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The row of a dead letter."""

    status: Status
    at: datetime
    """UTC."""
    by: str
    """The operator, or the worker's id."""
    job: str | None = None
    """The replay that it is, or was, part of."""
    reason: str | None = None
    outcome: str | None = None
    """How it was resolved: `processed`, `already-processed`, `copied`; or why it was discarded: `superseded`."""
    replays: int = 0
    """How often it has been sent again."""


class TakeState(StrEnum):
    ASKED = "asked"
    TAKEN = "taken"
    NOT_WAITING = "not-waiting"


class Take(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A request that a stopped partition dead-letter the record it waits on, and the worker's answer."""

    state: TakeState
    at: datetime
    by: str


class JobState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    """By its own guard (`reason`), or by the operator."""


class Job(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A replay of one dead-letter topic."""

    dlq: str
    state: JobState
    operator: str
    scope: str
    """The filters or ids, as the command line had them."""
    target: str
    """`source`, `agent` or `topic:NAME`."""
    started: datetime
    at: datetime
    ends: dict[str, int] = {}
    """Partition of the dead-letter topic, as text -> the end that bounds the job."""
    options: dict[str, str | int | float | bool] = {}
    """What a resumed job needs to go on as it began."""
    matched: int = 0
    sent: int = 0
    resolved: int = 0
    reopened: int = 0
    reason: str | None = None


class Lock(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who replays a dead-letter topic. Only for the readable refusal: the transactional id is what fences."""

    job: str
    owner: str
    beat: datetime


Row = Resolution | Take | Job | Lock

TAKE, JOB, LOCK = "take:", "job:", "lock:"
"""What the keys of all but resolutions begin with."""
_KINDS: Final[dict[str, type[Row]]] = {TAKE: Take, JOB: Job, LOCK: Lock}


class Entry(NamedTuple):
    """A row with its key."""

    name: str
    """The dead letter's id; for the other kinds what follows the colon."""
    row: Row | None
    """None where a tombstone took it away."""


_READ: Final[Mapping[type[Row], Callable[[bytes], Row]]] = {
    kind: msgspec.json.Decoder(kind).decode for kind in (Resolution, *_KINDS.values())
}
"""Made here, once: two threads that both make the first decoder of the same types can crash the process (seen with msgspec 0.22)."""


def status_topic(app_id: str) -> str:
    return f"{app_id}-dlq-status"


def encode(name: str, row: Row) -> tuple[bytes, bytes]:
    """Return key and value of a row."""
    prefix = next((prefix for prefix, kind in _KINDS.items() if isinstance(row, kind)), "")
    return f"{prefix}{name}".encode(), msgspec.json.encode(row)


def decode(key: bytes | None, value: bytes | None) -> Entry | None:
    """Return what a record of the status topic says; None where it is none of ours."""
    try:
        text = (key or b"").decode()
        prefix = next((prefix for prefix in _KINDS if text.startswith(prefix)), "")
        if not prefix and parse_id(text) is None:
            return None
        kind: type[Row] = _KINDS.get(prefix, Resolution)
        return Entry(text.removeprefix(prefix), None if value is None else _READ[kind](value))
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None


__all__ = [
    "JOB",
    "LOCK",
    "SETTLED",
    "TAKE",
    "Entry",
    "Job",
    "JobState",
    "Lock",
    "Resolution",
    "Row",
    "Status",
    "Take",
    "TakeState",
    "decode",
    "encode",
    "status_topic",
]
