"""What the broker says of transactions: the one request of Kafka's protocol that the client library has not.

Source: Kafka protocol guide, DescribeTransactions v0. One broker, so every transactional id is its own coordinator's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

DESCRIBE_TRANSACTIONS: Final = 65
OPEN: Final = frozenset({"Ongoing", "PrepareCommit", "PrepareAbort"})
"""States in which a transaction has partitions that are not yet settled."""
UNKNOWN: Final = "unknown"


def transaction_states(bootstrap: str, transactional_ids: Sequence[str], *, timeout: float = 5.0) -> dict[str, str]:
    """Return the state of each id's transaction (`Empty`, `Ongoing`, `PrepareCommit`, …), `unknown` for an id that has none.

    Raises OSError: no answer.
    """
    answer = _Answer(_ask(bootstrap, _request(transactional_ids), timeout))
    answer.skip(4)  # correlation id
    answer.tags()
    answer.skip(4)  # throttle time
    found = dict.fromkeys(transactional_ids, UNKNOWN)
    for _ in range(answer.varint() - 1):
        error = answer.number(">h")
        name, state = answer.text(), answer.text()
        answer.skip(4 + 8 + 8 + 2)  # timeout, start, producer id and epoch
        for _ in range(answer.varint() - 1):
            answer.text()
            answer.skip(4 * (answer.varint() - 1))
            answer.tags()
        answer.tags()
        if error == 0:
            found[name] = state
    return found


def open_transactions(bootstrap: str, transactional_ids: Iterable[str], *, timeout: float = 5.0) -> set[str]:
    """Return those ids whose transaction is not settled now."""
    states = transaction_states(bootstrap, list(transactional_ids), timeout=timeout)
    return {name for name, state in states.items() if state in OPEN}


def _request(names: Sequence[str]) -> bytes:
    client = b"looking-on"
    head = struct.pack(">hhih", DESCRIBE_TRANSACTIONS, 0, 1, len(client)) + client + b"\0"
    texts = b"".join(_varint(len(name.encode()) + 1) + name.encode() for name in names)
    return head + _varint(len(names) + 1) + texts + b"\0"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _ask(bootstrap: str, request: bytes, timeout: float) -> bytes:
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _receive(connection, 4))
        return _receive(connection, size)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise OSError("connection closed before the answer")
        received += part
    return bytes(received)


class _Answer:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def skip(self, size: int) -> None:
        self._at += size

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        size = self.varint() - 1
        self._at += size
        return self._data[self._at - size : self._at].decode()

    def tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self.skip(self.varint())
