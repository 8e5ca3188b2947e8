"""One assigned partition's records in offset order, and the line that serialises those that may touch tables.

assigned -> restoring -> running <-> rewinding
    \\_________________\\________\\________\\____-> closed
"""

from __future__ import annotations

import time
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, cast

from streamapp.errors import InvariantBroken
from streamapp.pipeline.obstacles import Condemned, Place, Standing, Why
from streamapp.pipeline.suspects import NOTHING, Count, count_at, written
from streamapp.records import Partition, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.breaker import BreakerState
    from streamapp.pipeline.facts import StandsFor
    from streamapp.pipeline.overlay import TablePartition
    from streamapp.pipeline.process import AgentRun
    from streamapp.pipeline.retry import RetryState
    from streamapp.pipeline.savepoint import Savepoint
    from streamapp.pipeline.suspects import Life, Turn
    from streamapp.ports import PartitionSource


HEAVY = 4096
"""Bytes from which a record counts for several where fetched ones are bounded: so 16,384 that may wait are 64 MiB at most."""

MERGED_RECORDS, MERGED_BYTES = 100, 256 * 1024
"""Up to these, batches that were delivered are remembered as one."""

NO_POSITION = "no position"
"""Why a lane stands whose committed offset tells no place to begin."""

REVOKED = "revoked"
"""Why a lane stands that is being given back."""


class LaneState(Enum):
    ASSIGNED = "assigned"
    RESTORING = "restoring"
    RUNNING = "running"
    REWINDING = "rewinding"
    CLOSED = "closed"


_MOVES = {
    LaneState.ASSIGNED: {LaneState.RESTORING, LaneState.CLOSED},
    LaneState.RESTORING: {LaneState.RUNNING, LaneState.RESTORING, LaneState.CLOSED},
    LaneState.RUNNING: {LaneState.REWINDING, LaneState.RESTORING, LaneState.CLOSED},
    LaneState.REWINDING: {LaneState.RUNNING, LaneState.REWINDING, LaneState.RESTORING, LaneState.CLOSED},
    LaneState.CLOSED: set(),
}


class Return:
    """One rewind or recovery. Equal only to itself."""

    __slots__ = ()


