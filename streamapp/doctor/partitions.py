"""P01 to P07: partition counts, and how records and keys are spread over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean, median, pstdev
from typing import Final

from streamapp.doctor.check import Check, error, information, unchecked, warning
from streamapp.doctor.facts import Facts, Told, told
from streamapp.doctor.group import wide_enough
from streamapp.doctor.words import create_topic, names, several, shown_key
from streamapp.figures import duration
from streamapp.monitor.finding import Finding, Level
from streamapp.monitor.lag.verdict import Cause
from streamapp.monitor.status import PartitionStatus
from streamapp.records import Partition

FRESH: Final = 10.0
"""Seconds of age that count as none (OPERATIONS §3.3)."""
NULL_KEYS: Final = 0.05
HOT_KEY: Final = 0.2
"""Share of a partition from which on a key is named."""


def p01_counts_that_must_match(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    for topics in app.source_sets:
        counts = {topic.name: topic.partitions for topic in facts.existing(topics)}
        if len(set(counts.values())) > 1:
            tables = sorted(table.name for table in app.tables if len(table.topics) > 1 and set(table.topics) <= set(topics))
            yield error(
                "P01", names(counts), ", ".join(f"{name} {number}" for name, number in counts.items()),
                f"they feed one table ({names(tables)}): partition p of each has to land on one worker",
                "give one of them a topic with the other's count, or give each its own table",
            )  # fmt: skip
    for changelog, table in app.changelogs.items():
        source, there = facts.topic(table.topics[0]), facts.topic(changelog)
        if source is not None and there is not None and source.partitions != there.partitions:
            yield error(
                "P01", changelog, f"changelog {there.partitions}, source {source.name} {source.partitions}",
                f"keys have moved, so table {table.name} cannot be used",
                f"kafka-topics.sh --bootstrap-server {app.broker} --delete --topic {changelog}, then streamapp offsets reset "
                f"--to-earliest --execute, to build it again from {source.name}; or give the table another name",
            )  # fmt: skip
    for agent in app.agents:
        replay = facts.topic(f"{app.app_id}-{agent.name}-replay")
        source = facts.topic(agent.topics[0])
        if replay is not None and source is not None and replay.partitions != source.partitions:
            yield error(
                "P01", replay.name, f"{replay.name} {replay.partitions}, source {source.name} {source.partitions}",
                "a replayed record has to reach the worker that owns its source partition",
                f"kafka-topics.sh --bootstrap-server {app.broker} --delete --topic {replay.name}: it is made again with the right count",
            )  # fmt: skip


def p02_grown(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    seen = told(facts.topics_seen, f"{app.app_id}-meta")
    for name in app.sources:
        topic, row = facts.topic(name), seen.get(name)
        if topic is None or row is None or topic.partitions <= row.partitions:
            continue
        on = "" if row.grown_at is None else f" on {_day(row.grown_at)}"
        line = f"{name}: {row.partitions} → {topic.partitions}{on}"
        tables = app.keyed_sources.get(name, [])
        if tables:
            yield error(
                "P02", name, line, f"moved keys have stale tables and dedupe: {names(tables)}",
                "rebuild: stop the workers, then streamapp app reset --execute",
            )  # fmt: skip
        else:
            yield warning(
                "P02", name, line, "no table rests on it, but keys that moved were out of order while it grew",
                "nothing is left to do; to make the app forget the former count: streamapp app reset --execute",
            )  # fmt: skip


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def p03_room_to_grow(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    peak = len(told(facts.group, app.app_id).workers)
    for topic in facts.existing(set(app.sources) - set(app.dlqs)):
        if not peak or topic.partitions >= 2 * peak:
            continue
        wanted, rate = 2.0 * peak, ""
        loads = _loads(facts, topic.name)
        if loads is not None and loads[1] > 0:
            wanted = max(wanted, 2 * loads[0] / loads[1])
            rate = f"; {loads[0]:.0f}/s come in, one partition can take {loads[1]:.0f}/s"
        yield information(
            "P03", topic.name, f"{topic.name}: {several(topic.partitions, 'partition')} for {several(peak, 'worker')}{rate}",
            "partitions are the limit of how far it scales, and adding them later moves keys",
            create_topic(app.broker, f"{topic.name}-wide", wide_enough(wanted)),
        )  # fmt: skip


def _loads(facts: Facts, topic: str) -> tuple[float, float] | None:
    """Return the topic's rate and the capacity of one partition, both records per second; None where no worker tells."""
    if not isinstance(facts.workers, Sequence):
        return None
    rows = {row.partition: row for each in facts.workers for row in each.document.partitions if row.topic == topic and row.state}
    capacities = [row.capacity for row in rows.values() if row.capacity is not None]
    return (sum(row.produced_rate or 0.0 for row in rows.values()), median(capacities)) if capacities else None


