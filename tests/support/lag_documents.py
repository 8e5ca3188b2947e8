"""A group's lag as a broker and a worker tell it, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from streamapp.kafka.members import Member, Membership
from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.lag.series import lag_of
from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.monitor.status import (
    GroupStatus,
    Histogram,
    Mark,
    PartitionStatus,
    Point,
    Standing,
    StatusDocument,
    TransactionStatus,
    WorkerStatus,
)
from streamapp.records import Partition
from streamapp.verify.group_lag import Asked, Reading
from streamapp.verify.transactions import OpenTransaction
from tests.support.lag_series import CONFIG, DAY, NOW

LIMITS = TopicLimits(known=True, retention=DAY, retention_bytes=None, compacted=False, deleted=True, delete_retention=DAY)
_NONE = Histogram(bounds=(), counts=(0,), total=0.0)


def member(worker: str, *partitions: Partition) -> Member:
    name = f"order-processor-{worker}-orders"
    return Member(f"{name}-7f3a", name, name, "/10.0.0.7", frozenset(partitions))


def asked(
    sample: Sample,
    *,
    owner: Member | None = None,
    transaction: OpenTransaction | None = None,
    is_decided: bool = True,
    limits: TopicLimits = LIMITS,
) -> Asked:
    worker = owner.worker("order-processor", ["orders"]) if owner is not None else None
    return Asked(sample, is_decided, owner, worker, transaction, limits)


def reading(
    partitions: Mapping[Partition, Asked],
    members: Sequence[Member] | None = (),
    *,
    at: float = NOW,
    missing: Sequence[str] = (),
    state: str = "stable",
) -> Reading:
    shown = None if members is None else Membership(state if members else "empty", tuple(members))
    return Reading(at, shown, None if members is None else len(members), partitions, missing, 7 * DAY)


def point(sample: Sample) -> Point:
    return Point(
        at=sample.at,
        lag=lag_of(sample, CONFIG),
        age=None if sample.oldest_unread is None else sample.at - sample.oldest_unread,
        committed=sample.committed,
        end=sample.end,
        log_start=sample.log_start,
        position=sample.position,
        high_watermark=sample.high_watermark,
        merged=sample.merged,
        busy=sample.busy,
    )


def told(
    where: Partition, samples: Sequence[Sample], *, standing: Sequence[Standing] = (), marks: Sequence[Mark] = ()
) -> PartitionStatus:
    """Return a worker's row of a partition: its past, and why it stands still."""
    latest = samples[-1]
    return PartitionStatus(
        topic=where.topic, partition=where.number, owner="w-2", owner_known=True, state="running", status="OK", cause=None, since=None,
        sentence="as the worker says", fix=None, committed=latest.committed, position=latest.position, end=latest.end,
        high_watermark=latest.high_watermark, log_start=latest.log_start, lag=None, raw_lag=None, blocked=None, lost=0, age=None,
        produced_rate=None, consumed_rate=None, growth=None, drain=None, capacity=None, utilization=None, loss=None, loss_never=False,
        loss_by=None, retention=DAY, retention_used=None, commit_age=0.1, in_flight=None, in_hand=None, standing=tuple(standing),
        history=tuple(point(each) for each in samples), marks=tuple(marks),
    )  # fmt: skip


def document(*partitions: PartitionStatus, app_id: str = "order-processor", at: float = NOW) -> StatusDocument:
    return StatusDocument(
        schema=1, at=at, app_id=app_id,
        worker=WorkerStatus(
            worker="w-2", version="1.4.0", streamapp="0.1.0", librdkafka="2.16.0", guarantee="exactly_once", pid=7, started=NOW - 3600,
            url=None, ready=True, draining=False, failing=None, loop_lag=None,
        ),
        group=GroupStatus(group=app_id, status="OK", sentence="", partitions=8, workers=2, workers_needed=None, workers_capped=False),
        partitions=partitions, agents=(),
        transactions=TransactionStatus(
            outcomes={}, rebuilds={}, open_age=None, open_records=0, overlay_bytes=0, last_commit=None, duration=_NONE,
            commit_duration=_NONE, commit_p50=None, commit_p99=None, records=_NONE, rebalances=0, rebalance_duration=_NONE,
        ),
        tables=(), dead_letters=(), fingerprints=(), findings=(), config=(),
    )  # fmt: skip


def fresh(sample: Sample) -> Sample:
    """Return a sample as the broker's answer makes it: what only the worker knows is None."""
    read = lag_of(sample, CONFIG) == 0
    return replace(sample, merged=None, busy=None, position=sample.end if read else None, unmerged=0 if read else None)