class Line:
    """The same partition number of all topics of a source set: one table partition's records.

    `holder` is whoever runs alone here (a record's savepoint or entry, a tick), from its start to its admission.
    """

    __slots__ = ("holder", "lanes", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.holder: object | None = None
        self.lanes: list[Lane] = []


class Entry:
    """A record on a lane where several are in hand at a time, or that several agents read."""

    __slots__ = ("done", "record", "savepoints", "stage", "upto")

    def __init__(self, record: RawRecord, upto: int) -> None:
        self.record = record
        self.upto = upto
        """The next offset once it is done."""
        self.stage = 0
        """The index of the agent whose turn it is."""
        self.savepoints: list[Savepoint] = []
        self.done = False


def record_of(item: RawRecord | Entry) -> RawRecord:
    return item.record if isinstance(item, Entry) else item


class Inlet:
    """One agent's end of one lane: the records that wait for it."""

    __slots__ = (
        "agent",
        "attentive",
        "breaker",
        "decode",
        "is_ready",
        "lane",
        "probe",
        "queue",
        "retries",
        "source",
        "stage",
        "standing",
        "takes_none",
    )

    def __init__(self, lane: Lane, agent: AgentRun, stage: int) -> None:
        self.lane = lane
        self.agent = agent
        self.stage = stage
        self.source = agent.sources[lane.partition.topic]
        self.decode = self.source.decode
        self.takes_none = self.source.takes_none
        self.queue: deque[RawRecord | Entry] = deque()
        self.is_ready = False
        self.retries: dict[int, RetryState] = {}
        """Attempts so far, by offset of the records that failed at least once and are not done."""
        self.standing: Standing | None = None
        self.attentive = False
        """Whether the agent is told of a record that is done: one of `retries`, or one that ends the breaker's count."""
        self.breaker: BreakerState | None = None
        """None until a verdict, and for an agent without one."""
        self.probe: int | None = None
        """The offset of the record that may be started though the breaker is open."""

    @property
    def head_offset(self) -> int:
        """The offset of the record that comes next; there must be one."""
        return cast("int", record_of(self.queue[0]).offset())


class Lane:
    """An assigned partition. Its number changes with each assignment and rewind: what carries an older one is dropped."""

    __slots__ = (
        "admitted",
        "committed",
        "committed_at",
        "condemned",
        "count",
        "drains",
        "end_seen",
        "exclusive",
        "held",
        "in_group",
        "in_hand",
        "inlets",
        "isolate_until",
        "lasting",
        "life",
        "line",
        "lost",
        "merged",
        "moved_at",
        "next_offset",
        "number",
        "opened",
        "others",
        "partition",
        "paused",
        "pauses",
        "position",
        "returns_by",
        "running",
        "sizes",
        "source",
        "state",
        "straight",
        "tables",
        "turn",
        "unresolved",
        "whys",
        "window",
    )

    def __init__(self, partition: Partition, line: Line, number: int) -> None:
        self.partition = partition
        self.line = line
        self.number = number
        self.state = LaneState.ASSIGNED
        self.moved_at = time.monotonic()
        """When it came to `state`."""
        self.running = False
        """Whether results may be admitted; read and written under the engine's lock."""
        self.opened = False
        """Whether it ran since it was assigned: what stands then is being rewound, and will run again."""
        self.pauses: set[str] = set()
        self.lasting: set[str] = set()
        """Those of `pauses` that a rewind does not end."""
        self.paused = False
        """Whether `pauses` holds a reason: no record is started."""
        self.whys: dict[str, Why] = {}
        """What is told of each of `pauses`."""
        self.committed: int | None = None
        """Where it begins anew: the group's offset, or what stands for it while `unresolved`."""
        self.in_group: int | None = None
        """The group's committed offset, as last heard or written; None where there is none."""
        self.committed_at: float | None = None
        """Seconds since 1970 when a unit here last committed it."""
        self.admitted = 0
        """Records of it in the open unit."""
        self.merged = 0
        """Records of it in units that became durable."""
        self.returns_by: Return | None = None
        """What brings it back, while it stands: the last one begun, as what an earlier one found no longer holds."""
        self.unresolved = False
        """Whether `committed` is not the group's (auto_offset_reset's answer, or the log's new start): the next unit commits it."""
        self.lost: dict[int, int] = {}
        """Committed offset -> records behind it that retention deleted unread, as found since it was assigned."""
        self.count = NOTHING
        """What the metadata of the committed offset counts."""
        self.others = ""
        """What else it holds: not ours, and re-sent with every offset."""
        self.life: Life | None = None
        """What was found there when it was assigned; None until that is known."""
        self.held: deque[RawRecord] | None = None
        """Of a suspect: fetched records, which its agents get one by one. None where they get them all."""
        self.turn: Turn | None = None
        """Of a suspect: its turn, while it has one."""
        self.drains = False
        """Whether only records that are in its window may go on."""
        self.next_offset = 0
        self.end_seen = 0
        """The offset of the last PARTITION_EOF: the end, commit markers included."""
        self.position: int | None = None
        """Behind all that was fetched; None before anything was."""
        self.inlets: list[Inlet] = []
        self.exclusive = True
        self.straight = True
        """One agent, one record at a time: no entries are needed."""
        self.window: deque[Entry] = deque()
        self.sizes: deque[tuple[int, int]] = deque()
        """Records and bytes of the batches that were fetched last, as many as are not done."""
        self.in_hand = 0
        self.tables: dict[str, TablePartition] = {}
        self.isolate_until = 0
        """Up to this offset units are sifted: the search for an output that the broker refuses."""
        self.condemned: dict[Place, Condemned] = {}
        """Records whose output the broker refuses: each is dead-lettered without another call."""
        self.source: PartitionSource

    def move(self, state: LaneState) -> None:
        """Go to `state`. Raises InvariantBroken on a move that the diagram does not have."""
        if state not in _MOVES[self.state]:
            raise InvariantBroken(f"lane {self.partition}: {self.state.value} -> {state.value} is no legal move")
        self.state = state
        self.moved_at = time.monotonic()
        self.running = state is LaneState.RUNNING
        self.opened = self.opened or self.running

    @property
    def is_kept(self) -> bool:
        """Whether it ran and is still ours, though it may stand at the moment: a rewind ends by itself."""
        return self.opened and self.state is not LaneState.CLOSED and not self.pauses & {REVOKED, NO_POSITION}

    def pause(
        self,
        reason: str,
        *,
        lasts: bool = False,
        kind: StandsFor = "paused",
        since: float | None = None,
        agent: str | None = None,
        offset: int | None = None,
        detail: str = "",
    ) -> None:
        """Start no record until `unpause`, or until the lane is rewound unless it `lasts`. The rest is for who asks why."""
        if reason not in self.pauses:
            self.whys[reason] = Why(kind, time.monotonic() if since is None else since, agent, offset, detail)
        self.pauses.add(reason)
        if lasts:
            self.lasting.add(reason)
        self.paused = True

    def unpause(self, reason: str) -> None:
        self.pauses.discard(reason)
        self.whys.pop(reason, None)
        self.lasting.discard(reason)
        self.paused = bool(self.pauses)

    @property
    def is_busy(self) -> bool:
        """Whether a record of it is in hand."""
        return self.in_hand > 0 or getattr(self.line.holder, "lane", None) is self

    def count_at(self, upto: int, told: tuple[int, Count] | None) -> Count:
        """Return what a commit of `upto` counts; `told`: what its unit was told to write, and for which offset."""
        return count_at(upto, self.committed, self.count, told)

    def metadata_at(self, upto: int, told: tuple[int, Count] | None) -> str:
        """Return the metadata string of that commit."""
        return written(self.count_at(upto, told), self.others)

    @property
    def waiting(self) -> int:
        """Records fetched and not started."""
        return sum(len(inlet.queue) for inlet in self.inlets) + (0 if self.held is None else len(self.held))

    @property
    def load(self) -> int:
        """As `waiting`, records beyond HEAVY counted by their size, those in the window too. To a batch: the oldest counts whole.

        Any thread. A look at each record when it is taken would be exact, and cost every record for the few that are large.
        """
        left, size = self.waiting + len(self.window), 0
        for records, size_bytes in reversed(tuple(self.sizes)):
            if left <= 0:
                break
            left -= records
            size += size_bytes
        return max(self.waiting, size // HEAVY)

    def fetched(self, records: int, size_bytes: int) -> None:
        """Remember how large a batch is that was just added. On the loop."""
        sizes = self.sizes
        if sizes and sizes[-1][0] + records <= MERGED_RECORDS and sizes[-1][1] + size_bytes <= MERGED_BYTES:
            before = sizes.pop()
            records, size_bytes = before[0] + records, before[1] + size_bytes
        sizes.append((records, size_bytes))
        done = sum(each[0] for each in sizes) - self.waiting - len(self.window)
        while sizes[0][0] <= done:
            done -= sizes.popleft()[0]

    def clear(self) -> None:
        """Forget every fetched record and every attempt in hand. Under the engine's lock."""
        for inlet in self.inlets:
            inlet.queue.clear()
            inlet.standing = None
        if self.held is not None:
            self.held.clear()
        for entry in self.window:
            for savepoint in entry.savepoints:
                savepoint.is_open = False
        self.window.clear()
        self.sizes.clear()
        self.in_hand = 0
        self.end_seen = 0
        self.position = None

    def __str__(self) -> str:
        return str(self.partition)

    __repr__ = __str__
