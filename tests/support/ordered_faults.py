"""Faults that strike single requests on their way through the proxy, ordered for the n-th of a kind."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

from tests.support.topics import PATIENCE, wait_until


class Api(IntEnum):
    """Keys of the requests that faults speak of."""

    PRODUCE = 0
    FETCH = 1
    METADATA = 3
    API_VERSIONS = 18
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


@dataclass(slots=True)
class Request:
    """One request as it came, its size in front."""

    frame: bytes
    api: int
    version: int
    correlation: int
    client_id: str

    @classmethod
    def of(cls, frame: bytes) -> Request:
        api, version, correlation, length = struct.unpack_from(">hhih", frame, 4)
        return cls(frame, api, version, correlation, frame[14 : 14 + max(0, length)].decode(errors="replace"))

    @property
    def commits(self) -> bool:
        """Whether it is an EndTxn that commits: its last byte says so, as no client here speaks its flexible versions."""
        return self.api == Api.END_TXN and self.frame[-1] == 1


class Loss(Enum):
    """What follows a reply that was swallowed."""

    CUT = "the connection is cut at once"
    HANG = "the connection stays open, and nothing more comes over it"


Where = Callable[[Request], bool]


def anyone(request: Request) -> bool:
    return True


class Ordered:
    """A fault that was ordered for the n-th request of a kind, and what became of it. Read from any thread."""

    def __init__(self, api: Api, where: Where, nth: int, times: int) -> None:
        self.api, self.where, self.nth, self.times = api, where, nth, times
        self.seen = 0
        self.taken = 0
        """Requests that it struck."""
        self.landed = 0
        """Of them, those with which it came to its end: the reply was swallowed, the late request answered."""
        self.codes: list[int] = []
        """What the broker answered to an EndTxn that it struck: 0 is yes, 47 an epoch of before."""

    def wait(self, times: int = 1, *, deadline: float = PATIENCE) -> None:
        """Wait until it landed so often. Raises TookTooLong."""
        wait_until(lambda: self.landed >= times, deadline=deadline, every=0.01, why=lambda: f"{self}")

    def strikes(self, request: Request) -> bool:
        if request.api != self.api or not self.where(request):
            return False
        self.seen += 1
        if not self.nth <= self.seen < self.nth + self.times:
            return False
        self.taken += 1
        return True

    def land(self, reply: bytes | None) -> None:
        if reply is not None and self.api is Api.END_TXN:
            self.codes.append(struct.unpack_from(">h", reply, 12)[0])  # behind size, correlation id and throttle time
        self.landed += 1

    def __str__(self) -> str:
        return (
            f"{type(self).__name__} of {self.api.name}: {self.seen} seen, {self.taken} struck, {self.landed} landed, {self.codes}"
        )


class LostReply(Ordered):
    """The request passes, its reply does not."""

    def __init__(self, api: Api, where: Where, nth: int, times: int, then: Loss) -> None:
        super().__init__(api, where, nth, times)
        self.then = then


class HeldBack(Ordered):
    """The request is kept while its client gives up on the connection, and arrives when a later transaction of it is open."""


class NoBrokers(Ordered):
    """The request passes, and its reply names no broker, as that of a broker does which the controller holds for dead."""

    def __init__(self, api: Api, where: Where, nth: int, times: int) -> None:
        super().__init__(api, where, nth, times)
        self.clients: set[str] = set()
        """Ids of those that were told so."""

    def strikes(self, request: Request) -> bool:
        struck = super().strikes(request)
        if struck:
            self.clients.add(request.client_id)
        return struck


FLEXIBLE_METADATA = 9
"""The version of Metadata from which lengths are varints."""


def without_brokers(request: Request, reply: bytes) -> bytes:
    """Return a Metadata reply, its size in front, that names no broker. Raises ValueError: a version of before tagged fields.

    Layout: size, correlation id, tags, throttle time, brokers (id, host, port, rack, tags), then all that stays as it is.
    """
    if request.version < FLEXIBLE_METADATA:
        raise ValueError(f"Metadata {request.version}: only versions from {FLEXIBLE_METADATA} on can be rewritten")
    at = 13  # behind size, correlation id, no tags, throttle time
    count, end = _uvarint(reply, at)
    for _ in range(count - 1):
        length, end = _uvarint(reply, end + 4)
        length, end = _uvarint(reply, end + max(0, length - 1) + 4)
        end += max(0, length - 1)
        tags, end = _uvarint(reply, end)
        if tags:
            raise ValueError("a broker with tagged fields")
    body = reply[4:at] + b"\x01" + reply[end:]
    return struct.pack(">i", len(body)) + body


def _uvarint(frame: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where it ends."""
    number = shift = 0
    while True:
        byte = frame[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


__all__ = [
    "Api",
    "HeldBack",
    "Loss",
    "LostReply",
    "NoBrokers",
    "Ordered",
    "Request",
    "Where",
    "anyone",
    "without_brokers",
]
