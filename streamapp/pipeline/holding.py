"""`on_error="block_key"`: after a dead letter the later records of its key wait in a table, and are processed in order once it is settled.

A record that is to wait is done for its lane, in a savepoint that writes its row, so the partition goes on. When the head (the dead letter
that blocks the key) is resolved or discarded, the rows come back one after the other as records of their own, each between two records
that the lane has anyway; its savepoint deletes its row, the last one's the block. So table, offsets and outputs agree through every crash
and abort, and what is kept in memory is read anew from the table whenever the lane begins anew.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from streamapp.errors import StateUnusable
from streamapp.pipeline.blocks import Blocks
from streamapp.pipeline.cursor import Cursor, Rewound
from streamapp.pipeline.held import Blocked, HeldRecord, HoldLimits, encode_record, held_table
from streamapp.pipeline.lane import Entry, Inlet, Lane, record_of
from streamapp.pipeline.savepoint import Savepoint
from streamapp.records import Outgoing, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.dead_letter import Order
    from streamapp.pipeline.process import AgentRun


class Holding:
    """What one agent holds, on all its lanes. On the loop."""

    def __init__(self, agent: AgentRun) -> None:
        self.agent = agent
        self.limits: HoldLimits = agent.spec.hold
        self.table: str = held_table(agent.name)
        self._blocks: dict[Inlet, Blocks] = {}

    def of(self, inlet: Inlet) -> Blocks:
        return self._blocks[inlet]

    def blocks(self, inlet: Inlet) -> bool:
        """Return whether a key is blocked there."""
        return bool(self._blocks[inlet].by_key)

    def has_to_wait(self, inlet: Inlet) -> bool:
        """Return whether the record at the head is one that waits behind a blocked key."""
        return self._blocks[inlet].waits(inlet.queue[0]) is not None

    def held(self, inlet: Inlet) -> list[int]:
        """Return of each blocked key there how many records wait."""
        blocks = self._blocks.get(inlet)
        return [] if blocks is None else [len(blocked.offsets) for blocked in blocks.by_key.values()]

    def opened(self, inlet: Inlet) -> None:
        """The lane begins anew: read what is blocked, ask what became of the heads, and go on with what waits for none."""
        self._blocks[inlet] = blocks = Blocks(self, inlet)
        try:
            blocks.load()
        except StateUnusable:
            return  # the engine was told: the lane is rewound once more
        blocks.settle([head for head in blocks.heads if self.agent.engine.is_settled(head)])
        blocks.feed()

    def gone(self, inlet: Inlet) -> None:
        self._blocks.pop(inlet, None)

    def settled(self, ids: Collection[str]) -> None:
        """These dead letters are resolved or discarded."""
        for blocks in self._blocks.values():
            if blocks.heads.keys() & ids:
                blocks.settle(ids)

    # --- verdicts

    def order(self, inlet: Inlet, record: RawRecord) -> Order:
        """Return what the dead letter of `record` says of its key's order."""
        return "held" if self._blocks[inlet].is_kept_in_order(record) else "skipped"

    def stands_at(self, inlet: Inlet, item: RawRecord | Entry, record: RawRecord) -> bool:
        """Put a failed record back whose key cannot be blocked, as too many are; False where it may be dead-lettered."""
        return self._blocks[inlet].stands_at(item, record)

    def bury(self, inlet: Inlet, savepoint: Savepoint, letter: Outgoing) -> None:
        """Block the record's key within the savepoint of its dead letter."""
        self._blocks[inlet].bury(savepoint, letter)


class HoldingCursor(Cursor):
    """The cursor of an agent that holds: looks at keys before a record is started.

    Its lanes have entries even where one agent reads them alone: a record that waited is done without moving the lane's offset.
    """

    __slots__ = ("_holding",)

    def __init__(self, agent: AgentRun, holding: Holding) -> None:
        super().__init__(agent)
        self._holding = holding

    async def _pick(self) -> Inlet:
        while True:
            inlet = await super()._pick()
            if self._may_start(inlet):
                return inlet

    def _may_start(self, inlet: Inlet) -> bool:
        """Hold what has to wait, up to the first record that is to be processed now."""
        queue = inlet.queue
        while queue and super()._may_start(inlet):
            blocks = self._holding.of(inlet)
            if not blocks.by_key:
                return True
            if queue[0] is blocks.turn:
                queue.popleft()
                try:
                    held = blocks.next_held()
                except StateUnusable:
                    raise Rewound from None  # the engine was told, and the lane begins anew
                if held is not None:
                    queue.appendleft(held)
                    return True
            elif (blocked := blocks.waits(queue[0])) is None:
                return True
            else:
                self._hold(inlet, blocks, blocked)
            self._fresh -= 1
            if self._fresh <= 0:
                return False
        return False

    def _hold(self, inlet: Inlet, blocks: Blocks, blocked: Blocked) -> None:
        item = inlet.queue[0]
        row = encode_record(record_of(item))
        if (why := blocks.limit(blocked, row)) is not None and blocks.makes_way(why):
            return
        savepoint = self._enter(inlet, inlet.queue.popleft())
        blocks.hold(savepoint, blocked, row)
        if not super()._leave(inlet, savepoint):
            raise Rewound

    def _enter(self, inlet: Inlet, item: RawRecord | Entry) -> Savepoint:
        if isinstance(item, HeldRecord):
            item = self._entry_of(inlet, item)
        return super()._enter(inlet, item)

    @staticmethod
    def _entry_of(inlet: Inlet, held: HeldRecord) -> Entry:
        """Return the entry of a record that waited: this agent's alone, and the lane's offset stays where it is."""
        lane: Lane = inlet.lane
        entry = Entry(held, lane.next_offset)
        entry.stage = len(lane.inlets) - 1
        if inlet.stage:
            # As if an earlier agent had worked on it: then it keeps the line while it waits for its next try.
            earlier = Savepoint(lane, held, exclusive=True, entry=entry)
            earlier.is_open = False
            entry.savepoints.append(earlier)
        lane.window.append(entry)
        return entry

    def _leave(self, inlet: Inlet, savepoint: Savepoint) -> bool:
        blocks = self._holding.of(inlet)
        if not blocks.by_key:
            return super()._leave(inlet, savepoint)
        blocks.done(savepoint)
        kept = super()._leave(inlet, savepoint)
        if kept:
            blocks.feed_later()
        return kept


__all__ = ["Holding", "HoldingCursor"]
