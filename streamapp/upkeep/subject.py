"""What of an app upkeep looks at: its settings always, what it declares where its code can be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamapp.pipeline.resolution import status_topic
from streamapp.pipeline.spec import AgentSpec, TableSpec
from streamapp.settings import Settings
from streamapp.worker.cluster import TopicDeclaration
from streamapp.worker.topology import CHANGELOG, DEAD_LETTERS, SOURCE, declarations, describe, roles_of

if TYPE_CHECKING:
    from streamapp.application import StreamApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An app, as its upkeep sees it."""

    settings: Settings
    agents: tuple[AgentSpec, ...] = ()
    tables: tuple[TableSpec, ...] = ()
    topics: tuple[TopicDeclaration, ...] = ()
    """Those that it creates when they are missing."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Topic -> `source`, `changelog`, `dead letters` or `output`: the first of these that it is."""
    unloaded: str | None = None
    """Why nothing but the settings is known; None where it is."""

    @property
    def app_id(self) -> str:
        return self.settings.identity.app_id

    @property
    def status_topic(self) -> str:
        """Where it stands what became of dead letters."""
        return status_topic(self.app_id)

    @property
    def sources(self) -> list[str]:
        return self._topics(SOURCE)

    @property
    def changelogs(self) -> list[str]:
        return self._topics(CHANGELOG)

    @property
    def dead_letters(self) -> list[str]:
        """Dead-letter topics, also those that an agent of the app reads."""
        return sorted({agent.dlq for agent in self.agents if agent.dlq is not None} | set(self._topics(DEAD_LETTERS)))

    def _topics(self, role: str) -> list[str]:
        return sorted(topic for topic, its in self.roles.items() if its == role)


async def subject_of(app: StreamApp) -> Subject:
    """Return what `app` declares. Raises ConfigurationError."""
    declared = await describe(app)
    return Subject(
        settings=app.settings,
        agents=declared.agents,
        tables=declared.tables,
        topics=tuple(declarations(app, declared)),
        roles=roles_of(app, declared),
    )


__all__ = ["Subject", "subject_of"]
