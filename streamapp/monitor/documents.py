"""The status document put together from what is known: facts, verdicts, restores, dead letters. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from streamapp.monitor.finding import Finding
from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.group import SEVERITY, evaluate_group
from streamapp.monitor.lag.inputs import Config, Happening, Sample
from streamapp.monitor.lag.series import lag_of
from streamapp.monitor.lag.verdict import GroupVerdict, Interval, Status, Verdict
from streamapp.monitor.quantiles import quantile
from streamapp.monitor.status import (
    SCHEMA,
    AgentStatus,
    Bounds,
    ConfigRow,
    DeadLetterCount,
    DlqPartition,
    FindingStatus,
    Fingerprint,
    GroupStatus,
    Histogram,
    Mark,
    PartitionStatus,
    Point,
    Standing,
    StatusDocument,
    TableStatus,
    TransactionStatus,
    WorkerStatus,
)
from streamapp.monitor.watch import View
from streamapp.pipeline.facts import AgentFacts, Distribution, EngineFacts, LaneFacts, Standstill, TransactionFacts
from streamapp.records import Partition

NOTHING_SEEN: Final = Distribution((), (0,), 0.0)
NO_TRANSACTIONS: Final = TransactionFacts(
    outcomes={},
    rebuilds={},
    open_since=None,
    open_records=0,
    overlay_bytes=0,
    last_commit=None,
    duration=NOTHING_SEEN,
    commit_duration=NOTHING_SEEN,
    records=NOTHING_SEEN,
    rebalances=0,
    rebalance_duration=NOTHING_SEEN,
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that one worker knows when it is asked."""

    now: float
    app_id: str
    worker: WorkerStatus
    facts: EngineFacts | None
    """None while the engine does not run."""
    view: View | None
    """None before the first sample."""
    config: Config
    restoring: Sequence[Mapping[str, Any]] = ()
    dead_letters: Sequence[DlqPartition] = ()
    findings: Sequence[Finding] = ()
    settings: Sequence[ConfigRow] = ()
    history: Callable[[Partition], Sequence[Sample]] | None = None
    """None: not asked for."""


def document(known: Known) -> StatusDocument:
    """Return the document of this worker alone."""
    facts, view = known.facts, known.view
    lanes = () if facts is None else facts.lanes
    partitions = [_partition(lane, known) for lane in lanes]
    agents = () if facts is None else facts.agents
    return StatusDocument(
        schema=SCHEMA,
        at=known.now,
        app_id=known.app_id,
        worker=known.worker,
        group=_group(None if view is None else view.group, known),
        partitions=worst_first(partitions),
        agents=tuple(_agent(agent, lanes, {} if view is None else view.busy) for agent in agents),
        transactions=_transactions(NO_TRANSACTIONS if facts is None else facts.transactions, known.now),
        tables=_tables(facts, known.restoring),
        dead_letters=tuple(known.dead_letters),
        fingerprints=() if facts is None else tuple(
            Fingerprint(
                fingerprint=each.fingerprint,
                agent=each.agent,
                error_type=each.error_type,
                reason=each.reason,
                stage=each.stage,
                count=each.count,
                first=each.first,
                last=each.last,
                dead_letters=each.letters,
                dlq=each.dlq,
            )
            for each in facts.fingerprints
        ),
        findings=tuple(
            FindingStatus(id=each.id, level=str(each.level), subject=each.subject, line=each.line, why=each.why, fix=each.fix)
            for each in known.findings
        ),
        config=tuple(known.settings),
    )  # fmt: skip


def with_history(of: StatusDocument, config: Config, history: Callable[[Partition], Sequence[Sample]]) -> StatusDocument:
    """Return the document with the history of each partition that its own worker tells. Any thread."""
    return msgspec.structs.replace(
        of,
        partitions=tuple(
            msgspec.structs.replace(
                row, history=tuple(_point(sample, config) for sample in history(Partition(row.topic, row.partition)))
            )
            if row.owner == of.worker.worker
            else row
            for row in of.partitions
        ),
    )


def worst_first(partitions: Sequence[PartitionStatus]) -> tuple[PartitionStatus, ...]:
    def key(each: PartitionStatus) -> tuple[int, float, str, int]:
        return SEVERITY[Status(each.status)], -(each.age or 0.0), each.topic, each.partition

    return tuple(sorted(partitions, key=key))


# --- partitions