def p04_hot_partitions(facts: Facts) -> Iterator[Finding]:
    for topic, rates in _by_topic(facts.app.loaded().sources, facts.rates).items():
        if len(rates) < 3:
            continue
        middle, mean, spread, whole = median(rates.values()), fmean(rates.values()), pstdev(rates.values()), sum(rates.values())
        for partition, rate in sorted(rates.items()):
            if rate <= 1:
                continue
            if rate > 3 * middle:
                level, than = Level.WARNING, f"the middle one has {middle:.1f}/s"
            elif rate > mean + 2 * spread:
                level, than = Level.INFORMATION, f"they have {mean:.1f}/s on average"
            else:
                continue
            yield Finding(
                "P04", level, str(partition), f"{partition}: {rate:.1f}/s, {rate / whole:.0%} of {topic}; {than}{_keys(facts, partition)}",
                "one worker does the work of several: more workers will not help",
                "spread the key (a bucket behind it), or split what that key does over an unkeyed topic and aggregate behind it",
            )  # fmt: skip


def _keys(facts: Facts, partition: Partition) -> str:
    """Return what keys the partition is busy with, as far as its last records tell."""
    if not isinstance(facts.samples, Mapping) or (sample := facts.samples.get(partition)) is None:
        return "; its keys could not be read"
    hot = [(key, times / sample.records) for key, times in sample.top_keys if times / sample.records >= HOT_KEY]
    if not hot:
        return f"; no key is {HOT_KEY:.0%} of its last {sample.records} records"
    key, share = hot[0]
    return f"; one key is {share:.0%} of its last {sample.records} records: {shown_key(key, plain=facts.show_keys)}"


