"""The blocked keys of one lane, and the order in which what waits behind them comes back. See holding.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final, cast

from streamapp.errors import AgentFailed, InvariantBroken
from streamapp.events import Event, log_event
from streamapp.pipeline.dead_letter import PREFIX, REPLAY_OF
from streamapp.pipeline.held import (
    Blocked,
    HeldRecord,
    blocked_name,
    blocked_prefix,
    encode_blocked,
    encode_record,
    read_blocked,
    read_name,
    read_record,
    record_name,
)
from streamapp.pipeline.lane import Entry, Inlet, record_of
from streamapp.pipeline.obstacles import Place, Standing
from streamapp.pipeline.retry import RetryState
from streamapp.pipeline.savepoint import Savepoint
from streamapp.records import Headers, Outgoing, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.holding import Holding
    from streamapp.pipeline.overlay import TablePartition

log = logging.getLogger(__name__)

ID: Final = f"{PREFIX}id"


class Turn:
    """Stands in an inlet's queue where the next record that waited comes: behind one live record, so that neither starves."""

    def timestamp(self) -> tuple[int, int]:
        """No time, so that no mark expires that a record which waited may yet need."""
        return 0, -1

    def offset(self) -> int:
        """No record's, for who asks what is at the head."""
        return -1


class Blocks:
    """The blocked keys of one lane, as of its last record; the table has the same."""

    def __init__(self, holding: Holding, inlet: Inlet) -> None:
        self.by_key: dict[bytes, Blocked] = {}
        self.heads: dict[str, bytes] = {}
        """Head -> key."""
        self.turn: Final = cast("RawRecord", Turn())
        self._holding = holding
        self._limits = holding.limits
        self._inlet = inlet
        self._lane = inlet.lane
        self._topic = inlet.lane.partition.topic
        self._size = 0
        self._draining: dict[bytes, None] = {}
        """The keys whose head is settled, in the order in which they were."""
        self._is_fed = False
        """Whether the turn is in the queue, or the record that had it is not yet done."""
        self._hurries = False
        """Whether a record waits for a key to be free: then what is held goes before all others."""
        self._stopped: str | None = None
        """Why the lane stands at a limit."""

    @property
    def _partition(self) -> TablePartition:
        return self._lane.tables[self._holding.table]

    def load(self) -> None:
        """Read what is blocked. Raises StateUnusable."""
        for name, value in self._rows():
            _, key = read_name(name)
            blocked = read_blocked(value)
            self.by_key[cast("bytes", key)] = blocked
            self.heads[blocked.head] = cast("bytes", key)
            self._size += blocked.size_bytes
            if blocked.settled:
                self._draining[cast("bytes", key)] = None

    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        partition, prefix = self._partition, blocked_prefix(self._topic)
        # In this order: what a commit moves meanwhile, it moves from each of them into the next.
        layers = (partition.open, partition.committing)
        rows: dict[bytes, bytes | None] = {}
        for name, value in partition.stored_items(prefix):
            if not name.startswith(prefix):
                break
            rows[name] = value
        for layer in reversed(layers):
            rows.update((name, value) for name, value in layer.items() if name.startswith(prefix))
        return ((name, value) for name, value in sorted(rows.items()) if value is not None)

    # --- records that wait

    def waits(self, item: RawRecord | Entry) -> Blocked | None:
        """Return what blocks the record that comes next; None when it is to be processed now."""
        record = record_of(item)
        if isinstance(record, HeldRecord):
            return None
        key = record.key()
        blocked = None if key is None else self.by_key.get(key)
        if blocked is None or self._replayed(record) is not None:
            return None
        if self._lane.condemned and Place(self._inlet.stage, cast("int", record.offset())) in self._lane.condemned:
            return None  # its row was refused for its size: it gets a dead letter
        return blocked

    def hold(self, savepoint: Savepoint, blocked: Blocked, row: bytes) -> None:
        """Have the record in hand wait, within its savepoint."""
        record = savepoint.record
        offset = cast("int", record.offset())
        blocked.offsets.append(offset)
        blocked.size_bytes += len(row)
        self._size += len(row)
        savepoint.write(self._partition, record_name(self._topic, offset), row)
        self._write(savepoint, cast("bytes", record.key()), blocked)

    def limit(self, blocked: Blocked, row: bytes) -> str | None:
        """Return which limit one more record would pass."""
        limits = self._limits
        if len(blocked.offsets) >= limits.records_per_key:
            return f"{limits.records_per_key} records wait behind {blocked.head}, the most that are held of one key"
        if self._size + len(row) > limits.total_bytes:
            return f"{self._size} bytes wait, and {limits.total_bytes} are the most that are held of one partition"
        return None

    # --- what becomes of heads

    def settle(self, heads: Collection[str]) -> None:
        """These are resolved or discarded: what waits behind them is processed."""
        for head in heads:
            key = self.heads.get(head)
            if key is not None and not self.by_key[key].settled:
                self.by_key[key].settled = True
                self._draining[key] = None
        if self._draining:
            self._resume()
            self.feed()

    def done(self, savepoint: Savepoint) -> None:
        """The record in hand succeeded: take its row away, or its block."""
        record = savepoint.record
        if isinstance(record, HeldRecord):
            self._release(savepoint, record)
        if (key := self._replayed(record)) is not None:
            blocked = self.by_key[key]
            blocked.settled = True
            self._draining[key] = None
            self._write(savepoint, key, blocked)

    def bury(self, savepoint: Savepoint, letter: Outgoing) -> None:
        """The record in hand failed for good: its dead letter is its key's head from now on."""
        record = savepoint.record
        key = cast("bytes", record.key())
        if isinstance(record, HeldRecord):
            blocked = self.by_key[key]
            self._take_out(savepoint, record, blocked)
            del self.heads[blocked.head], self._draining[key]
            blocked.settled = False
            self._is_fed = False
        elif self._replayed(record) is not None or not self.is_kept_in_order(record):
            return  # the head failed again, and keeps its id; or there is nothing to keep in order
        else:
            blocked = self.by_key[key] = Blocked(head="", since=0)
        blocked.head = _header(letter[5], ID) or ""
        blocked.since = int(self._holding.agent.engine.clock.wall() * 1000)
        self.heads[blocked.head] = key
        self._write(savepoint, key, blocked)
        self.feed()

    def is_kept_in_order(self, record: RawRecord) -> bool:
        """Whether a dead letter of it blocks a key: not without one, nor where it could not wait for an earlier one."""
        if self._replayed(record) is not None:
            return True
        key = record.key()
        return key is not None and (isinstance(record, HeldRecord) or key not in self.by_key)

    def stands_at(self, item: RawRecord | Entry, record: RawRecord) -> bool:
        key = record.key()
        if key is None or key in self.by_key or self._replayed(record) is not None:
            return False
        if len(self.by_key) < self._limits.keys:
            return False
        self._holding.agent._put_back(self._inlet, [item])
        self._hurries = True
        if self.makes_way(f"{len(self.by_key)} keys are blocked, the most of one partition"):
            return True
        self._inlet.queue.popleft()
        return False

    def _replayed(self, record: RawRecord) -> bytes | None:
        """Return the key whose unsettled head `record` is, sent again; None for all other records."""
        head = _header(record.headers(), REPLAY_OF)
        key = None if head is None else self.heads.get(head)
        return None if key is None or self.by_key[key].settled else key

    # --- at a limit

    def makes_way(self, why: str) -> bool:
        """No room for the record that comes next: let what drains go first, or have the lane stand. False: let it in all the same.

        It is let in where another agent's work on it waits for it: nothing may go before it then, and what drains makes room.
        """
        queue = self._inlet.queue
        if not self._draining:
            self._stop(why)
            return True
        if self._is_fed:
            if self.turn not in queue:
                return False
            queue.remove(self.turn)
        self._step_back()
        is_free = not isinstance(queue[0], Entry)
        self._insert(0 if is_free else 1)
        return is_free

    def _stop(self, why: str) -> None:
        lane, agent = self._lane, self._holding.agent
        offset = self._inlet.head_offset
        self._stopped = f"stopped at {offset} by {agent.name}: {why}"
        lane.pause(self._stopped, kind="blocked", agent=agent.name, offset=offset, detail=why)
        state = self._inlet.retries.get(offset) or RetryState(started=agent.engine.clock.monotonic())
        self._inlet.standing = Standing(offset, state, AgentFailed(why), "handler", self._stopped)
        log_event(
            log, logging.ERROR, Event.LANE_STOPPED,
            f"{lane}@{offset}: agent {agent.name} can hold no more, so its partition stands here: {why}; "
            "discard a dead letter that blocks (a replay would come behind this record), or take this record",
            topic=lane.partition.topic, partition=lane.partition.number, offset=offset, agent=agent.name,
        )  # fmt: skip

    def _resume(self) -> None:
        if self._stopped is None:
            return
        lane, agent = self._lane, self._holding.agent
        lane.unpause(self._stopped)
        self._stopped = None
        self._inlet.standing = None
        self._hurries = True
        log_event(
            log, logging.INFO, Event.LANE_RESUMED, f"{lane}: goes on, as agent {agent.name} has records that need not be held any more",
            topic=lane.partition.topic, partition=lane.partition.number, agent=agent.name,
        )  # fmt: skip

    def _step_back(self) -> None:
        """Have records that wait for their next try wait like those that had none: what is held may go before them then."""
        queue, window = self._inlet.queue, self._lane.window
        waiting: list[RawRecord] = []
        while queue and isinstance(entry := queue[0], Entry) and not entry.savepoints:
            queue.popleft()
            window.remove(entry)
            waiting.append(entry.record)
        queue.extendleft(reversed(waiting))

    # --- the drain

    def feed(self) -> None:
        """Let the next record that waited have its turn, behind the live one that comes next."""
        if self._is_fed or not self._draining:
            return
        self._step_back()
        queue = self._inlet.queue
        self._insert(0 if self._hurries and not (queue and isinstance(queue[0], Entry)) else 1)

    def feed_later(self) -> None:
        """The same, but let the lane's other agents look first: they share the line, and sleep until this one does."""
        if len(self._lane.inlets) == 1:
            self.feed()
        elif self._draining:
            asyncio.get_running_loop().call_soon(self._feed_if_open)

    def _feed_if_open(self) -> None:
        if self._holding._blocks.get(self._inlet) is self:
            self.feed()

    def _insert(self, place: int) -> None:
        self._is_fed = True
        self._inlet.queue.insert(place, self.turn)
        self._holding.agent.offer(self._inlet, 1)

    def next_held(self) -> HeldRecord | None:
        """Return the record whose turn it is; None where the key has none left, and is freed without one. Raises StateUnusable."""
        key = next(iter(self._draining))
        blocked = self.by_key[key]
        if not blocked.offsets:
            self._free(key)
            return None
        offset = blocked.offsets[0]
        row = self._partition.read(record_name(self._topic, offset))
        if row is None:
            raise InvariantBroken(f"{self._lane}@{offset} is held and its row is not in {self._holding.table}")
        return read_record(self._lane.partition, offset, row)

    def _free(self, key: bytes) -> None:
        """Nothing waits: take the block away in a savepoint of its own."""
        engine = self._holding.agent.engine
        savepoint = engine.ticks.savepoint("unblocking a key", [self._lane])
        self._write(savepoint, key, self.by_key[key])
        engine.admission.admit_tick(savepoint, list(savepoint.numbers.items()), None)
        savepoint.release()
        self._is_fed = False
        self.feed()

    def _release(self, savepoint: Savepoint, record: HeldRecord) -> None:
        """A record that waited is done."""
        blocked = self.by_key[record.key()]
        self._take_out(savepoint, record, blocked)
        self._write(savepoint, record.key(), blocked)
        self._is_fed = False

    def _take_out(self, savepoint: Savepoint, record: HeldRecord, blocked: Blocked) -> None:
        name = record_name(self._topic, record.offset())
        size = len(encode_record(record))
        blocked.offsets.remove(record.offset())
        blocked.size_bytes -= size
        self._size -= size
        savepoint.write(self._partition, name, None)

    def _write(self, savepoint: Savepoint, key: bytes, blocked: Blocked) -> None:
        """Keep the block, or take it away where it blocks nothing any more."""
        if blocked.settled and not blocked.offsets:
            del self.by_key[key], self.heads[blocked.head]
            self._draining.pop(key, None)
            self._hurries = False
            savepoint.write(self._partition, blocked_name(self._topic, key), None)
            return
        savepoint.write(self._partition, blocked_name(self._topic, key), encode_blocked(blocked))


def _header(headers: Headers | None, wanted: str) -> str | None:
    """Return the last header of that name."""
    found = None
    for name, value in headers or ():
        if name == wanted and value is not None:
            found = value.decode("utf-8", "backslashreplace")
    return found


__all__ = ["Blocks"]
