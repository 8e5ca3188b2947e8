"""What an app declares, as the engine's plain values: agents with their codecs, tables with their topics."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from streamapp.errors import TopologyInvalid
from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.held import held_table
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.spec import AgentSpec, SourceSpec, TableSpec
from streamapp.worker.agents import Agent
from streamapp.worker.cluster import TopicDeclaration
from streamapp.worker.meta import META_CONFIG, meta_topic
from streamapp.worker.repartition import carrier, find_move
from streamapp.worker.stream import Move
from streamapp.worker.tables import DedupeTable, touched_by

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.settings import Settings
    from streamapp.worker.topics import Topic

log = logging.getLogger(__name__)

SOURCE, CHANGELOG, DEAD_LETTERS, OUTPUT = "source", "changelog", "dead letters", "output"
"""What a topic is to an app."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Everything that the engine runs."""

    agents: tuple[AgentSpec, ...]
    tables: tuple[TableSpec, ...]
    moves: tuple[Move, ...]
    """Topics behind `group_by` and `through`."""


async def describe(app: StreamApp) -> Declared:
    """Return what the app declares. Raises ConfigurationError: it does not fit together."""
    found: list[_Found] = []
    for agent in app.agents.values():
        if not isinstance(agent, Agent):
            continue
        agent.check()
        found.append(_Found(agent, await find_move(agent)))
    letters = _dead_letter_topics(found)
    specs: list[AgentSpec] = []
    for each in found:
        specs.extend(each.specs(app.settings, letters))
    if not specs:
        raise TopologyInvalid("the app has no agents: declare one with @app.agent(topic), or list its module in [tool.streamapp]")
    _require_one_name_each(specs)
    tables = (*_tables(app, found), *_held_tables(app, specs))
    _require_readers(tables, specs)
    return Declared(tuple(specs), tables, tuple(each.move for each in found if each.move is not None))


@dataclass(frozen=True, slots=True)
class _Found:
    """An agent and where its stream goes on."""

    agent: Agent
    move: Move | None

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics whose records the agent's own function sees."""
        return tuple(self.agent.source_topic.topics) if self.move is None else tuple(self.move.topic.topics)

    def dlq(self, letters: set[str]) -> str | None:
        """Return where the agent's dead letters go; None for a DLQ agent, which has no DLQ of its own."""
        topics = self.agent.source_topic.topics
        if all(topic in letters for topic in topics):
            if self.agent.dlq is not None:
                raise TopologyInvalid(f"agent {self.agent.name} reads dead letters and has dlq=: there is no DLQ of a DLQ")
            return None
        return self.agent.dlq or f"{topics[0]}-dlq"

    def specs(self, settings: Settings, letters: set[str]) -> Iterable[AgentSpec]:
        agent = self.agent
        retry = agent.retry or default_retry(settings)
        breaker = agent.breaker or default_breaker(settings)
        dlq = self.dlq(letters)
        dedupe = None if agent.dedupe is None else agent.dedupe.spec()
        sources = [agent.source_topic.source(name) for name in agent.source_topic.topics]
        if self.move is None:
            yield agent.spec(sources=sources, retry=retry, breaker=breaker, dlq=dlq, dedupe=dedupe)
            return
        yield carrier(agent, self.move, sources, retry=retry, dlq=dlq)
        behind: list[SourceSpec] = [self.move.topic.source(name) for name in self.move.topic.topics]
        yield agent.spec(sources=behind, retry=retry, breaker=breaker, dlq=dlq, dedupe=dedupe)


def declarations(app: StreamApp, declared: Declared) -> list[TopicDeclaration]:
    """Return every topic that the app creates when it is missing."""
    count = app.settings.topics.topic_partitions
    found = [
        declaration(name, topic, default=count if topic.internal else None)
        for topic in app.declared_topics
        for name in topic.topics
    ]
    found.append(TopicDeclaration(name=meta_topic(app.settings.identity.app_id), partitions=1, config=META_CONFIG))
    for move in declared.moves:
        found += [declaration(name, move.topic, follows=move.source) for name in move.topic.topics]
    return found


def declaration(name: str, topic: Topic, *, default: int | None = None, follows: str | None = None) -> TopicDeclaration:
    return TopicDeclaration(
        name=name,
        partitions=topic.partitions or default,
        replicas=topic.replicas,
        config=topic.topic_config(),
        follows=follows,
    )


