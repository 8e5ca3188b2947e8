"""Work that no record caused: a timer's run, a task's send, expired marks. It joins the unit and is fenced like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamapp.errors import SavepointEnded, TableNotHere
from streamapp.pipeline.savepoint import Savepoint
from streamapp.records import ANY_PARTITION, Headers

if TYPE_CHECKING:
    from streamapp.pipeline.lane import Lane
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.ticks import Ticks
    from streamapp.pipeline.unit_of_work import Tick


class LineBusy(BaseException):
    """A tick met a line where a record is in hand, or that is being rewound: it is run again once it has the line to itself.

    A BaseException, so that the timer's own `except Exception` does not take it for a failure.
    """

    def __init__(self, lane: Lane) -> None:
        super().__init__(str(lane))
        self.lane = lane


class TickSavepoint(Savepoint):
    """The buffer of one run of a timer. Its table calls go to the partition that murmur2 of the key names, if it is ours.

    From its first touch of a line to its admission it has that line to itself.
    """

    __slots__ = ("held", "name", "now_ms", "numbers", "tick", "ticks")

    def __init__(self, ticks: Ticks, name: str, held: list[Lane], now_ms: int) -> None:
        self.ticks = ticks
        self.name = name
        self.tick: Tick | None = None
        """Set once it is over: what is run again when its unit is dropped."""
        self.held: list[Lane] = []
        self.numbers: dict[Lane, int] = {}
        """The lanes whose offset its unit has to carry, under the number of when it began there: what it read is of that one."""
        self.now_ms = now_ms
        self.is_open = True
        self.exclusive = True
        self.entry = None
        self.outputs = None
        self.mark = None
        self.writes = None
        self.below = None
        for lane in held:
            self._hold(lane)

    @property
    def timestamp_ms(self) -> int:
        return self.now_ms

    @property
    def headers(self) -> Headers:
        return []

    def send_on(self, topic: str, value: bytes | None, key: bytes | None) -> None:
        self.send((topic, value, key, ANY_PARTITION, self.now_ms, []))

    def _ended(self, what: str) -> str:
        return (
            f"{what} for a run of {self.name} after that run was over: a task that outlives its timer's run cannot join it; "
            "await the task in the timer, or start it without the timer's context"
        )

    def partition_of(self, table: str, key: bytes) -> TablePartition:
        if not self.is_open:
            raise SavepointEnded(self._ended(f"access of table {table}"))
        lane = self.ticks.lane_of_key(table, key)
        if lane is None:
            raise TableNotHere(
                f"table {table}: the partition of this key is not on this worker; write it from an agent, "
                "to which the partition's records come wherever it is"
            )
        if lane not in self.held:
            if lane.line.holder is not None or not lane.running:
                raise LineBusy(lane)
            self._hold(lane)
        return lane.tables[table]

    def _hold(self, lane: Lane) -> None:
        lane.line.holder = self
        self.held.append(lane)
        self.numbers |= {other: other.number for other in lane.line.lanes if other.running}

    def release(self) -> None:
        """Let the lines go."""
        self.is_open = False
        for lane in self.held:
            if lane.line.holder is self:
                lane.line.holder = None
            self.ticks.wake_line(lane.line)
