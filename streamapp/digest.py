"""The digest of a table partition: the same bytes for the same rows, wherever they are held and whoever computes it. And what stands for a
key where keys are hidden.

blake2b over each row in key order: key and value, each behind its length. Part of what workers answer and `streamapp verify`
compares, so a change of it is a change of that answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 16
_LENGTHS: Final = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table partition holds, in short."""

    keys: int
    digest: str
    """Hexadecimal, 32 characters."""


class Digester:
    """Takes rows in key order, in as many parts as the caller likes."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=DIGEST_BYTES)
        self._keys = 0

    def update(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        update, pack = self._hash.update, _LENGTHS.pack
        count = 0
        for key, value in rows:
            # With the lengths in front, no two tables give the same bytes: ("a", "bc") is not ("ab", "c").
            update(pack(len(key), len(value)) + key + value)
            count += 1
        self._keys += count

    def result(self) -> TableDigest:
        return TableDigest(self._keys, self._hash.hexdigest())


def digest_of(rows: Iterable[tuple[bytes, bytes]]) -> TableDigest:
    """Return the digest of rows that come in key order."""
    digester = Digester()
    digester.update(rows)
    return digester.result()


def hashed(raw: bytes) -> str:
    """Return what stands for a key: the same for the same key, in logs and on screens."""
    return f"#{blake2b(raw, digest_size=8).hexdigest()}"


def key_hash(raw: bytes | None) -> str | None:
    """As `hashed`; None where there is no key."""
    return None if raw is None else hashed(raw)


__all__ = ["Digester", "TableDigest", "digest_of", "hashed", "key_hash"]
