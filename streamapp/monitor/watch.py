"""Lag as a worker sees it of its own partitions: what comes in is remembered, judged, and told when it changes. No I/O, and no clock of its own."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from streamapp.events import Event, log_event
from streamapp.monitor.lag.evaluate import evaluate, evaluate_group, settled
from streamapp.monitor.lag.explain import explain
from streamapp.monitor.lag.inputs import Change, Config, Happening, Limits, RestoreShown, Sample
from streamapp.monitor.lag.topic_limits import NOT_SEEN, TopicLimits
from streamapp.monitor.lag.verdict import GroupVerdict, Status, Verdict
from streamapp.monitor.quantiles import quantile
from streamapp.monitor.rings import Memory, Reach
from streamapp.pipeline.facts import AgentFacts, EngineFacts, LaneFacts
from streamapp.ports import LogEnds
from streamapp.records import Partition

log = logging.getLogger(__name__)

BUSY_WINDOW: Final = 60.0
"""Seconds that an agent's busy share looks back."""
RESTORE_MOVES: Final = 60.0
"""Seconds without progress after which a restore counts as standing."""

_STANDS: Final = frozenset({"stopped", "blocked", "unwritten", "suspect", "paused", "no position"})
"""Standstills that mark the history as a pause; retries are too short for it, and a breaker has a mark of its own."""
_WORSE: Final = {Status.DATA_LOST, Status.AT_RISK, Status.STALLED, Status.CLIFF, Status.FALLING_BEHIND}


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of the world around the worker; asked seldom, so it may be minutes old."""

    topics: Mapping[str, TopicLimits] = field(default_factory=dict)
    """Those that are known."""
    offsets_retention: float | None = None
    workers: int | None = None
    """Distinct worker ids in the group."""
    upstream_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What came before this process."""

    version: str
    """Ours."""
    worker: str
    previous_version: str | None = None
    """The one that ran here before this start; None: none, or unknown."""
    starts: tuple[float, ...] = ()
    """Of this worker id, this start included."""


@dataclass(frozen=True, slots=True)
class View:
    """What the last sample came to. Immutable: handed from thread to thread."""

    at: float
    verdicts: Mapping[Partition, Verdict]
    samples: Mapping[Partition, Sample]
    limits: Mapping[Partition, Limits]
    marks: Mapping[Partition, tuple[Happening, ...]]
    group: GroupVerdict
    busy: Mapping[str, float]
    """Agent -> share of the last minute."""


