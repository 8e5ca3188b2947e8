"""A table partition against its changelog: what the table holds at an offset has to be the changelog folded up to that offset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from streamapp.digest import TableDigest, digest_of
from streamapp.ports import Store

_BEFORE: Final = b"b"
"""Prefix of keys whose last record lies before the offset, under it: 1 and the value, or 0 for a tombstone."""
_SINCE: Final = b"s"
"""Prefix of keys that have a record from the offset on: compaction may have taken their earlier ones."""
_AFTER_BEFORE: Final = b"c"

Writes = Mapping[bytes, "bytes | None"]


class Fold:
    """A changelog partition folded up to an offset, in a scratch store: any size, in the store's memory."""

    def __init__(self, scratch: Store, offset: int) -> None:
        self.offset = offset
        self.records = 0
        self._scratch = scratch

    def take(self, before: Writes, since: Iterable[bytes]) -> None:
        """Take in a batch: the last value of each key before the offset, and the keys of records from it on."""
        rows: dict[bytes, bytes | None] = {
            _BEFORE + key: b"\x00" if value is None else b"\x01" + value for key, value in before.items()
        }
        rows.update(dict.fromkeys((_SINCE + key for key in since), b""))
        if rows:
            self._scratch.apply(rows, None)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield what the table has to hold, in key order."""
        return ((key, value) for key, value in self._known() if value is not None)

    def digest(self) -> TableDigest:
        return digest_of(self.rows())

    def can_hide(self, key: bytes) -> bool:
        """Return whether compaction may have taken what the changelog said of `key` before the offset."""
        return self._scratch.get(_BEFORE + key) is None and self._scratch.get(_SINCE + key) is not None

    def hides_some(self) -> bool:
        """Return whether there is such a key: then a digest that differs proves nothing."""
        for key, _ in self._scratch.items(_SINCE):
            if not key.startswith(_SINCE):
                break
            if self._scratch.get(_BEFORE + key[1:]) is None:
                return True
        return False

    def _known(self) -> Iterator[tuple[bytes, bytes | None]]:
        for key, value in self._scratch.items(_BEFORE):
            if key >= _AFTER_BEFORE:
                return
            yield key[1:], value[1:] if value[:1] == b"\x01" else None


@dataclass(slots=True)
class Comparison:
    """How the rows of a store differ from the fold."""

    missing: int = 0
    """Keys that the changelog has and the table has not."""
    extra: int = 0
    different: int = 0
    undecided: int = 0
    """Keys that changed after the offset, of which compaction left no earlier record."""
    named: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        return self.missing + self.extra + self.different


def compare(held: Iterable[tuple[bytes, bytes]], fold: Fold, show: Callable[[bytes], str], *, named: int) -> Comparison:
    """Walk both in key order. The first `named` differences are told by `show` of their keys."""
    found = Comparison()

    def tell(key: bytes, what: str) -> None:
        if len(found.named) < named:
            found.named.append(f"{show(key)}: {what}")

    for key, ours, theirs in _side_by_side(held, fold.rows()):
        if ours == theirs:
            continue
        if fold.can_hide(key):
            found.undecided += 1
        elif ours is None:
            found.missing += 1
            tell(key, "not in the table")
        elif theirs is None:
            found.extra += 1
            tell(key, "not in the changelog")
        else:
            found.different += 1
            tell(key, "another value")
    return found


def _side_by_side(
    left: Iterable[tuple[bytes, bytes]], right: Iterable[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Yield every key of either, in order, with its value in each."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(lefts, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(rights, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(lefts, None), next(rights, None)


__all__ = ["Comparison", "Fold", "compare"]
