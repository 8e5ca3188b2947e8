"""A table as agents use it: bytes in, bytes out, through the savepoint of the record in hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from streamapp.errors import UsageError
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.pipeline.tick import TickSavepoint

if TYPE_CHECKING:
    from streamapp.pipeline.engine import Engine
    from streamapp.pipeline.spec import TableSpec


class TableHandle:
    """One table of a running worker. Call it on the loop."""

    __slots__ = ("_engine", "name", "spec")

    def __init__(self, engine: Engine, spec: TableSpec) -> None:
        self._engine = engine
        self.spec = spec
        self.name = spec.name

    def get(self, key: bytes) -> bytes | None:
        """Return the value that the record in hand sees under `key`, or None.

        In a timer: of the partition that murmur2 of `key` names. In a task or a view: what is committed, likewise.
        Raises TableNotHere, SavepointEnded, UsageError.
        """
        savepoint = current_savepoint.get()
        if savepoint is None:
            return self._engine.ticks.read_committed_value(self.name, key)
        return savepoint.read(savepoint.partition_of(self.name, key), key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Keep a write for the record in hand; None deletes. In a task it is a savepoint of its own.

        Raises TableNotHere, SavepointEnded, UsageError.
        """
        savepoint = current_savepoint.get()
        if savepoint is None:
            self._engine.ticks.write_from_task(self.name, key, value)
            return
        savepoint.write(savepoint.partition_of(self.name, key), key, value)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order: of the record's partition as it sees it, else of all partitions here, committed."""
        savepoint = current_savepoint.get()
        if isinstance(savepoint, Savepoint) and not isinstance(savepoint, TickSavepoint):
            partition = savepoint.partition_of(self.name, b"")
            yield from partition.items(savepoint.written(partition))
            return
        if savepoint is not None and savepoint.writes:
            raise UsageError(f"table {self.name}: a timer that wrote cannot iterate over the table before it is done")
        for partition in self._engine.table_partitions(self.name):
            yield from partition.stored_items()
