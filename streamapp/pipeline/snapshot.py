"""What the engine tells when it is asked: everything that lanes, agents and the transaction thread counted, in one piece. On the loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, cast

from streamapp.pipeline.blocks import Turn
from streamapp.pipeline.dead_letter import PREFIX
from streamapp.pipeline.facts import AgentFacts, EngineFacts, InHand, LaneFacts, TableFacts, TransactionFacts
from streamapp.pipeline.held import HeldRecord
from streamapp.pipeline.lane import Entry, record_of
from streamapp.pipeline.standstills import standstills

if TYPE_CHECKING:
    from streamapp.clock import Clock
    from streamapp.pipeline.admission import Admission
    from streamapp.pipeline.group import Group
    from streamapp.pipeline.lane import Inlet, Lane
    from streamapp.pipeline.measures import Fingerprints
    from streamapp.pipeline.process import AgentRun
    from streamapp.pipeline.rebalance import RebalanceTimes
    from streamapp.pipeline.transaction import TransactionThread
    from streamapp.records import RawRecord

REPLAYED_AT = f"{PREFIX}replayed-at"


class Snapshot:
    """Takes one; keeps nothing."""

    def __init__(
        self,
        *,
        admission: Admission,
        group: Group,
        agents: Sequence[AgentRun],
        transactions: TransactionThread,
        rebalances: RebalanceTimes,
        fingerprints: Fingerprints,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._group = group
        self._agents = agents
        self._transactions = transactions
        self._rebalances = rebalances
        self._fingerprints = fingerprints
        self._clock = clock
        self._ahead = 0.0
        """Seconds since 1970 less monotonic seconds, as of the last look."""

    def take(self) -> EngineFacts:
        now = self._clock.wall()
        self._ahead = now - self._clock.monotonic()
        lanes = sorted(self._group.lanes.copy().values(), key=lambda lane: lane.partition)
        return EngineFacts(
            now=now,
            lanes=tuple(self._lane(lane) for lane in lanes),
            agents=tuple(self._agent(agent, lanes) for agent in self._agents),
            transactions=self._transaction(),
            tables=_tables(lanes),
            fingerprints=self._fingerprints.told(),
        )

    def _wall(self, monotonic: float) -> float:
        return self._ahead + monotonic

    # --- lanes

    def _lane(self, lane: Lane) -> LaneFacts:
        found = standstills(lane, self._admission.shut(), self._wall)
        held = [
            blocked for inlet in lane.inlets if inlet.agent.holding is not None for blocked in inlet.agent.holding.held(inlet)
        ]
        with self._admission.lock:
            merged = lane.merged
            admitted = lane.admitted
            flight = self._admission.flight
            committing = 0 if flight is None else flight.taken.get(lane, 0)
            first = self._first_of_units(lane)
        waiting, upcoming = _waiting(lane)
        oldest = first or upcoming
        return LaneFacts(
            partition=lane.partition,
            state=lane.state.value,
            committed=lane.in_group,
            committed_at=lane.committed_at,
            position=lane.position,
            merged=merged,
            unmerged=waiting + admitted + committing,
            oldest_unmerged=None if oldest is None else _time_of(oldest),
            in_hand=self._longest(lane),
            standstills=found,
            stopped_at=next((each.offset for each in found if each.kind == "stopped"), None),
            blocked_keys=len(held),
            held_records=sum(held),
            suspect=lane.life is not None and lane.life.is_suspect,
            lost=sum(lane.lost.values()),
        )

    def _first_of_units(self, lane: Lane) -> RawRecord | None:
        """Return the lane's first record that is in a unit, and not durable. Under the lock."""
        for unit in (self._admission.flight, self._admission.unit):
            if unit is not None and lane in unit.firsts:
                return unit.firsts[lane]
        return None

    @staticmethod
    def _longest(lane: Lane) -> InHand | None:
        now = perf_counter()
        found = [
            InHand(inlet.agent.name, cast("int", cursor.savepoint.record.offset()), now - cursor.since)
            for inlet in lane.inlets
            for cursor in inlet.agent.cursors
            if cursor.savepoint is not None and cursor.savepoint.lane is lane and cursor.waiter is None
        ]
        return max(found, key=lambda in_hand: in_hand.seconds, default=None)

    # --- agents

    def _agent(self, agent: AgentRun, lanes: Sequence[Lane]) -> AgentFacts:
        counts, work = agent.counts, agent.work
        attempts = sum(cursor.attempts for cursor in agent.cursors)
        spent = work.spent + sum(cursor.spent for cursor in agent.cursors)
        return AgentFacts(
            name=agent.name,
            topics=tuple(agent.sources),
            dlq=agent.spec.dlq,
            on_error=agent.spec.on_error,
            concurrency=agent.spec.concurrency,
            in_hand=sum(len(cursor.items) for cursor in agent.cursors),
            processed=attempts - counts.failed + counts.batched + counts.buried,
            busy_seconds=work.busy(perf_counter()),
            duration=work.slow.told(smallest=attempts - work.slow.count, total=spent),
            batch_max=counts.batch_max,
            retries=dict(counts.retries),
            dedupe_hits=None if agent.dedupe is None else agent.dedupe.hits,
            dead_letters=dict(counts.letters),
            fingerprints=len(counts.fingerprints),
            letter_write_failures=counts.letter_write_failures,
            replayed=dict(counts.replayed),
            breakers={inlet.lane.partition: self._wall(since) for inlet, since in _open_breakers(agent, lanes)},
        )

    # --- transactions

    def _transaction(self) -> TransactionFacts:
        thread, admission = self._transactions, self._admission
        with admission.lock:
            unit, flight = admission.unit, admission.flight
            opened_at, records, size = unit.opened_at, unit.records, unit.size_bytes
            size += 0 if flight is None else flight.size_bytes
        return TransactionFacts(
            outcomes={
                "committed": thread.commits,
                "aborted": thread.aborts - thread.unknown,
                "resumed": thread.resumed,
                "unknown": thread.unknown,
            },
            rebuilds=dict(thread.reasons),
            open_since=None if opened_at is None else self._wall(opened_at),
            open_records=records,
            overlay_bytes=size,
            last_commit=thread.last_commit,
            duration=thread.duration.told(),
            commit_duration=thread.commit_duration.told(),
            records=thread.unit_records.told(),
            rebalances=self._rebalances.count,
            rebalance_duration=self._rebalances.told(),
        )


