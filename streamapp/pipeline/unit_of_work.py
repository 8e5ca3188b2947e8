"""What one transaction makes durable: outputs, table writes, and the offsets of the records that caused them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamapp.records import Outgoing, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.savepoint import Savepoint
    from streamapp.pipeline.suspects import Count


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer's run whose work is in a unit: run again if the unit is dropped."""

    function: Callable[[], Awaitable[None]]
    name: str
    on_leader: bool


class UnitOfWork:
    """Collected under the engine's lock until it is closed; then the transaction thread alone has it."""

    __slots__ = (
        "counts",
        "culprit",
        "delivered",
        "dirty",
        "firsts",
        "lanes",
        "numbers",
        "opened_at",
        "outbox",
        "pieces",
        "produced",
        "records",
        "sifted",
        "size_bytes",
        "taken",
        "ticks",
        "within",
        "writers",
    )

    def __init__(self) -> None:
        self.opened_at: float | None = None
        """Monotonic seconds of the first admission; None while it is empty."""
        self.lanes: dict[Lane, int] = {}
        """The next offset after each lane's last admitted record."""
        self.numbers: dict[Lane, int] = {}
        """The lane number under which the first of that was admitted: work of before a rewind never goes with work of after it."""
        self.firsts: dict[Lane, RawRecord] = {}
        """The first record of each lane: as long as the unit is not durable, the oldest unmerged one. None of a lane that has only an offset."""
        self.taken: dict[Lane, int] = {}
        """Of a closed unit: how many records each lane has in it."""
        self.counts: dict[Lane, tuple[int, Count]] = {}
        """What to count beside which offset, where that does not follow from the offset's advance."""
        self.dirty: dict[TablePartition, None] = {}
        self.outbox: list[Outgoing] = []
        """Admitted outputs not yet given to the producer, in order."""
        self.produced = 0
        """Outputs given to the producer before the unit was closed."""
        self.records = 0
        self.size_bytes = 0
        """Bytes of the overlay, roughly: keys and values written."""
        self.ticks: list[Tick] = []
        self.sifted = False
        """Whether its outputs leave savepoint by savepoint, to find the one whose output the broker refuses."""
        self.pieces: list[tuple[Savepoint, list[Outgoing]]] = []
        """Of a sifted unit: who made which outputs."""
        self.writers: dict[tuple[TablePartition, bytes], Savepoint] = {}
        """Of a sifted unit: who wrote a key last."""
        self.delivered = False
        """Whether every record of it is with the broker: what fails after that is the fault of none."""
        self.within: float | None = None
        """Seconds that its commit may take, where that is less than the transaction's time allows."""
        self.culprit: Savepoint | None = None
        """Whose output was refused."""

    @property
    def is_empty(self) -> bool:
        return self.opened_at is None
