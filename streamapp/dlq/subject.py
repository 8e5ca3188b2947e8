"""What the commands know of an app: its settings always, its agents and dead-letter topics where its code can be loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streamapp.pipeline.spec import AgentSpec, SourceSpec
from streamapp.ports import LogReader
from streamapp.settings import Settings
from streamapp.worker.topology import describe

if TYPE_CHECKING:
    from streamapp.application import StreamApp

SUFFIX: Final = "-dlq"
"""Of the dead-letter topics that have their name from their source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An app, as its commands see it."""

    settings: Settings
    agents: Mapping[str, AgentSpec] = field(default_factory=dict)
    """By name; empty where the app's code is not there."""
    horizons: Mapping[str, float] = field(default_factory=dict)
    """Agent -> seconds of event time that its dedupe table keeps a mark."""
    unloaded: str | None = None
    """Why the agents are not known; None where they are."""

    @property
    def app_id(self) -> str:
        return self.settings.identity.app_id

    @property
    def declared_dlqs(self) -> list[str]:
        return sorted({agent.dlq for agent in self.agents.values() if agent.dlq is not None})

    @property
    def dlq_sources(self) -> dict[str, list[str]]:
        """Dead-letter topic -> the topics whose records go there."""
        found: dict[str, set[str]] = {}
        for agent in self.agents.values():
            if agent.dlq is not None:
                found.setdefault(agent.dlq, set()).update(agent.topics)
        return {dlq: sorted(topics) for dlq, topics in found.items()}

    @property
    def dlq_agents(self) -> dict[str, list[str]]:
        """Dead-letter topic -> the agents that read it."""
        dlqs = set(self.declared_dlqs)
        found: dict[str, list[str]] = {}
        for agent in self.agents.values():
            for topic in dlqs.intersection(agent.topics):
                found.setdefault(topic, []).append(agent.name)
        return found

    def dlqs(self, reader: LogReader, asked: Sequence[str] = ()) -> list[str]:
        """Return the topics to look into: those asked for, else the app's. Raises BrokerUnreachable.

        Where the app is not known, every topic that is called like a dead-letter topic: whose letters they are stands in them.
        """
        if asked:
            return list(dict.fromkeys(asked))
        if self.unloaded is None:
            return self.declared_dlqs
        return sorted({where.topic for where in reader.partitions() if where.topic.endswith(SUFFIX)})

    def source_of(self, agent: str, topic: str) -> SourceSpec | None:
        """Return how this agent reads the records of `topic`; None where that is not known."""
        spec = self.agents.get(agent)
        return None if spec is None else next((source for source in spec.sources if source.topic == topic), None)


async def subject_of(app: StreamApp) -> Subject:
    """Return what `app` declares. Raises ConfigurationError."""
    declared = await describe(app)
    horizons = {table.name: table.horizon for table in declared.tables if table.horizon is not None}
    return Subject(
        settings=app.settings,
        agents={agent.name: agent for agent in declared.agents},
        horizons={
            agent.name: horizons[agent.dedupe.table]
            for agent in declared.agents
            if agent.dedupe is not None and agent.dedupe.table in horizons
        },
    )


__all__ = ["SUFFIX", "Subject", "subject_of"]
