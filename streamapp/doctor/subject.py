"""What the doctor knows of an app from its code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamapp.doctor.facts import App
from streamapp.worker.topology import Declared, describe

if TYPE_CHECKING:
    from streamapp.application import StreamApp


async def subject_of(app: StreamApp) -> App:
    """Return what `app` declares. Raises ConfigurationError."""
    return subject(app, await describe(app))


def subject(app: StreamApp, declared: Declared) -> App:
    named = frozenset(name for topic in app.all_topics for name in topic.topics)
    return App(settings=app.settings, agents=declared.agents, tables=declared.tables, topics=named)


__all__ = ["subject", "subject_of"]
