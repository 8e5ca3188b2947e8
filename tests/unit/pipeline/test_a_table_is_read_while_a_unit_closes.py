"""Iterating over a table misses nothing when the transaction thread closes the unit meanwhile, as it may between any two steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streamapp.pipeline.overlay import TablePartition
from streamapp.records import Partition
from streamapp.state.memory import MemoryStore


class Closing(Mapping[bytes, bytes | None]):
    """An empty committing layer: when it is looked at, its unit is applied and the next one closed."""

    def __init__(self, partition: TablePartition) -> None:
        self._partition = partition

    def __iter__(self) -> Iterator[bytes]:
        self._partition.close_unit()
        return iter(())

    def __getitem__(self, key: bytes) -> bytes | None:
        raise KeyError(key)

    def __len__(self) -> int:
        return 0


def test_what_the_open_unit_wrote_is_seen() -> None:
    partition = TablePartition("totals", 0, Partition("totals-changelog", 0), MemoryStore("totals/0"), lambda failure: None)
    partition.open[b"k"] = b"1"
    partition.committing = Closing(partition)
    assert list(partition.items()) == [(b"k", b"1")]