def _waiting(lane: Lane) -> tuple[int, RawRecord | None]:
    """Return how many records were fetched and are in no unit, and the first of them; what had waited in a table is none."""
    if lane.straight:
        begun = [record_of(item) for inlet in lane.inlets for cursor in inlet.agent.cursors for item in cursor.items_of(lane)]
    else:
        begun = [entry.record for entry in lane.window if not isinstance(entry.record, HeldRecord)]
    count, first = len(begun), begun[0] if begun else None
    # Behind what is in the window anyway, and stands at a queue's head where it waits: at most one `Turn` more.
    upto = len(lane.window) + 2
    queues: list[Collection[RawRecord | Entry]] = [inlet.queue for inlet in lane.inlets]
    for queue in (*queues, lane.held or ()):
        head = list(islice(queue, upto))
        others = [item for item in head if not isinstance(item, (Entry, Turn))]
        count += len(queue) - len(head) + len(others)
        first = first or next(iter(others), None)
    return count, first


def _time_of(record: RawRecord) -> float | None:
    """Return when the record came into being, or was replayed: what was fetched is old by that."""
    for name, value in reversed(record.headers() or ()):
        if name == REPLAYED_AT and value is not None:
            try:
                return datetime.fromisoformat(value.decode()).timestamp()
            except ValueError:
                break
    kind, milliseconds = record.timestamp()
    return milliseconds / 1000 if kind else None


def _open_breakers(agent: AgentRun, lanes: Sequence[Lane]) -> Iterator[tuple[Inlet, float]]:
    for lane in lanes:
        for inlet in lane.inlets:
            if inlet.agent is agent and inlet.breaker is not None and inlet.breaker.opened_at is not None:
                yield inlet, inlet.breaker.opened_at


def _tables(lanes: Sequence[Lane]) -> tuple[TableFacts, ...]:
    here = {(each.table, each.number): each for lane in lanes for each in lane.tables.values()}
    facts = []
    for (table, number), partition in sorted(here.items()):
        keys, size = partition.store.estimate() or (None, None)
        facts.append(TableFacts(table, number, keys, size))
    return tuple(facts)


__all__ = ["Snapshot"]
