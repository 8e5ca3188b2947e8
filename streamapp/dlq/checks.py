"""D01 to D06 (OPERATIONS §4): whether dead letters can be written, are kept long enough, and are looked after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamapp.dlq.letters import Reading
from streamapp.dlq.retention import retention_of, time_left
from streamapp.dlq.subject import Subject
from streamapp.records import Partition

DAY: Final = 86_400.0
HOUR: Final = 3600.0
SLACK_BYTES: Final = 65_536
"""A dead letter is its record and at most so many bytes of headers."""
DEFAULT_MESSAGE_BYTES: Final = 1_048_588


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    UNCHECKED = "could not check"
    """Never a pass."""


@dataclass(frozen=True, slots=True)
class Finding:
    id: str
    level: Level
    about: str
    """The topic."""
    line: str
    """With the numbers."""
    why: str
    fix: str | None = None
    """The command, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the checks look at."""

    partitions: Sequence[Partition]
    configs: Mapping[str, Mapping[str, str]]
    """Of the dead-letter topics and their sources; those that may not be seen are absent."""
    reading: Reading
    assigned: frozenset[Partition] | None
    """What the workers of the app's group hold now; None where that is not told."""
    now: float


def check(subject: Subject, cluster: Cluster) -> list[Finding]:
    """Return what is not as it should be, by id."""
    counts: dict[str, int] = {}
    for partition in cluster.partitions:
        counts[partition.topic] = counts.get(partition.topic, 0) + 1
    found = [*_topics(subject, cluster, counts), *_unresolved(subject, cluster, counts), *_dying(cluster)]
    if subject.unloaded is not None:
        found += [
            Finding(each, Level.UNCHECKED, "-", "the app's topics are not known", subject.unloaded, "make its modules load")
            for each in ("D01", "D02", "D03", "D04")
        ]
    return sorted(found, key=lambda finding: (finding.id, finding.about))


def _topics(subject: Subject, cluster: Cluster, counts: Mapping[str, int]) -> Iterator[Finding]:
    for dlq, sources in subject.dlq_sources.items():
        there = [source for source in sources if source in counts]
        if dlq not in counts:
            if there and not subject.settings.topics.topic_allow_declare:
                yield Finding(
                    "D01", Level.ERROR, dlq, f"{dlq} does not exist, and STREAMAPP_TOPIC_ALLOW_DECLARE is false",
                    "without it no record can be dead-lettered, and the worker does not start",
                    f"kafka-topics.sh --create --topic {dlq} --partitions {max(counts[source] for source in there)}",
                )  # fmt: skip
            continue
        widest = max((counts[source] for source in there), default=0)
        if counts[dlq] < widest:
            yield Finding(
                "D02", Level.INFO, dlq, f"{dlq} has {counts[dlq]} partitions, its source {widest}",
                "the letters of several source partitions share one: they spread unevenly",
                f"kafka-topics.sh --alter --topic {dlq} --partitions {widest}",
            )  # fmt: skip
        yield from _settings(dlq, there, cluster.configs)


def _settings(dlq: str, sources: Sequence[str], configs: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    hidden = [topic for topic in (dlq, *sources) if topic not in configs]
    if hidden:
        for each in ("D03", "D04"):
            yield Finding(
                each, Level.UNCHECKED, dlq, f"the settings of {', '.join(hidden)} may not be read", "this user lacks the right",
                "grant DescribeConfigs",
            )  # fmt: skip
        return
    kept = retention_of(configs[dlq])
    of_sources = [retention_of(configs[source]) for source in sources]
    wanted = max([30 * DAY, *(4 * each for each in of_sources if each is not None)])
    endless = any(each is None for each in of_sources)
    if kept is not None and (endless or kept < wanted):
        told = (
            "its source keeps records for ever"
            if endless
            else f"less than {wanted / DAY:g} d, the larger of 30 d and 4 x its source"
        )
        milliseconds = -1 if endless else round(wanted * 1000)
        yield Finding(
            "D03", Level.WARNING, dlq, f"{dlq} keeps letters {kept / DAY:g} d: {told}",
            "a letter has to outlive the weeks until somebody mends its cause",
            f"kafka-configs.sh --alter --topic {dlq} --add-config retention.ms={milliseconds}",
        )  # fmt: skip
    size = int(configs[dlq].get("max.message.bytes", DEFAULT_MESSAGE_BYTES))
    largest = max((int(configs[source].get("max.message.bytes", DEFAULT_MESSAGE_BYTES)) for source in sources), default=0)
    if sources and size < largest + SLACK_BYTES:
        yield Finding(
            "D04", Level.ERROR, dlq, f"{dlq} takes {size} bytes, its source {largest}: it needs {largest + SLACK_BYTES}",
            "a large record's letter loses its value",
            f"kafka-configs.sh --alter --topic {dlq} --add-config max.message.bytes={largest + SLACK_BYTES}",
        )  # fmt: skip


def _unresolved(subject: Subject, cluster: Cluster, counts: Mapping[str, int]) -> Iterator[Finding]:
    for dlq, totals in cluster.reading.totals.items():
        oldest = totals.oldest
        first = None if oldest is None else oldest.first_failed_at
        age = 0.0 if first is None else cluster.now - first
        if oldest is not None and age > DAY:
            yield Finding(
                "D05", Level.WARNING, dlq,
                f"{totals.unresolved} unresolved in {dlq}, the oldest {oldest.id} for {age / HOUR:.0f} h",
                "nobody has replayed or discarded it for a day", f"streamapp dlq stats --dlq {dlq}",
            )  # fmt: skip
    if subject.unloaded is not None:
        return
    readers = subject.dlq_agents
    for dlq in subject.declared_dlqs:
        if dlq not in counts:
            continue
        if dlq not in readers:
            yield Finding(
                "D05", Level.WARNING, dlq, f"no agent reads {dlq}", "new kinds of dead letters are announced by nobody",
                f'declare one: @app.agent(app.topic("{dlq}", key_type=bytes, value_type=bytes))',
            )  # fmt: skip
        elif cluster.assigned is None:
            yield Finding(
                "D05",
                Level.UNCHECKED,
                dlq,
                f"who reads {dlq} now is not told",
                "the group may not be described",
                "grant Describe",
            )
        else:
            held = sum(1 for partition in cluster.assigned if partition.topic == dlq)
            if held < counts[dlq]:
                yield Finding(
                    "D05", Level.WARNING, dlq,
                    f"{', '.join(readers[dlq])} runs on {held} of {counts[dlq]} partitions of {dlq}",
                    "new kinds of dead letters are announced by nobody there", "start a worker",
                )  # fmt: skip


def _dying(cluster: Cluster) -> Iterator[Finding]:
    kept = {topic: retention_of(config) for topic, config in cluster.configs.items()}
    for dlq, totals in cluster.reading.totals.items():
        left = time_left(totals.dying, kept, cluster.now)
        if totals.dying is not None and dlq not in kept:
            yield Finding(
                "D06", Level.UNCHECKED, dlq, f"the settings of {dlq} may not be read", "this user lacks the right",
                "grant DescribeConfigs",
            )  # fmt: skip
        if totals.dying is None or left is None or left >= 48 * HOUR:
            continue
        yield Finding(
            "D06", Level.ERROR if left < 6 * HOUR else Level.WARNING, dlq,
            f"{dlq} deletes {totals.dying.id} in {left / HOUR:.0f} h, unresolved", "what it holds is then lost",
            f"streamapp dlq export --dlq {dlq} > {dlq}.jsonl",
        )  # fmt: skip


__all__ = ["Cluster", "Finding", "Level", "check"]
