"""What the doctor's checks look at: plain values. What could not be read is an `Unread` with its reason, never a value that passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from streamapp.monitor.status import StatusDocument
from streamapp.pipeline.spec import AgentSpec, TableSpec, source_sets
from streamapp.records import Partition
from streamapp.settings import Settings
from streamapp.worker.meta import TopicRow, WorkerRow

T = TypeVar("T")

DAY: Final = 86_400.0
HOUR: Final = 3600.0
DEFAULT_RETENTION: Final = 7 * DAY
"""Seconds; Kafka's own."""
DEFAULT_MESSAGE_BYTES: Final = 1_048_588
"""max.message.bytes of a topic that nobody set."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A fact that could not be read."""

    reason: str


Told: TypeAlias = T | Unread

NOT_ASKED: Final = Unread("it was not asked for")


class CouldNotCheck(Exception):
    """A check met a fact that could not be read: its finding is `could not check`."""

    def __init__(self, reason: str, subject: str = "-") -> None:
        super().__init__(reason)
        self.reason = reason
        self.subject = subject


def told(fact: T | Unread, subject: str = "-") -> T:
    """Return the fact. Raises CouldNotCheck."""
    if isinstance(fact, Unread):
        raise CouldNotCheck(fact.reason, subject)
    return fact


# --- the app


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What the app declares."""

    settings: Settings
    agents: tuple[AgentSpec, ...]
    tables: tuple[TableSpec, ...]
    topics: frozenset[str] = frozenset()
    """Every topic that it names, sources and outputs alike."""
    unloaded: str | None = None
    """Why its code is not known; None where it is. `agents`, `tables` and `topics` are empty then."""

    @property
    def app_id(self) -> str:
        return self.settings.identity.app_id

    @property
    def broker(self) -> str:
        return self.settings.broker.broker

    @property
    def sources(self) -> list[str]:
        return sorted({topic for agent in self.agents for topic in agent.topics})

    @property
    def dlqs(self) -> dict[str, list[str]]:
        """Dead-letter topic -> the topics whose records go there."""
        found: dict[str, set[str]] = {}
        for agent in self.agents:
            if agent.dlq is not None:
                found.setdefault(agent.dlq, set()).update(agent.topics)
        return {dlq: sorted(topics) for dlq, topics in sorted(found.items())}

    @property
    def dlq_agents(self) -> dict[str, list[str]]:
        """Dead-letter topic -> the agents that read it."""
        dlqs = set(self.dlqs)
        found: dict[str, list[str]] = {}
        for agent in self.agents:
            for topic in sorted(dlqs.intersection(agent.topics)):
                found.setdefault(topic, []).append(agent.name)
        return found

    @property
    def changelogs(self) -> dict[str, TableSpec]:
        return {table.changelog: table for table in self.tables}

    @property
    def outputs(self) -> list[str]:
        """Topics that it names and nobody of it reads: what it writes, as far as declarations tell."""
        return sorted(self.topics - set(self.sources) - set(self.dlqs) - set(self.changelogs))

    @property
    def all_topics(self) -> list[str]:
        return sorted({*self.topics, *self.sources, *self.dlqs, *self.changelogs})

    @property
    def keyed_sources(self) -> dict[str, list[str]]:
        """Topic -> the tables that its records write."""
        found: dict[str, list[str]] = {}
        for table in self.tables:
            for topic in table.topics:
                found.setdefault(topic, []).append(table.name)
        return dict(sorted(found.items()))

    @property
    def source_sets(self) -> list[tuple[str, ...]]:
        return source_sets(self.agents, self.tables)

    def loaded(self) -> App:
        """Return itself. Raises CouldNotCheck: its code is not known."""
        if self.unloaded is not None:
            raise CouldNotCheck(f"the app's code is not known: {self.unloaded}")
        return self


# --- the cluster


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it exists."""

    name: str
    partitions: int
    replicas: int
    """Of the partition that has fewest."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the app's group: a worker has one for each source set."""

    id: str
    worker: str
    host: str
    assigned: frozenset[Partition]
    is_static: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The app's group as its coordinator describes it."""

    state: str
    """`stable`, `empty`, `dead`, `preparing_rebalance`, …; `dead` where there is none."""
    assignor: str
    members: tuple[Member, ...]

    @property
    def is_empty(self) -> bool:
        return not self.members

    @property
    def workers(self) -> set[str]:
        return {member.worker for member in self.members}

    @property
    def assigned(self) -> frozenset[Partition]:
        return frozenset(partition for member in self.members for partition in member.assigned)


@dataclass(frozen=True, slots=True)
class Ends:
    """One partition's log."""

    start: int
    stable: int
    high: int


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """What holds a partition's last stable offset below its high watermark, as far as the brokers tell."""

    partition: Partition
    stable: int
    high: int
    leader: int | None
    producer_id: int | None
    epoch: int | None
    transactional_id: str | None
    state: str | None
    age: float | None
    timeout: float | None
    """Its own transaction timeout."""
    start: int | None
    """Its first offset in the partition."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The last few hundred records of a partition."""

    records: int
    null_keys: int
    top_keys: tuple[tuple[bytes, int], ...]
    """The most frequent ones, with their counts."""
    value_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rights:
    """What the broker lets this user do."""

    may_write: Mapping[str, bool] = field(default_factory=dict)
    """Existing topic -> whether records may be written; absent: not told."""
    may_create: Mapping[str, str | None] = field(default_factory=dict)
    """Missing topic -> why it could not be created; None: it could."""


