"""The topics that an app declares against those that are there: what to create, to set, to grow, and what nobody should touch.

What an app wants of its topics is known in one place, `worker.cluster.Cluster.fit`. It is asked twice, with an admin that creates nothing:
on the cluster as it is, for what does not fit, and on one that has the sources only, for what it would make of all the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from streamapp.clock import Deadline
from streamapp.doctor.group import wide_enough
from streamapp.errors import TopologyInvalid
from streamapp.ports import Admin
from streamapp.upkeep.subject import Subject
from streamapp.worker.cluster import Cluster, create_line

HEADROOM: Final = 2
"""Partitions per worker at the peak, and rate against capacity: partitions can be added later, but keys move then; never removed."""

POLICY, RETENTION, LARGEST = "cleanup.policy", "retention.ms", "max.message.bytes"


class Action(StrEnum):
    CREATE = "create"
    SET = "set"
    GROW = "grow"
    REFUSED = "refused"
    """It does not fit, and no change made here would be right."""
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One topic's difference."""

    action: Action
    topic: str
    partitions: int | None = None
    """That it has; of CREATE and GROW, that it gets."""
    config: Mapping[str, str] = field(default_factory=dict)
    """That it gets."""
    replicas: int = -1
    words: str = ""

    @property
    def line(self) -> str | None:
        """Return the command of Kafka's own tools that does it."""
        settings = ",".join(f"{name}={value}" for name, value in self.config.items())
        lines = {
            Action.CREATE: create_line(self.topic, self.partitions or 1, self.config, self.replicas),
            Action.SET: f"kafka-configs.sh --alter --topic {self.topic} --add-config {settings}",
            Action.GROW: f"kafka-topics.sh --alter --topic {self.topic} --partitions {self.partitions}",
        }
        return lines.get(self.action)

    def document(self) -> dict[str, object]:
        return {
            "kind": "step",
            "action": str(self.action),
            "topic": self.topic,
            "partitions": self.partitions,
            "config": dict(self.config),
            "words": self.words or None,
            "line": self.line,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic as the app would make it."""

    partitions: int
    config: Mapping[str, str]
    replicas: int


class Drafting:
    """An Admin that creates nothing, and remembers what it was asked to."""

    def __init__(self, admin: Admin, only: frozenset[str] | None = None) -> None:
        """`only`: the topics that it lets be there; None: all that are."""
        self._admin = admin
        self._only = only
        self.wanted: dict[str, Wanted] = {}

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        asked = [topic for topic in topics if self._is_there(topic)]
        return self._admin.partition_counts(asked, deadline) | {
            topic: self.wanted[topic].partitions for topic in topics if topic in self.wanted
        }

    def topic_configs(self, topics: Sequence[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        asked = [topic for topic in topics if self._is_there(topic)]
        there = self._admin.topic_configs(asked, deadline) if asked else {}
        return there | {topic: dict(self.wanted[topic].config) for topic in topics if topic in self.wanted}

    def topic_ids(self, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
        return dict.fromkeys(topics, "")

    def create(self, topic: str, partitions: int, config: Mapping[str, str], replicas: int, deadline: Deadline) -> bool:
        self.wanted[topic] = Wanted(partitions, dict(config), replicas)
        return True

    def _is_there(self, topic: str) -> bool:
        return topic not in self.wanted and (self._only is None or topic in self._only)


def plan(subject: Subject, admin: Callable[[], Admin], deadline: Deadline, *, grow: bool, proposed: int | None) -> list[Step]:
    """Return what separates the cluster from what the app declares. Raises BrokerUnreachable.

    `grow`: add partitions where a topic has fewer than declared. `proposed`: what P03 proposes for a source, where it is known.
    """
    real = admin()
    missing, objections = _draft(subject, Drafting(real), deadline)
    sources = frozenset(subject.sources) - frozenset(subject.dead_letters)
    there = frozenset(real.partition_counts([*sources, *subject.roles, subject.status_topic], deadline))
    wanted, _ = _draft(subject, Drafting(real, only=sources & there), deadline)
    declared = {topic.name: topic for topic in subject.topics}
    wanted |= {
        name: Wanted(declared[name].partitions or 0, declared[name].config, -1) for name in sources & there & frozenset(declared)
    }
    steps = [_created(subject, name, missing[name], proposed) for name in sorted(missing)]
    configs = real.topic_configs(sorted(there & frozenset(wanted)), deadline)
    counts = real.partition_counts(sorted(there), deadline)
    for name in sorted(there & frozenset(wanted)):
        steps += _differences(subject, name, wanted[name], counts[name], configs.get(name), grow=grow, objections=objections)
    steps += [Step(action=Action.REFUSED, topic=name, words=str(why)) for name, why in objections.items()]
    for name in sorted(sources - there - frozenset(missing)):
        size = proposed or wide_enough(1)
        words = f"the app reads it and does not declare its partitions: {create_line(name, size, {})}"
        steps.append(Step(action=Action.NOTE, topic=name, words=words))
    if proposed is not None:
        steps += [
            Step(
                action=Action.NOTE,
                topic=name,
                partitions=counts[name],
                words=f"{counts[name]} partitions; P03 proposes {proposed}",
            )
            for name in sorted(sources & there)
            if counts[name] < proposed
        ]
    return steps


def _draft(subject: Subject, drafting: Drafting, deadline: Deadline) -> tuple[dict[str, Wanted], dict[str, TopologyInvalid]]:
    settings = replace(subject.settings, topics=replace(subject.settings.topics, topic_allow_declare=True))
    objections: dict[str, TopologyInvalid] = {}

    def object_to(topic: str, why: TopologyInvalid) -> None:
        objections.setdefault(topic, why)

    Cluster(settings, lambda: drafting, subject.agents, subject.tables, subject.topics, object_to=object_to).fit(deadline)
    return drafting.wanted, objections


def _created(subject: Subject, name: str, wanted: Wanted, proposed: int | None) -> Step:
    words = ""
    if name in subject.sources and proposed is not None and wanted.partitions < proposed:
        words = (
            f"P03 proposes {proposed} partitions: adding later moves keys, removing is impossible; declare partitions={proposed}"
        )
    return Step(
        action=Action.CREATE,
        topic=name,
        partitions=wanted.partitions,
        config=wanted.config,
        replicas=wanted.replicas,
        words=words,
    )


def _differences(
    subject: Subject,
    name: str,
    wanted: Wanted,
    count: int,
    config: Mapping[str, str] | None,
    *,
    grow: bool,
    objections: dict[str, TopologyInvalid],
) -> list[Step]:
    found: list[Step] = []
    if config is None:
        words = "its settings may not be read: grant DescribeConfigs"
        found.append(Step(action=Action.NOTE, topic=name, partitions=count, words=words))
    elif settings := _settings(subject, name, wanted.config, config):
        if POLICY in settings and "partitions" not in str(objections.get(name, "partitions")):
            del objections[name]  # this is what mends it
        has = ", ".join(f"{key}={config.get(key, '-')}" for key in settings)
        found.append(Step(action=Action.SET, topic=name, partitions=count, config=settings, words=f"has {has}"))
    if count < wanted.partitions and name not in subject.changelogs:
        found.append(_grown(subject, name, wanted.partitions, count, grow=grow))
    return found


def _settings(subject: Subject, name: str, wanted: Mapping[str, str], has: Mapping[str, str]) -> dict[str, str]:
    """Return the settings to change. A dead-letter topic may keep more than it has to; a changelog may be kept for ever besides."""
    changes: dict[str, str] = {}
    at_least = name in subject.dead_letters or name == subject.status_topic or name in subject.changelogs
    for key, value in wanted.items():
        is_now = has.get(key)
        if is_now is None or is_now == value:
            continue
        if at_least and key in (RETENTION, LARGEST) and _as_large(is_now, value):
            continue
        if key == POLICY and name in subject.changelogs and _keeps(is_now, has):
            continue
        changes[key] = value
    return changes


def _as_large(has: str, wanted: str) -> bool:
    return has == "-1" or (wanted != "-1" and int(has) >= int(wanted))


def _keeps(policy: str, has: Mapping[str, str]) -> bool:
    policies = {each.strip() for each in policy.split(",")}
    endless = has.get(RETENTION) == "-1" and has.get("retention.bytes", "-1") == "-1"
    return "compact" in policies and ("delete" not in policies or endless)


def _grown(subject: Subject, name: str, partitions: int, count: int, *, grow: bool) -> Step:
    tables = sorted(table.name for table in subject.tables if name in table.topics)
    if name in subject.sources and tables:
        action = Action.REFUSED if grow else Action.NOTE
        words = (
            f"has {count} partitions, {partitions} are declared; none are added: keys would move, and in their new partitions "
            f"{', '.join(tables)} would be empty. Make a wider topic under another name, read it from its start, and switch"
        )
        return Step(action=action, topic=name, partitions=count, words=words)
    words = f"has {count} partitions, {partitions} are declared; keys move when they are added"
    if not grow:
        return Step(action=Action.NOTE, topic=name, partitions=count, words=f"{words}: --grow adds them")
    return Step(action=Action.GROW, topic=name, partitions=partitions, words=words)


def proposed_partitions(workers: int | None, rate: float | None, capacity: float | None) -> int | None:
    """Return P03's count: twice the peak's workers, or twice its rate over one partition's capacity; None where neither is known."""
    wishes = [HEADROOM * workers] if workers else []
    if rate and capacity:
        wishes.append(-int(-HEADROOM * rate // capacity))
    if not wishes:
        return None
    return wide_enough(max(wishes))


__all__ = ["Action", "Drafting", "Step", "plan", "proposed_partitions"]