class LagWatch:
    """One thread adds; `history` may be called on another."""

    def __init__(
        self,
        config: Config,
        past: Past,
        partitions: Mapping[str, int],
        *,
        tables: Mapping[str, Collection[str]],
        reach: Reach | None = None,
    ) -> None:
        """`partitions`: counts of the source topics. `tables`: table -> its source topics."""
        self.config = config
        self.past = past
        self._partitions = partitions
        self._tables = tables
        self.reach = reach or Reach()
        self._memories: dict[Partition, Memory] = {}
        """Of owned partitions, and for a while of those that went: they mostly come back."""
        self._owned: set[Partition] = set()
        self._lock = threading.Lock()
        self._past_known = False
        self._begun: set[Partition] = set()
        """Those whose first assignment in this process was marked with what came before it."""
        self._starts: dict[Partition, int] = {}
        self._verdicts: dict[Partition, Verdict] = {}
        """The status that holds."""
        self._candidates: dict[Partition, Verdict] = {}
        """The last evaluation."""
        self._standing: dict[Partition, frozenset[str]] = {}
        self._unsettled: dict[Partition, float] = {}
        """Since when a partition is in the middle of a rebalance."""
        self._busy: deque[tuple[float, dict[str, float]]] = deque()
        """When, and the seconds that each agent had been busy by then."""
        self._restores: dict[tuple[str, int], tuple[int, float]] = {}
        """Records restored, and since when it is that many."""

    # --- what happened

    def began(self, past: Past) -> None:
        """Learn what came before this process: what was assigned is marked with it, and so is what will be, the first time."""
        self.past = past
        self._past_known = True
        for partition in self._owned:
            self._mark_past(partition)

    def assigned(self, partitions: Collection[Partition], at: float) -> None:
        for partition in partitions:
            self._owned.add(partition)
            self._forget_verdict(partition)
            with self._lock:
                memory = self._memories.setdefault(partition, Memory(self.reach))
            memory.happened(Happening(at, Change.ASSIGNED, self.past.worker, self.past.version))
            if self._past_known:
                self._mark_past(partition)

    def _mark_past(self, partition: Partition) -> None:
        if partition in self._begun:
            return
        self._begun.add(partition)
        past, memory = self.past, self._memories[partition]
        # Of two marks at one moment the first is what is named: a deploy says more than the start that it was.
        if past.previous_version is not None and past.starts:
            detail = f"{past.previous_version} -> {past.version}"
            memory.happened(Happening(past.starts[-1], Change.DEPLOYED, past.worker, past.version, detail))
        known = {each.at for each in memory.happenings if each.change is Change.RESTARTED}
        for started in past.starts if len(past.starts) > 1 else ():  # a first start is none again
            if started not in known:
                memory.happened(Happening(started, Change.RESTARTED, past.worker))

    def revoked(self, partitions: Collection[Partition], at: float) -> None:
        for partition in self._owned.intersection(partitions):
            self._owned.discard(partition)
            if (memory := self._memories.get(partition)) is not None:
                memory.happened(Happening(at, Change.REVOKED, self.past.worker, self.past.version))
            self._starts.pop(partition, None)
            self._standing.pop(partition, None)
            self._unsettled.pop(partition, None)
            self._forget_verdict(partition)

    def recall(self, memories: Mapping[Partition, Memory]) -> None:
        """Take over what an earlier process remembered. Before the first sample."""
        with self._lock:
            for partition, memory in memories.items():
                self._memories.setdefault(partition, memory)

    def memories(self) -> dict[Partition, Memory]:
        """Return all that is remembered. On the thread that adds."""
        return dict(self._memories)

    def _forget_old(self, now: float) -> None:
        for partition in self._memories.keys() - self._owned:
            newest = self._memories[partition].newest
            if newest is None or newest.at < now - self.reach.short:
                with self._lock:
                    del self._memories[partition]

    def _forget_verdict(self, partition: Partition) -> None:
        self._verdicts.pop(partition, None)
        self._candidates.pop(partition, None)

    # --- a sample

    def sample(
        self,
        facts: EngineFacts,
        ends: Mapping[Partition, LogEnds],
        starts: Mapping[Partition, int],
        restoring: Sequence[Mapping[str, Any]],
        around: Around,
        *,
        reachable: bool,
        pause: Callable[[], object] = lambda: None,
    ) -> View:
        """Remember, judge and tell what is known at `facts.now`. `ends` and `starts`: those that were told, others are unknown.

        `pause` is called between two partitions: what a thread does in one go keeps the loop from its own.
        """
        now = facts.now
        self.revoked(self._owned - {lane.partition for lane in facts.lanes}, now)  # it will be told yet
        self._forget_old(now)
        self._starts |= starts
        busy = self._busy_since_last(facts)
        config = replace(self.config, reachable=reachable)
        samples, limits, verdicts, marks = {}, {}, {}, {}
        for lane in facts.lanes:
            memory = self._memory_of(lane.partition, now)
            agents = [agent for agent in facts.agents if lane.partition.topic in agent.topics]
            self._note_standstills(lane, memory, now)
            sample = self._sample_of(lane, ends.get(lane.partition), agents, busy, now)
            if sample.settled:
                self._unsettled.pop(lane.partition, None)
                with self._lock:
                    memory.add(sample)
            limits[lane.partition] = self._limits_of(lane, agents, restoring, around, now)
            happenings = tuple(sorted(memory.happenings, key=lambda each: each.at))
            latest = evaluate(tuple(memory.short), happenings, limits[lane.partition], config, now)
            verdicts[lane.partition] = self._settle(latest)
            samples[lane.partition] = sample
            marks[lane.partition] = happenings
            pause()
        group = evaluate_group(list(verdicts.values()), config, around.workers, now)
        return View(now, verdicts, samples, limits, marks, group, self._busy_lately(facts))

    def history(self, partition: Partition, *, of_a_day: bool = False) -> tuple[Sample, ...]:
        """Return what is remembered, oldest first. Any thread."""
        with self._lock:
            memory = self._memories.get(partition)
            return () if memory is None else tuple(memory.long if of_a_day else memory.short)

    def _memory_of(self, partition: Partition, now: float) -> Memory:
        if partition not in self._owned:  # its assignment was not told yet
            self.assigned([partition], now)
        return self._memories[partition]

    def _sample_of(
        self, lane: LaneFacts, end: LogEnds | None, agents: Sequence[AgentFacts], busy: Mapping[str, float], now: float
    ) -> Sample:
        shares = [busy[agent.name] for agent in agents if agent.name in busy]
        is_settled = lane.state in ("running", "rewinding") or (lane.state == "restoring" and lane.committed is not None)
        is_settled = is_settled and all(each.kind != "revoked" for each in lane.standstills)
        return Sample(
            at=now,
            committed=lane.committed,
            position=lane.position,
            high_watermark=None if end is None else end.high,
            end=None if end is None else end.stable,
            log_start=self._starts.get(lane.partition),
            oldest_unread=lane.oldest_unmerged,
            merged=lane.merged,
            unmerged=lane.unmerged,
            busy=max(shares, default=None),
            settled=is_settled,
        )

    def _limits_of(
        self, lane: LaneFacts, agents: Sequence[AgentFacts], restoring: Sequence[Mapping[str, Any]], around: Around, now: float
    ) -> Limits:
        partition = lane.partition
        p99s = [found for agent in agents if (found := quantile(agent.duration, 0.99)) is not None]
        is_moving_house = lane.state == "assigned" or any(each.kind == "revoked" for each in lane.standstills)
        if is_moving_house:
            self._unsettled.setdefault(partition, now)
        return Limits(
            topic=around.topics.get(partition.topic, NOT_SEEN),
            offsets_retention=around.offsets_retention,
            empty_since=None,  # we are in it
            owner=self.past.worker,
            owner_known=True,
            standstills=lane.standstills,
            in_hand=None if lane.in_hand is None else (lane.in_hand.agent, lane.in_hand.seconds),
            handler_p99=max(p99s, default=None),
            restore=self._restore_of(partition, restoring, now),
            rebalancing_since=self._unsettled.get(partition) if is_moving_house else None,
            last_commit=lane.committed_at,
            upstream_timeout=around.upstream_timeout,
            partitions=self._partitions.get(partition.topic, 0),
            partition=partition,
            in_hand_offset=None if lane.in_hand is None else lane.in_hand.offset,
        )

    def _restore_of(self, partition: Partition, restoring: Sequence[Mapping[str, Any]], now: float) -> RestoreShown | None:
        rows = [
            row
            for row in restoring
            if row["partition"] == partition.number and partition.topic in self._tables.get(row["table"], ())
        ]
        if not rows:
            return None
        moving = False
        for row in rows:
            key, records = (row["table"], row["partition"]), row.get("records") or 0
            before = self._restores.get(key)
            if before is None or before[0] != records:
                self._restores[key] = (records, now)
            moving |= now - self._restores[key][1] < RESTORE_MOVES
        lefts = [row["target"] - (row.get("offset") or 0) for row in rows if row.get("target") is not None]
        seconds = [row["seconds_left"] for row in rows if row.get("seconds_left") is not None]
        return RestoreShown(
            restored=sum(row.get("records") or 0 for row in rows),
            remaining=sum(max(0, left) for left in lefts) if len(lefts) == len(rows) else None,
            seconds_left=max(seconds, default=None),
            moving=moving,
        )

    def _note_standstills(self, lane: LaneFacts, memory: Memory, now: float) -> None:
        kinds: frozenset[str] = frozenset(each.kind for each in lane.standstills)
        fresh = kinds - self._standing.get(lane.partition, frozenset())
        self._standing[lane.partition] = kinds
        for each in lane.standstills:
            if each.kind not in fresh:
                continue
            if each.kind == "breaker":
                memory.happened(Happening(each.since, Change.BREAKER, self.past.worker, detail=each.agent or ""))
            elif each.kind in _STANDS:
                memory.happened(Happening(each.since, Change.PAUSED, self.past.worker, detail=each.kind))

    # --- busy shares

    def _busy_since_last(self, facts: EngineFacts) -> dict[str, float]:
        last = self._busy[-1] if self._busy else None
        seconds = {agent.name: agent.busy_seconds for agent in facts.agents}
        self._busy.append((facts.now, seconds))
        while len(self._busy) > 2 and self._busy[1][0] <= facts.now - BUSY_WINDOW:
            self._busy.popleft()
        return {} if last is None else _shares(last, (facts.now, seconds))

    def _busy_lately(self, facts: EngineFacts) -> dict[str, float]:
        return _shares(self._busy[0], self._busy[-1])

    # --- what is told

    def _settle(self, latest: Verdict) -> Verdict:
        """Return the status that holds: one evaluation alone changes none, save to DATA_LOST."""
        partition = latest.partition
        before = self._verdicts.get(partition)
        holds = settled(before, self._candidates.get(partition), latest)
        self._candidates[partition] = latest
        self._verdicts[partition] = holds
        was = None if before is None else before.status
        # That a new partition has nothing unread, or is not known yet, is no news.
        if was is not holds.status and (was is not None or holds.status not in (Status.OK, Status.UNKNOWN)):
            tell_change(was, holds)
        return holds


