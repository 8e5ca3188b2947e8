"""Faust-style stream processing over Kafka, exactly once.

`app` is the app of the project that the working directory belongs to (`[tool.streamapp]` in its pyproject.toml), made on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.errors import ConfigurationError, Permanent, StreamAppError, Transient, UsageError
    from streamapp.pipeline.breaker import Breaker
    from streamapp.pipeline.retry import Retry
    from streamapp.worker.agents import Agent
    from streamapp.worker.dead_letters import DeadLetter, current_epoch, epoch_of, read_dead_letter
    from streamapp.worker.events import Event, current_event
    from streamapp.worker.stream import Stream
    from streamapp.worker.tables import Table
    from streamapp.worker.topics import Topic

    app: StreamApp

__all__ = [
    "Agent",
    "Breaker",
    "ConfigurationError",
    "DeadLetter",
    "Event",
    "Permanent",
    "Retry",
    "Stream",
    "StreamApp",
    "StreamAppError",
    "Table",
    "Topic",
    "Transient",
    "UsageError",
    "app",
    "current_epoch",
    "current_event",
    "epoch_of",
    "read_dead_letter",
]

# Imported when asked for: the engine's modules and the `streamapp` command must not load Faust because they lie in this package.
_HOMES = {
    "Agent": "worker.agents",
    "Breaker": "pipeline.breaker",
    "ConfigurationError": "errors",
    "DeadLetter": "worker.dead_letters",
    "Event": "worker.events",
    "Permanent": "errors",
    "Retry": "pipeline.retry",
    "Stream": "worker.stream",
    "StreamApp": "application",
    "StreamAppError": "errors",
    "Table": "worker.tables",
    "Topic": "worker.topics",
    "Transient": "errors",
    "UsageError": "errors",
    "current_epoch": "worker.dead_letters",
    "current_event": "worker.events",
    "epoch_of": "worker.dead_letters",
    "read_dead_letter": "worker.dead_letters",
}


def __getattr__(name: str) -> Any:
    if name == "app":
        return import_module("streamapp.project_app").project_app()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"streamapp.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