def _partition(lane: LaneFacts, known: Known) -> PartitionStatus:
    where, view = lane.partition, known.view
    verdict = None if view is None else view.verdicts.get(where)
    history = None if known.history is None else tuple(_point(sample, known.config) for sample in known.history(where))
    if view is None or verdict is None:
        return _unsampled(lane, known, history)
    sample, limits = view.samples[where], view.limits[where]
    return PartitionStatus(
        topic=where.topic,
        partition=where.number,
        owner=verdict.owner,
        owner_known=verdict.owner_known,
        state=lane.state,
        status=str(verdict.status),
        cause=None if verdict.cause is None else str(verdict.cause),
        since=verdict.since,
        sentence=explain(verdict),
        fix=fix_of(verdict, known.config),
        committed=verdict.committed,
        position=sample.position,
        end=verdict.end,
        high_watermark=sample.high_watermark,
        log_start=verdict.log_start,
        lag=verdict.lag,
        raw_lag=verdict.raw_lag,
        blocked=verdict.blocked,
        lost=verdict.lost,
        age=verdict.age,
        produced_rate=verdict.produced_rate,
        consumed_rate=verdict.consumed_rate,
        growth=_bounds(verdict.growth),
        drain=_bounds(verdict.drain),
        capacity=verdict.capacity,
        utilization=verdict.utilization,
        loss=verdict.loss if verdict.loss is not None and math.isfinite(verdict.loss) else None,
        loss_never=verdict.loss is not None and math.isinf(verdict.loss),
        loss_by=None if verdict.loss_by is None else str(verdict.loss_by),
        retention=limits.topic.retention,
        retention_used=verdict.used,
        commit_age=None if lane.committed_at is None else max(0.0, known.now - lane.committed_at),
        in_flight=lane.unmerged,
        in_hand=None if lane.in_hand is None else 1,
        standing=tuple(_standing(each) for each in lane.standstills),
        history=history,
        marks=tuple(_mark(each) for each in view.marks.get(where, ())),
    )


def _unsampled(lane: LaneFacts, known: Known, history: tuple[Point, ...] | None) -> PartitionStatus:
    """A partition that came after the last sample: what is not measured yet is unknown."""
    return PartitionStatus(
        topic=lane.partition.topic,
        partition=lane.partition.number,
        owner=known.worker.worker,
        owner_known=True,
        state=lane.state,
        status=str(Status.UNKNOWN),
        cause=None,
        since=None,
        sentence=f"no sample yet; the first comes within {known.config.sample_interval:g} s",
        fix=None,
        committed=lane.committed,
        position=lane.position,
        end=None,
        high_watermark=None,
        log_start=None,
        lag=None,
        raw_lag=None,
        blocked=None,
        lost=0,
        age=None if lane.oldest_unmerged is None else max(0.0, known.now - lane.oldest_unmerged),
        produced_rate=None,
        consumed_rate=None,
        growth=None,
        drain=None,
        capacity=None,
        utilization=None,
        loss=None,
        loss_never=False,
        loss_by=None,
        retention=None,
        retention_used=None,
        commit_age=None if lane.committed_at is None else max(0.0, known.now - lane.committed_at),
        in_flight=lane.unmerged,
        in_hand=None if lane.in_hand is None else 1,
        standing=tuple(_standing(each) for each in lane.standstills),
        history=history,
    )


def unowned(topic: str, number: int) -> PartitionStatus:
    """Return the row of a partition that none of the workers that answer owns: nobody samples it."""
    return PartitionStatus(
        topic=topic,
        partition=number,
        owner=None,
        owner_known=True,
        state=None,
        status=str(Status.UNKNOWN),
        cause="no owner",
        since=None,
        sentence="no worker that answers owns it",
        fix="streamapp lag",
        committed=None,
        position=None,
        end=None,
        high_watermark=None,
        log_start=None,
        lag=None,
        raw_lag=None,
        blocked=None,
        lost=0,
        age=None,
        produced_rate=None,
        consumed_rate=None,
        growth=None,
        drain=None,
        capacity=None,
        utilization=None,
        loss=None,
        loss_never=False,
        loss_by=None,
        retention=None,
        retention_used=None,
        commit_age=None,
        in_flight=None,
        in_hand=None,
    )


def group_of(rows: Sequence[PartitionStatus], config: Config, workers: int | None, now: float) -> GroupStatus:
    """Return the group's line over partitions of several workers, from what their documents tell."""
    return _group_status(evaluate_group([_verdict_of(each, now) for each in rows], config, workers, now))


def _verdict_of(each: PartitionStatus, now: float) -> Verdict:
    return Verdict(
        partition=Partition(each.topic, each.partition),
        at=now,
        status=Status(each.status),
        cause=None,
        detail="",
        since=each.since,
        committed=each.committed,
        end=each.end,
        log_start=each.log_start,
        lag=each.lag,
        raw_lag=each.raw_lag,
        blocked=each.blocked,
        age=each.age,
        pace=None,
        produced_rate=each.produced_rate,
        consumed_rate=each.consumed_rate,
        growth=_interval(each.growth),
        growth_window=None,
        deadband=None if each.produced_rate is None else max(1.0, 0.02 * each.produced_rate),
        drain=_interval(each.drain),
        capacity=each.capacity,
        utilization=each.utilization,
        loss=math.inf if each.loss_never else each.loss,
        loss_by=None,
        headroom=None,
        used=each.retention_used,
        lost=each.lost,
        hour_in=None,
        recovery=None,
        known_in=None,
        owner=each.owner,
        owner_known=each.owner_known,
        commit_age=each.commit_age,
    )


def _interval(bounds: Bounds | None) -> Interval | None:
    return None if bounds is None else Interval(bounds.estimate, bounds.low, bounds.high)