def tell_change(before: Status | None, verdict: Verdict) -> None:
    """Log that a partition has another status, with its numbers."""
    was = "new" if before is None else str(before)
    log_event(
        log,
        logging.WARNING if verdict.status in _WORSE else logging.INFO,
        Event.STATUS_CHANGED,
        f"{verdict.partition}: {was} -> {verdict.status}: {explain(verdict)}",
        topic=verdict.partition.topic,
        partition=verdict.partition.number,
        before=None if before is None else str(before),
        status=str(verdict.status),
        cause=None if verdict.cause is None else str(verdict.cause),
        lag=verdict.lag,
        age=_rounded(verdict.age),
        committed=verdict.committed,
        end=verdict.end,
        log_start=verdict.log_start,
        growth=None if verdict.growth is None else _rounded(verdict.growth.estimate),
        drain=None if verdict.drain is None else _rounded(verdict.drain.estimate),
        loss=_rounded(verdict.loss),
        lost=verdict.lost,
    )


def _shares(before: tuple[float, dict[str, float]], after: tuple[float, dict[str, float]]) -> dict[str, float]:
    passed = after[0] - before[0]
    if passed <= 0:
        return {}
    return {agent: min(1.0, max(0.0, (seconds - before[1].get(agent, 0.0)) / passed)) for agent, seconds in after[1].items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)


__all__ = ["Around", "LagWatch", "Past", "View", "tell_change"]
