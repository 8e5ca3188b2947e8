"""What of an app is looked at: its topics with their roles, its tables with their changelogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamapp.settings import Settings
from streamapp.worker.topology import SOURCE, describe, roles_of

if TYPE_CHECKING:
    from streamapp.application import StreamApp


@dataclass(frozen=True, slots=True)
class Subject:
    """An app, as it declares itself."""

    settings: Settings
    roles: Mapping[str, str]
    """Topic -> `source`, `changelog`, `dead letters` or `output`: the first of these that it is."""
    changelogs: Mapping[str, str]
    """Table -> changelog."""

    @property
    def app_id(self) -> str:
        return self.settings.identity.app_id

    def topics(self, role: str) -> list[str]:
        return sorted(topic for topic, its in self.roles.items() if its == role)


async def subject_of(app: StreamApp) -> Subject:
    """Return what `app` declares. Raises ConfigurationError."""
    declared = await describe(app)
    changelogs = {table.name: table.changelog for table in declared.tables}
    return Subject(app.settings, roles_of(app, declared), changelogs)


__all__ = ["SOURCE", "Subject", "subject_of"]
