"""`streamapp dlq check`: D01 to D06 of the doctor, on what the dead-letter commands have read anyway."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamapp.dlq.letters import Reading, bounds_of, read_letters
from streamapp.dlq.retention import retention_of, time_left
from streamapp.dlq.statuses import read_statuses
from streamapp.dlq.subject import Subject
from streamapp.doctor import dead_letters
from streamapp.doctor.catalogue import findings
from streamapp.doctor.facts import App, Facts, Group, Letters, Member, Rights, Told, Topic, Unread
from streamapp.doctor.rights import rights_of
from streamapp.errors import BrokerUnreachable, NotAllowed
from streamapp.kafka.examiner import Examiner
from streamapp.monitor import finding as doctors
from streamapp.ports import LogReader
from streamapp.records import Partition


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    UNCHECKED = "could not check"
    """Never a pass."""


_LEVELS: Final = {
    doctors.Level.INFORMATION: Level.INFO,
    doctors.Level.WARNING: Level.WARNING,
    doctors.Level.ERROR: Level.ERROR,
    doctors.Level.UNCHECKED: Level.UNCHECKED,
}


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
    rights: Told[Rights]
    now: float


def check(subject: Subject, cluster: Cluster) -> list[Finding]:
    """Return what is not as it should be, by id."""
    counts = Counter(partition.topic for partition in cluster.partitions)
    facts = Facts(
        now=cluster.now,
        app=_app(subject),
        topics={name: Topic(name, count, 0) for name, count in counts.items()},
        configs=cluster.configs,
        group=_group(cluster.assigned),
        rights=cluster.rights,
        letters=_letters(cluster.reading, cluster.configs, cluster.now),
    )
    found = [
        Finding(each.id, _LEVELS[each.level], each.subject, each.line, each.why, each.fix or None)
        for each in findings(dead_letters.CHECKS, facts)
    ]
    return sorted(found, key=lambda each: (each.id, each.about))


def counted(reader: LogReader, app_id: str, dlqs: Sequence[str], configs: Mapping[str, Mapping[str, str]]) -> dict[str, Letters]:
    """Return the dead letters of these topics, for the doctor. Raises BrokerUnreachable."""
    reading = read_letters(
        reader,
        bounds_of(reader, dlqs),
        app_id=app_id,
        resolutions=read_statuses(reader, app_id).resolutions,
        wants=lambda letter: False,
    )
    return _letters(reading, configs, time.time())


def rights_on(subject: Subject, partitions: Sequence[Partition], timeout: float) -> Told[Rights]:
    """Return what the broker lets this user do with the dead-letter topics."""
    counts = Counter(partition.topic for partition in partitions)
    examiner = Examiner(subject.settings, timeout, name="dlq")
    try:
        return rights_of(examiner, _app(subject), counts)
    except (NotAllowed, BrokerUnreachable) as failure:
        return Unread(str(failure))
    finally:
        examiner.close()


def _app(subject: Subject) -> App:
    return App(settings=subject.settings, agents=tuple(subject.agents.values()), tables=(), unloaded=subject.unloaded)


def _group(assigned: frozenset[Partition] | None) -> Told[Group]:
    if assigned is None:
        return Unread("the group may not be described: this user lacks Describe")
    return Group("stable", "", (Member("-", "-", "-", assigned, is_static=True),))


def _letters(reading: Reading, configs: Mapping[str, Mapping[str, str]], now: float) -> dict[str, Letters]:
    kept = {topic: retention_of(config) for topic, config in configs.items()}
    found = {}
    for dlq, totals in reading.totals.items():
        oldest, dying = totals.oldest, totals.dying
        first = None if oldest is None else oldest.first_failed_at
        found[dlq] = Letters(
            letters=totals.letters,
            unresolved=totals.unresolved,
            oldest=None if oldest is None else oldest.id,
            oldest_age=None if first is None else max(0.0, now - first),
            dying=None if dying is None else dying.id,
            dying_left=time_left(dying, kept, now),
        )
    return found


__all__ = ["Cluster", "Finding", "Level", "check", "counted", "rights_on"]
