"""What an app declares, as plain values: the shell fills these in, the engine runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.held import HoldLimits
from streamapp.pipeline.retry import Retry
from streamapp.records import RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.cursor import Cursor


OnError: TypeAlias = Literal["skip", "block_key", "stop"]
"""`skip`: dead letter, go on. `block_key`: dead letter, hold what follows of its key. `stop`: the partition stands at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """One table: where its writes come from and where its changelog goes."""

    name: str
    topics: tuple[str, ...]
    """The source topics whose records write it; several are one source set and must have equal partition counts."""
    changelog: str
    in_memory: bool = False
    changelog_config: Mapping[str, str] = field(default_factory=dict)
    """Topic settings of the changelog beyond the engine's own."""
    horizon: float | None = None
    """Seconds of event time that a dedupe mark counts; None for an ordinary table."""
    keeps_records: bool = False
    """Whether its rows are whole records of its topics: its changelog takes what those take, and what we add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """How the records of one topic become values, for one agent."""

    topic: str
    decode: Callable[[bytes], object]
    """The value's decoder: bytes in, value out; raises anything on bytes that are not what the topic promises."""
    takes_none: bool = False
    """Whether a record without a value is handed to the agent as None; else it is dead-lettered (`no-value`)."""
    explain: Callable[[Exception, bytes | None], Exception] | None = None
    """Turns what `decode` raised into the DecodeFailed that the dead letter tells."""
    decode_key: Callable[[bytes], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeSpec:
    """Drop a record whose key was already processed."""

    table: str
    key: Callable[[object], object]
    encode: Callable[[object], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """One agent: its sources, and how to run its function over a cursor."""

    name: str
    sources: tuple[SourceSpec, ...]
    run: Callable[[Cursor], Awaitable[None]]
    """One life of the agent's function: returns when the function returns, raises what it raises.

    The engine calls it again after a failure, an abort or a revoke, always with a fresh cursor state.
    """
    concurrency: int = 1
    dedupe: DedupeSpec | None = None
    retry: Retry = field(default_factory=Retry)
    dlq: str | None = None
    """The dead-letter topic; None for an agent whose source is a dead-letter topic: its policy is `stop`."""
    breaker: Breaker | None = None
    """When it stops dead-lettering a partition; None: never. An agent that stops at failures has none."""
    on_error: OnError = "skip"
    """What follows the verdict on a record that failed for good (OPERATIONS §1.4)."""
    hold: HoldLimits = field(default_factory=HoldLimits)
    """How much `block_key` may hold, in the table of the name `held_table(name)`."""

    @property
    def stops(self) -> bool:
        """Whether a record that failed for good stops its partition."""
        return self.dlq is None or self.on_error == "stop"

    @property
    def touches_tables(self) -> bool:
        """Whether its records may use tables: then each runs alone on its line.

        With `concurrency` above 1 only dedupe makes it so: a table touched anyway raises.
        """
        return self.concurrency == 1 or self.dedupe is not None

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(source.topic for source in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSet:
    """Topics read by one consumer: one topic, or several whose agents share a table."""

    name: str
    topics: tuple[str, ...]
    partitions: int | None = None
    """The partition count that all of them have; None with a single topic, where any will do."""


def source_sets(agents: Sequence[AgentSpec], tables: Sequence[TableSpec]) -> list[tuple[str, ...]]:
    """Return the topics of every source set, each sorted, in the order of their first topic.

    Topics that feed one table belong together, and so do those of one agent with several sources that writes a table.
    """
    parent: dict[str, str] = {}

    def root(topic: str) -> str:
        while parent.setdefault(topic, topic) != topic:
            topic = parent[topic]
        return topic

    for agent in agents:
        for topic in agent.topics:
            root(topic)
    for table in tables:
        for topic in table.topics:
            parent[root(topic)] = root(table.topics[0])
    groups: dict[str, list[str]] = {}
    for topic in sorted(parent):
        groups.setdefault(root(topic), []).append(topic)
    return sorted(tuple(topics) for topics in groups.values())


__all__ = ["AgentSpec", "DedupeSpec", "OnError", "RawRecord", "SourceSet", "SourceSpec", "TableSpec", "source_sets"]