@dataclass(frozen=True, slots=True)
class Letters:
    """The dead letters of one topic."""

    letters: int
    unresolved: int
    oldest: str | None
    """Id of the unresolved one that failed first."""
    oldest_age: float | None
    dying: str | None
    """Id of the unresolved one that retention takes first."""
    dying_left: float | None
    """Seconds until then; None: never, or unknown where the topic's settings are."""


# --- this machine, and the workers


@dataclass(frozen=True, slots=True)
class Directory:
    """The data directory of the worker that runs, or would run, here."""

    path: Path
    exists: bool
    app_id: str | None = None
    """Whose it is; None: nobody's yet."""
    worker_id: str | None = None
    """The id that it keeps; None: none."""
    is_new: bool = False
    """Whether that id was made at this start."""
    locked_by: int | None = None
    """The process that holds it; None: nobody, or this very one."""
    table_bytes: int | None = None
    restarts: tuple[float, ...] = ()
    """Seconds that the worker was away, at each of its last restarts."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A worker's status document, and how far its clock is ahead of ours."""

    url: str
    document: StatusDocument
    clock: float
    """Seconds; behind ours where negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. A field that no asked-for check needs stays `NOT_ASKED`."""

    now: float
    app: App
    at_start: bool = False
    """A worker asks, before it takes partitions; else a command."""
    worker: str | None = None
    """The worker that asks."""
    brokers: Told[tuple[int, ...]] = NOT_ASKED
    """Their ids."""
    kafka: Told[int] = NOT_ASKED
    """The newest metadata.version that the brokers know, which names their release."""
    clock: Told[float] = NOT_ASKED
    """Seconds that the cluster's clock is ahead of ours."""
    topics: Told[Mapping[str, Topic]] = NOT_ASKED
    """All of the cluster."""
    configs: Told[Mapping[str, Mapping[str, str]]] = NOT_ASKED
    """Settings of the app's topics; of one that may not be looked at: absent."""
    broker_config: Told[Mapping[str, str]] = NOT_ASKED
    group: Told[Group] = NOT_ASKED
    committed: Told[Mapping[Partition, int]] = NOT_ASKED
    """Of the sources; never committed: absent."""
    empty_since: Told[float | None] = NOT_ASKED
    """Seconds since 1970 of the group's last sign; None: none is left."""
    topics_seen: Told[Mapping[str, TopicRow]] = NOT_ASKED
    workers_seen: Told[Mapping[str, WorkerRow]] = NOT_ASKED
    ends: Told[Mapping[Partition, Ends]] = NOT_ASKED
    """Of sources and changelogs."""
    rates: Told[Mapping[Partition, float]] = NOT_ASKED
    """Records per second that came in the last 15 minutes, of the sources."""
    ages: Told[Mapping[Partition, float]] = NOT_ASKED
    """Seconds since the first unread record of a source partition was made; 0: nothing is unread."""
    samples: Told[Mapping[Partition, Sample]] = NOT_ASKED
    """Of sources and outputs; partitions without a record are absent."""
    transactions: Told[Sequence[OpenTransaction]] = NOT_ASKED
    rights: Told[Rights] = NOT_ASKED
    letters: Told[Mapping[str, Letters]] = NOT_ASKED
    directory: Told[Directory] = NOT_ASKED
    workers: Told[Sequence[Heard]] = NOT_ASKED
    """What live workers tell; those that were asked and silent are in `silent`."""
    silent: tuple[str, ...] = ()
    show_keys: bool = False

    def topic(self, name: str) -> Topic | None:
        """Return it, None where it does not exist. Raises CouldNotCheck."""
        return told(self.topics, name).get(name)

    def config(self, topic: str) -> Mapping[str, str]:
        """Return a topic's settings. Raises CouldNotCheck: they may not be looked at."""
        found = told(self.configs, topic).get(topic)
        if found is None:
            raise CouldNotCheck(f"the settings of {topic} may not be read: this user lacks DescribeConfigs", topic)
        return found

    def existing(self, topics: Iterable[str]) -> list[Topic]:
        return [found for name in topics if (found := self.topic(name)) is not None]


def retention_of(config: Mapping[str, str]) -> float | None:
    """Return the seconds that a topic with these settings keeps a record; None = for ever."""
    if "delete" not in config.get("cleanup.policy", "delete"):
        return None
    given = config.get("retention.ms")
    milliseconds = DEFAULT_RETENTION * 1000 if given is None else int(given)
    return None if milliseconds < 0 else milliseconds / 1000


def message_bytes(config: Mapping[str, str]) -> int:
    """Return the largest batch that a topic with these settings takes."""
    return int(config.get("max.message.bytes", DEFAULT_MESSAGE_BYTES))


__all__ = [
    "DAY",
    "DEFAULT_MESSAGE_BYTES",
    "DEFAULT_RETENTION",
    "HOUR",
    "NOT_ASKED",
    "App",
    "CouldNotCheck",
    "Directory",
    "Ends",
    "Facts",
    "Group",
    "Heard",
    "Letters",
    "Member",
    "OpenTransaction",
    "Rights",
    "Sample",
    "Told",
    "Topic",
    "Unread",
    "message_bytes",
    "retention_of",
    "told",
]
