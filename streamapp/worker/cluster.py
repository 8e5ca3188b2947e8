"""Topics, tables and agents against the cluster: what exists, what is created, and what does not fit together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streamapp.clock import Deadline
from streamapp.errors import TopologyInvalid
from streamapp.events import Event, log_event
from streamapp.pipeline.resolution import status_topic
from streamapp.pipeline.spec import AgentSpec, SourceSet, TableSpec, source_sets
from streamapp.ports import Admin
from streamapp.settings import Settings

log = logging.getLogger(__name__)

DAY = 86_400.0
DLQ_RETENTION_DAYS = 30
DLQ_SLACK_BYTES = 65_536
"""32 KiB of our headers, and as much again: a dead letter must fit where its source record did."""
DEFAULT_MESSAGE_BYTES = 1_048_588
"""max.message.bytes of a topic that nobody set."""
DEFAULT_RETENTION_MS = 604_800_000
"""retention.ms of a topic that nobody set: seven days."""

LONGEST_RETENTION_MS = 2**63 - 1
LARGEST_MESSAGE_BYTES = 2**31 - 1
"""What the broker's settings can hold: four times a large source retention, or its largest record and more, may not fit."""

INTERNAL = {"message.timestamp.type": "LogAppendTime"}
"""Changelogs and dead letters: an old event's time must not meet the topic's retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDeclaration:
    """A topic as the app declares it."""

    name: str
    partitions: int | None = None
    replicas: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    follows: str | None = None
    """The topic whose partition count it gets when it declares none of its own (a repartition topic its source's)."""


@dataclass
class Topology:
    """What of the app can run on the cluster as it is."""

    ready: list[SourceSet]
    missing: dict[str, list[str]]
    """Set name -> its source topics that do not exist."""
    partitions: dict[str, int]
    dlq_partitions: dict[str, int]
    dlq_max_bytes: dict[str, int]
    changelog_ids: dict[str, str]
    tombstones_kept: dict[str, float]
    """Changelog -> its delete.retention.ms, in seconds."""
    has_status: bool = False
    """Whether there are dead-letter topics, and so the topic that says what became of dead letters."""
    absent: list[str] = field(default_factory=list)
    """Declared topics that nobody reads here, that do not exist, and that we may not create."""

    @property
    def largest_dead_letter(self) -> int | None:
        """Bytes of the largest record that the producer must take for the sake of dead letters; None without any."""
        return max(self.dlq_max_bytes.values(), default=None)

    def learn(self, later: Topology) -> None:
        """Take over what a later look at the cluster found, in place: the running engine reads these very dicts."""
        self.partitions.update(later.partitions)
        self.dlq_partitions.update(later.dlq_partitions)
        self.dlq_max_bytes.update(later.dlq_max_bytes)
        self.changelog_ids.update(later.changelog_ids)
        self.tombstones_kept.update(later.tombstones_kept)
        self.has_status |= later.has_status


class Cluster:
    """Fits an app to a cluster; every method blocks and is called on a thread. `admin` makes a fresh client for each."""

    def __init__(
        self,
        settings: Settings,
        admin: Callable[[], Admin],
        agents: Sequence[AgentSpec],
        tables: Sequence[TableSpec],
        topics: Sequence[TopicDeclaration],
        *,
        object_to: Callable[[str, TopologyInvalid], None] | None = None,
    ) -> None:
        """`object_to`: is told what does not fit, with the topic that it is about, instead of an end at the first: for plans."""
        self._object_to = object_to
        self._settings = settings
        self._admin = admin
        self._agents = list(agents)
        self._tables = list(tables)
        self._topics = {topic.name: topic for topic in topics}
        self._sets = [SourceSet(name="+".join(names), topics=names) for names in source_sets(self._agents, self._tables)]

    @property
    def shares_a_table(self) -> bool:
        """Whether some table is written from several topics: then all of the group's topics are assigned by range."""
        return any(len(source_set.topics) > 1 for source_set in self._sets)

    def fit(self, deadline: Deadline) -> Topology:
        """Create what is ours to create, and return what can run. Raises TopologyInvalid, BrokerUnreachable."""
        admin = self._admin()
        sources = sorted({topic for agent in self._agents for topic in agent.topics})
        dlqs = {agent.dlq: agent for agent in self._agents if agent.dlq is not None}
        changelogs = {table.changelog: table for table in self._tables}
        status = status_topic(self._settings.identity.app_id)
        counts = admin.partition_counts([*sources, *dlqs, *changelogs, *self._topics, *([status] if dlqs else [])], deadline)
        if self._settings.topics.topic_allow_declare:
            self._create_declared(admin, counts, deadline, dead_letters=set(dlqs))
        ready, missing = self._split(counts)
        self._create_dlqs(admin, counts, _topics_of(ready), deadline)
        if any(topic in dlqs for topics in missing.values() for topic in topics):
            ready, missing = self._split(counts)
        runs = _topics_of(ready)
        tables = [table for table in self._tables if set(table.topics) <= runs]
        self._create_changelogs(admin, counts, tables, deadline)
        names = [table.changelog for table in tables]
        letters = [dlq for dlq in dlqs if dlq in counts]
        configs = admin.topic_configs([*names, *letters], deadline)
        for name in names:
            self._require(name, _require_kept, configs.get(name, {}))
        for name in letters:
            self._require(name, _require_no_compaction, configs.get(name, {}))
        if letters and status not in counts:
            self._create(admin, counts, status, 1, status_config(configs.get(name, {}) for name in letters), None, deadline)
        return Topology(
            ready=ready,
            missing=missing,
            partitions={topic: counts[topic] for topic in runs},
            dlq_partitions={dlq: counts[dlq] for dlq in letters},
            dlq_max_bytes={
                dlq: int(configs.get(dlq, {}).get("max.message.bytes", DEFAULT_MESSAGE_BYTES)) - 1024 for dlq in letters
            },
            changelog_ids=admin.topic_ids(names, deadline),
            tombstones_kept={name: int(configs.get(name, {}).get("delete.retention.ms", 86_400_000)) / 1000 for name in names},
            has_status=bool(letters),
            absent=[name for name in self._topics if name not in counts and name not in sources and name not in dlqs],
        )

    def _require(self, topic: str, check: Callable[[str, Mapping[str, str]], None], config: Mapping[str, str]) -> None:
        try:
            check(topic, config)
        except TopologyInvalid as invalid:
            self._object(topic, invalid)

    def _object(self, topic: str, invalid: TopologyInvalid) -> None:
        if self._object_to is None:
            raise invalid
        self._object_to(topic, invalid)

    def _split(self, counts: Mapping[str, int]) -> tuple[list[SourceSet], dict[str, list[str]]]:
        ready, missing = [], {}
        for source_set in self._sets:
            absent = [topic for topic in source_set.topics if topic not in counts]
            if absent:
                missing[source_set.name] = absent
                continue
            each = {topic: counts[topic] for topic in source_set.topics}
            if len(set(each.values())) > 1:
                told = ", ".join(f"{topic} has {count}" for topic, count in each.items())
                shared = [table.name for table in self._tables if len(table.topics) > 1 and set(table.topics) <= set(each)]
                told_at_length = TopologyInvalid(
                    f"{' and '.join(each)} feed one table ({', '.join(shared)}), so their partition counts must be equal: {told} partitions; "
                    "give one of them a topic with the other's count, or give each its own table"
                )
                self._object(source_set.topics[0], told_at_length)
            ready.append(SourceSet(name=source_set.name, topics=source_set.topics, partitions=next(iter(each.values()))))
        return ready, missing

    def _create_declared(self, admin: Admin, counts: dict[str, int], deadline: Deadline, *, dead_letters: set[str]) -> None:
        for topic in self._topics.values():
            if topic.name in counts or topic.name in dead_letters:
                continue
            partitions = topic.partitions or (counts.get(topic.follows) if topic.follows is not None else None)
            if partitions is not None:
                self._create(admin, counts, topic.name, partitions, topic.config, topic.replicas, deadline)

    def _create_dlqs(self, admin: Admin, counts: dict[str, int], runs: set[str], deadline: Deadline) -> None:
        sources: dict[str, list[str]] = {}
        for agent in self._agents:
            if agent.dlq is not None:
                sources.setdefault(agent.dlq, []).extend(topic for topic in agent.topics if topic in runs)
        absent = {dlq: topics for dlq, topics in sources.items() if dlq not in counts and topics}
        if not absent:
            return
        configs = admin.topic_configs(sorted({topic for topics in absent.values() for topic in topics}), deadline)
        for dlq, topics in absent.items():
            of_sources = [configs.get(topic, {}) for topic in topics]
            kept = [int(config.get("retention.ms", DEFAULT_RETENTION_MS)) for config in of_sources]
            longest = max(int(DLQ_RETENTION_DAYS * DAY * 1000), *(4 * each for each in kept))
            retention = -1 if min(kept) < 0 else min(longest, LONGEST_RETENTION_MS)
            declared = self._topics.get(dlq)
            config = {
                **INTERNAL,
                "cleanup.policy": "delete",
                "retention.ms": str(retention),
                "max.message.bytes": str(_with_slack(of_sources)),
                **(declared.config if declared is not None else {}),
            }
            partitions = (declared.partitions if declared is not None else None) or max(counts[topic] for topic in topics)
            replicas = declared.replicas if declared is not None else None
            try:
                self._create(admin, counts, dlq, partitions, config, replicas, deadline)
            except TopologyInvalid as refused:
                # A record that failed for good would have nowhere to go, and its partition would stand.
                raise TopologyInvalid(f"D01: the dead-letter {refused}") from refused

    def _create_changelogs(self, admin: Admin, counts: dict[str, int], tables: Sequence[TableSpec], deadline: Deadline) -> None:
        for table in tables:
            partitions = counts[table.topics[0]]
            config = {**INTERNAL, "cleanup.policy": "compact", **table.changelog_config}
            self._require(table.changelog, _require_kept, config)
            if table.changelog not in counts:
                if table.keeps_records:
                    sources = admin.topic_configs(table.topics, deadline)
                    config["max.message.bytes"] = str(_with_slack(sources.get(topic, {}) for topic in table.topics))
                self._create(admin, counts, table.changelog, partitions, config, None, deadline)
            existing = counts[table.changelog]
            if existing != partitions:
                invalid = TopologyInvalid(
                    f"changelog {table.changelog} has {existing} partitions, its source {table.topics[0]} {partitions}: keys have moved, "
                    f"so the table cannot be used. Delete the changelog and read {table.topics[0]} again from its start, "
                    "or give the table another name"
                )
                self._object(table.changelog, invalid)

    def _create(
        self,
        admin: Admin,
        counts: dict[str, int],
        topic: str,
        partitions: int,
        config: Mapping[str, str],
        replicas: int | None,
        deadline: Deadline,
    ) -> None:
        if not self._settings.topics.topic_allow_declare:
            raise may_not_be_created(topic, partitions, config)
        factor = self._settings.topics.topic_replication_factor if replicas is None else replicas
        if not admin.create(topic, partitions, config, factor, deadline):
            # Another worker was quicker; its count need not be ours.
            counts[topic] = admin.partition_counts([topic], deadline).get(topic, partitions)
            return
        counts[topic] = partitions
        log_event(
            log,
            logging.INFO,
            Event.TOPIC_CREATED,
            f"created topic {topic} with {partitions} partitions",
            topic=topic,
            partitions=partitions,
        )


def may_not_be_created(topic: str, partitions: int, config: Mapping[str, str]) -> TopologyInvalid:
    """Return what to raise where a topic is missing and the app was told to make none: it says what to make."""
    return TopologyInvalid(
        f"topic {topic} does not exist and STREAMAPP_TOPIC_ALLOW_DECLARE is false: create it with {partitions} partitions "
        f"and {' '.join(f'{name}={value}' for name, value in config.items()) or 'the default settings'}, or allow it; "
        f"{create_line(topic, partitions, config)}"
    )


def create_line(topic: str, partitions: int, config: Mapping[str, str], replicas: int | None = None) -> str:
    """Return the command of Kafka's own tools that makes a topic."""
    factor = f" --replication-factor {replicas}" if replicas is not None and replicas > 0 else ""
    settings = "".join(f" --config {name}={value}" for name, value in config.items())
    return f"kafka-topics.sh --create --topic {topic} --partitions {partitions}{factor}{settings}"


def _with_slack(sources: Iterable[Mapping[str, str]]) -> int:
    """Return the record size with which a topic takes whatever topics of these settings take, and what we add."""
    largest = max(int(config.get("max.message.bytes", DEFAULT_MESSAGE_BYTES)) for config in sources)
    return min(largest + DLQ_SLACK_BYTES, LARGEST_MESSAGE_BYTES)


def _topics_of(sets: Sequence[SourceSet]) -> set[str]:
    return {topic for source_set in sets for topic in source_set.topics}


def status_config(of_letters: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the settings of the status topic: what is known of a dead letter is kept for as long as any of them."""
    ours = int(DLQ_RETENTION_DAYS * DAY * 1000)
    kept = [int(config.get("retention.ms", ours)) for config in of_letters]
    retention = -1 if min(kept) < 0 else max(kept)
    return {**INTERNAL, "cleanup.policy": "compact,delete", "retention.ms": str(retention)}


def _require_kept(changelog: str, config: Mapping[str, str]) -> None:
    """Refuse a changelog that loses rows by age or size: a restore from it would not give the table back."""
    policy = config.get("cleanup.policy", "compact")
    policies = {each.strip() for each in policy.split(",")}
    endless = config.get("retention.ms") == "-1" and config.get("retention.bytes", "-1") == "-1"
    if "compact" not in policies or ("delete" in policies and not endless):
        raise TopologyInvalid(
            f"changelog {changelog} has cleanup.policy={policy}: retention would delete table rows; it must be compact. "
            f"For one that exists, run kafka-configs.sh --alter --topic {changelog} --add-config cleanup.policy=compact"
        )


def _require_no_compaction(dlq: str, config: Mapping[str, str]) -> None:
    policy = config.get("cleanup.policy", "delete")
    if "compact" in policy:
        raise TopologyInvalid(
            f"dead-letter topic {dlq} has cleanup.policy={policy}: letters of one key would overwrite each other; run "
            f"kafka-configs.sh --alter --topic {dlq} --add-config cleanup.policy=delete"
        )