def p05_one_partition_behind(facts: Facts) -> Iterator[Finding]:
    for topic, ages in _by_topic(facts.app.loaded().sources, facts.ages).items():
        if len(ages) < 3:
            continue
        middle = median(ages.values())
        behind = {partition: age for partition, age in ages.items() if age > FRESH and age > 5 * middle}
        # Several of many are no skew.
        if 0 < len(behind) <= max(1, len(ages) // 4):
            worst = max(behind, key=lambda partition: behind[partition])
            yield warning(
                "P05", str(worst), f"{names(f'{each} is {duration(age)} behind' for each, age in sorted(behind.items()))}; "
                f"the middle one of {topic} {duration(middle)}",
                "not capacity: more workers will not help", f"streamapp doctor --only P04; streamapp lag --partition {worst.number}",
            )  # fmt: skip


def p06_null_keys(facts: Facts) -> Iterator[Finding]:
    keyed = facts.app.loaded().keyed_sources
    if not keyed:
        return
    samples = told(facts.samples)
    for topic, tables in keyed.items():
        of_topic = [sample for partition, sample in samples.items() if partition.topic == topic]
        records, empty = sum(sample.records for sample in of_topic), sum(sample.null_keys for sample in of_topic)
        if records and empty / records > NULL_KEYS:
            yield warning(
                "P06", topic, f"{empty} of the last {records} records of {topic} have no key ({empty / records:.0%})",
                f"they land anywhere: order, and rows per key of {names(tables)}, are undefined",
                "have the producer set the key that the table goes by",
            )  # fmt: skip


def p07_unowned(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    group, session = told(facts.group, app.app_id), app.settings.group.session_timeout
    unowned = [
        Partition(topic.name, number)
        for topic in facts.existing(app.sources)
        for number in range(topic.partitions)
        if Partition(topic.name, number) not in group.assigned
    ]
    if not unowned or group.state not in {"stable", "empty", "dead"}:
        return
    since = {partition: _unowned_since(facts, partition) for partition in unowned}
    for topic in sorted({partition.topic for partition in unowned}):
        these = [partition for partition in unowned if partition.topic == topic]
        long = [(each, at) for each in these if (at := since[each]) is not None and facts.now - at > session]
        if long:
            lasts = facts.now - min(at for _, at in long)
            owners = sorted({owner for each, _ in long if (owner := _last_owner(facts, each)) is not None})
            yield warning(
                "P07", topic, f"{names(str(each) for each, _ in long)} without a worker for {duration(lasts)}"
                + (f"; last: {names(owners)}" if owners else "; last owner not told"),
                f"longer than a session ({duration(session)}): nobody is about to take over",
                "start a worker" if group.is_empty
                else "look at the log of a worker for partitions_added and missing_topic; if neither is there, start one more worker, with an id of its own: "
                "the group then shares out everything (a restart of one that is known moves nothing)",
            )  # fmt: skip
        elif any(since[each] is None for each in these):
            yield unchecked("P07", topic, f"{names(map(str, these))} without a worker: for how long is not told")


def _unowned_since(facts: Facts, partition: Partition) -> float | None:
    """Return seconds since 1970; None: not told."""
    moments = [row.since for row in _rows(facts, partition) if row.cause == Cause.NO_OWNER and row.since is not None]
    if moments:
        return min(moments)
    return facts.empty_since if isinstance(facts.empty_since, float) and told(facts.group).is_empty else None


def _last_owner(facts: Facts, partition: Partition) -> str | None:
    marks = sorted((mark.at, mark.worker) for row in _rows(facts, partition) for mark in row.marks if mark.worker is not None)
    return marks[-1][1] if marks else None


def _rows(facts: Facts, partition: Partition) -> Iterator[PartitionStatus]:
    for each in facts.workers if isinstance(facts.workers, Sequence) else ():
        yield from (row for row in each.document.partitions if (row.topic, row.partition) == partition)


def _by_topic(topics: Sequence[str], fact: Told[Mapping[Partition, float]]) -> dict[str, dict[Partition, float]]:
    found: dict[str, dict[Partition, float]] = {topic: {} for topic in topics}
    for partition, value in told(fact).items():
        if partition.topic in found:
            found[partition.topic][partition] = value
    return found


CHECKS: Final = (
    Check(
        id="P01",
        title="partition counts that must match",
        level=Level.ERROR,
        reads=("topics",),
        look=p01_counts_that_must_match,
        at_start=True,
        refuses=True,
    ),
    Check(id="P02", title="sources that grew", level=Level.ERROR, reads=("topics", "topics_seen"), look=p02_grown, at_start=True),
    Check(
        id="P03",
        title="partitions for twice the workers",
        level=Level.INFORMATION,
        reads=("group", "topics", "workers"),
        look=p03_room_to_grow,
    ),
    Check(
        id="P04", title="hot partitions and their keys", level=Level.WARNING, reads=("rates", "samples"), look=p04_hot_partitions
    ),
    Check(id="P05", title="one partition behind the others", level=Level.WARNING, reads=("ages",), look=p05_one_partition_behind),
    Check(id="P06", title="keys where tables need them", level=Level.WARNING, reads=("samples",), look=p06_null_keys),
    Check(
        id="P07",
        title="partitions without a worker",
        level=Level.WARNING,
        look=p07_unowned,
        reads=("group", "topics", "empty_since", "workers"),
    ),
)

__all__ = ["CHECKS"]