def roles_of(app: StreamApp, declared: Declared) -> dict[str, str]:
    """Return topic -> `source`, `changelog`, `dead letters` or `output`: the first of these that it is."""
    roles = {name: OUTPUT for topic in app.all_topics for name in topic.topics}
    roles |= {agent.dlq: DEAD_LETTERS for agent in declared.agents if agent.dlq is not None}
    roles |= {table.changelog: CHANGELOG for table in declared.tables}
    return roles | {topic: SOURCE for agent in declared.agents for topic in agent.topics}


def default_retry(settings: Settings) -> Retry:
    """Return the app-wide policy; what nobody set stays unset, so that it can shrink to its limits."""
    given = {
        field.name: getattr(settings.retry, f"retry_{field.name}")
        for field in fields(Retry)
        if settings.origin.get(f"retry_{field.name}", "default") != "default"
    }
    return Retry(**given)


def default_breaker(settings: Settings) -> Breaker:
    """Return the app-wide policy."""
    return Breaker(**{field.name: getattr(settings.breaker, f"breaker_{field.name}") for field in fields(Breaker)})


def _dead_letter_topics(found: Iterable[_Found]) -> set[str]:
    """Return the topics that agents bury into.

    An agent on one of them is a DLQ agent, so its own default does not count; one that names its DLQ says that it is none.
    """
    letters: set[str] = {each.agent.dlq for each in found if each.agent.dlq is not None}
    for each in sorted(found, key=lambda one: len(one.agent.source_topic.topics[0])):
        topics = each.agent.source_topic.topics
        if each.agent.dlq is None and not all(topic in letters for topic in topics):
            letters.add(f"{topics[0]}-dlq")
    return letters


def _tables(app: StreamApp, found: Iterable[_Found]) -> Iterable[TableSpec]:
    """Return the tables in use, each with the topics of the agents that can touch it, or those of `source=`."""
    topics: dict[str, list[str]] = {}
    for each in found:
        agent = each.agent
        roots = [agent.fun, *(sink for sink in agent._sinks if not isinstance(sink, Agent))]
        if agent.dedupe is not None:
            roots.append(agent.dedupe.function)
            topics.setdefault(agent.dedupe.table.name, []).extend(each.topics)
        for table in touched_by(*roots):
            if isinstance(table, DedupeTable):
                continue  # agents name theirs
            topics.setdefault(table.name, []).extend(each.topics)
    for name, table in app.tables.items():
        given = table.source_topics()
        if given:
            topics[name] = list(given)
        if name not in topics:
            why = (
                f"table {name}: no agent is seen to use it, so it belongs to no topic and is not opened; "
                'declare it with source="the topic" if one does'
            )
            table.release(why)
            log.info("%s", why)
            continue
        yield table.spec(tuple(dict.fromkeys(topics[name])), in_memory=app.in_memory)


def _held_tables(app: StreamApp, specs: Iterable[AgentSpec]) -> Iterable[TableSpec]:
    """Return the table of each agent that blocks keys: it keeps the records that wait."""
    for spec in specs:
        if spec.on_error != "block_key":
            continue
        name = held_table(spec.name)
        if name in app.tables:
            raise TopologyInvalid(
                f"table {name}: agent {spec.name} keeps blocked records under that name; give the table another"
            )
        yield TableSpec(
            name=name,
            topics=spec.topics,
            changelog=f"{app.conf.id}-{name}-changelog",
            in_memory=app.in_memory,
            keeps_records=True,
        )


def _require_readers(tables: Iterable[TableSpec], specs: Iterable[AgentSpec]) -> None:
    """Refuse a table of a topic that nobody reads: its partitions would be assigned to the worker, and their records to no agent."""
    read = {topic for spec in specs for topic in spec.topics}
    for table in tables:
        if unread := [topic for topic in table.topics if topic not in read]:
            raise TopologyInvalid(
                f"table {table.name}: no agent reads {', '.join(unread)}: source= must name the topics of the agents that use the table"
            )


def _require_one_name_each(specs: Iterable[AgentSpec]) -> None:
    seen: set[str] = set()
    for spec in specs:
        if spec.name in seen:
            raise TopologyInvalid(f"two agents are called {spec.name}")
        seen.add(spec.name)


__all__ = [
    "CHANGELOG",
    "DEAD_LETTERS",
    "OUTPUT",
    "SOURCE",
    "Declared",
    "declaration",
    "declarations",
    "default_breaker",
    "default_retry",
    "describe",
    "roles_of",
]
