"""What the broker tells of a group's lag: offsets, ends, the first unread record, who owns what, whose transactions are open, retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from streamapp.kafka.inspector import Inspector, Layout, LogChanged
from streamapp.kafka.members import Member, Membership
from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.ports import LogReader
from streamapp.records import Partition, RawRecord
from streamapp.verify.holders import holders
from streamapp.verify.rows import Watermarks
from streamapp.verify.transactions import OpenTransaction
from streamapp.verify.unread import first_unread

REPLAYED_AT: Final = "streamapp.dlq.replayed-at"


@dataclass(frozen=True, slots=True)
class Asked:
    """One partition, as the broker has it."""

    sample: Sample
    is_decided: bool
    """Whether the group's offset is told: an undecided transaction holds it back."""
    member: Member | None
    worker: str | None
    transaction: OpenTransaction | None
    """Whose transaction holds back what is written; None where none does, or nobody tells."""
    limits: TopicLimits


@dataclass(frozen=True, slots=True)
class Reading:
    """A group at one moment."""

    at: float
    membership: Membership | None
    workers: int | None
    """Distinct ones; None where members are not told."""
    partitions: Mapping[Partition, Asked]
    missing: Sequence[str]
    """Source topics that do not exist."""
    offsets_retention: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Which group is read, and what it reads."""

    app_id: str
    topics: Sequence[str]
    sets: Sequence[str]
    """Names of its source sets: members are named after them."""
    earliest: bool


def read_group(inspector: Inspector, group: Group, now: float) -> Reading:
    """Ask. Raises BrokerUnreachable."""
    layout = inspector.layout()
    partitions = [partition for topic in group.topics for partition in layout.partitions(topic)]
    members = inspector.membership(group.app_id)
    # Committed offsets before the ends: the other way round, an offset committed meanwhile would lie beyond its end.
    committed = inspector.committed(partitions) if partitions else {}
    ends = {partition: Watermarks(*inspector.ends(partition)) for partition in partitions}
    oldest = _first(inspector, group, committed, ends)
    stuck = {where: each.stable for where, each in ends.items() if each.stable < each.high}
    holding = holders(inspector, layout, stuck).found if stuck else {}
    configs = inspector.topic_configs([topic for topic in group.topics if layout.partitions(topic)])
    by_partition = {} if members is None else {where: member for member in members.members for where in member.partitions}
    workers = None if members is None else {_worker(member, group) for member in members.members}
    return Reading(
        at=now,
        membership=members,
        workers=None if workers is None else len(workers),
        partitions={
            where: Asked(
                sample=_sample(where, group, committed, ends[where], oldest, now),
                is_decided=where in committed,
                member=by_partition.get(where),
                worker=_worker(by_partition[where], group) if where in by_partition else None,
                transaction=holding.get(where),
                limits=TopicLimits.of(configs.get(where.topic)),
            )
            for where in partitions
        },
        missing=[topic for topic in group.topics if not layout.partitions(topic)],
        offsets_retention=_expiry(inspector, layout, members),
    )


def age_mark(record: RawRecord) -> float | None:
    """Return from when on a record's age counts, in seconds since 1970: a replayed one is as old as its replay."""
    for name, value in record.headers() or ():
        if name == REPLAYED_AT and value is not None:
            try:
                moment = datetime.fromisoformat(value.decode())
            except ValueError:
                break
            return moment.timestamp() if moment.tzinfo else None
    kind, milliseconds = record.timestamp()
    return milliseconds / 1000 if kind else None


def _first(
    inspector: Inspector, group: Group, committed: Mapping[Partition, int | None], ends: Mapping[Partition, Watermarks]
) -> dict[Partition, RawRecord] | None:
    """Return the first unread records; None where the logs changed while they were read."""
    ranges: dict[Partition, tuple[int, int]] = {}
    for where, offset in committed.items():
        each = ends[where]
        begin = offset if offset is not None else each.start if group.earliest else None
        if begin is not None and begin < each.stable:
            ranges[where] = (max(begin, each.start), each.stable)
    try:
        return first_unread(cast("LogReader", inspector), ranges)
    except LogChanged:
        return None


def _sample(
    where: Partition,
    group: Group,
    committed: Mapping[Partition, int | None],
    ends: Watermarks,
    oldest: Mapping[Partition, RawRecord] | None,
    now: float,
) -> Sample:
    offset = committed.get(where)
    record = None if oldest is None else oldest.get(where)
    # A reader that finds nothing has all: what is left are markers and aborted records.
    read = oldest is not None and record is None and where in committed
    read = read and (offset is not None or group.earliest or ends.start == ends.stable)
    return Sample(
        at=now,
        committed=offset,
        position=ends.stable if read else None,
        high_watermark=ends.high,
        end=ends.stable,
        # Of an offset that is not told, nothing says that there is none: then the lag is unknown, too.
        log_start=ends.start if where in committed else None,
        oldest_unread=None if record is None else age_mark(record),
        merged=None,
        unmerged=0 if read else None,
        busy=None,
    )


def _worker(member: Member, group: Group) -> str:
    """Return the worker's id, or what else names the member."""
    return member.worker(group.app_id, group.sets) or member.instance_id or member.client_id


def _expiry(inspector: Inspector, layout: Layout, members: Membership | None) -> float | None:
    return inspector.offsets_retention(layout) if members is not None and members.is_empty else None


__all__ = ["Asked", "Group", "Reading", "age_mark", "read_group"]