def _point(sample: Sample, config: Config) -> Point:
    return Point(
        at=sample.at,
        lag=lag_of(sample, config),
        age=None if sample.oldest_unread is None else max(0.0, sample.at - sample.oldest_unread),
        committed=sample.committed,
        end=sample.end,
        log_start=sample.log_start,
        position=sample.position,
        high_watermark=sample.high_watermark,
        merged=sample.merged,
        busy=sample.busy,
    )


def _mark(each: Happening) -> Mark:
    return Mark(at=each.at, change=str(each.change), worker=each.worker, version=each.version, detail=each.detail)


def _standing(each: Standstill) -> Standing:
    return Standing(
        kind=each.kind, since=each.since, agent=each.agent, offset=each.offset, attempt=each.attempt, detail=each.detail
    )


def _bounds(interval: Interval | None) -> Bounds | None:
    return None if interval is None else Bounds(estimate=interval.estimate, low=interval.low, high=interval.high)


def _group(group: GroupVerdict | None, known: Known) -> GroupStatus:
    if group is None:
        return GroupStatus(
            group=known.config.group,
            status=str(Status.UNKNOWN),
            sentence="no sample yet" if known.facts is not None else known.worker.failing or "starting",
            partitions=0 if known.facts is None else len(known.facts.lanes),
            workers=None,
            workers_needed=None,
            workers_capped=False,
        )
    return _group_status(group)


def _group_status(group: GroupVerdict) -> GroupStatus:
    return GroupStatus(
        group=group.group,
        status=str(group.status),
        sentence=group.sentence,
        partitions=group.partitions,
        workers=group.workers,
        workers_needed=group.workers_needed,
        workers_capped=group.workers_capped,
    )


# --- agents, transactions, tables


def _agent(agent: AgentFacts, lanes: Sequence[LaneFacts], busy: Mapping[str, float]) -> AgentStatus:
    mine = [lane for lane in lanes if lane.partition.topic in agent.topics]
    return AgentStatus(
        name=agent.name,
        topics=agent.topics,
        dlq=agent.dlq,
        on_error=agent.on_error,
        concurrency=agent.concurrency,
        in_hand=agent.in_hand,
        processed=agent.processed,
        busy=busy.get(agent.name),
        duration=_histogram(agent.duration),
        p50=quantile(agent.duration, 0.5),
        p95=quantile(agent.duration, 0.95),
        p99=quantile(agent.duration, 0.99),
        retries=dict(agent.retries),
        dedupe_hits=agent.dedupe_hits,
        dead_letters=tuple(
            DeadLetterCount(error_type=error_type, reason=reason, count=count)
            for (error_type, reason), count in agent.dead_letters.items()
        ),
        fingerprints=agent.fingerprints,
        letter_write_failures=agent.letter_write_failures,
        replayed=dict(agent.replayed),
        breakers=tuple(
            Standing(kind="breaker", since=since, agent=agent.name, detail=str(where)) for where, since in agent.breakers.items()
        ),
        blocked_keys={str(lane.partition): lane.blocked_keys for lane in mine if lane.blocked_keys},
        held_records={str(lane.partition): lane.held_records for lane in mine if lane.held_records},
    )


def _transactions(facts: TransactionFacts, now: float) -> TransactionStatus:
    return TransactionStatus(
        outcomes=dict(facts.outcomes),
        rebuilds=dict(facts.rebuilds),
        open_age=None if facts.open_since is None else max(0.0, now - facts.open_since),
        open_records=facts.open_records,
        overlay_bytes=facts.overlay_bytes,
        last_commit=facts.last_commit,
        duration=_histogram(facts.duration),
        commit_duration=_histogram(facts.commit_duration),
        commit_p50=quantile(facts.commit_duration, 0.5),
        commit_p99=quantile(facts.commit_duration, 0.99),
        records=_histogram(facts.records),
        rebalances=facts.rebalances,
        rebalance_duration=_histogram(facts.rebalance_duration),
    )


def _tables(facts: EngineFacts | None, restoring: Sequence[Mapping[str, Any]]) -> tuple[TableStatus, ...]:
    coming = {(row["table"], row["partition"]): row for row in restoring}
    here = () if facts is None else facts.tables
    rows = [
        TableStatus(table=each.table, partition=each.number, state="running", keys=each.keys, bytes=each.bytes)
        for each in here
        if (each.table, each.number) not in coming
    ]
    for (table, number), row in coming.items():
        target = row.get("target")
        rows.append(
            TableStatus(
                table=table,
                partition=number,
                state=row["state"],
                keys=None,
                bytes=None,
                restored=row.get("records"),
                remaining=None if target is None else max(0, target - (row.get("offset") or 0)),
                rate=row.get("records_per_second"),
                seconds_left=row.get("seconds_left"),
                waiting=row.get("waiting"),
                trouble=row.get("trouble"),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.table, row.partition)))


def _histogram(of: Distribution) -> Histogram:
    return Histogram(bounds=of.bounds, counts=of.counts, total=of.total)


__all__ = ["Known", "document", "group_of", "unowned", "with_history", "worst_first"]
