"""Faust's command group as `faust -A app …` shows it: its own commands on our app, and ours beside them.

Importing this registers them; the app does so before a command's name is looked up.
"""

from __future__ import annotations

from typing import Any

import click
import faust.cli.agents
import faust.cli.send
import faust.cli.worker
import mode
from faust.cli.base import AppCommand, cli

from streamapp.application import StreamApp
from streamapp.cli import main, models
from streamapp.pipeline.decode import decoder_for
from streamapp.worker.lifecycle import CommandWorker
from streamapp.worker.models import named_codec
from streamapp.worker.refusals import refuse


class agents(faust.cli.agents.agents):  # noqa: N801 - Faust's commands are called like this
    """List agents."""

    def _maybe_topic(self, agent: Any) -> str | None:
        # Faust's fails on an agent with several topics.
        return ", ".join(agent.source_topic.topics)


class send(faust.cli.send.send):  # noqa: N801
    """Send message to agent/topic."""

    app: StreamApp

    def to_topic(self, entity: str) -> Any:
        # Faust imports an agent by its place in the app's module, which a project's agents are not in.
        wanted = entity.removeprefix("@")
        found = [agent for name, agent in self.app.agents.items() if wanted in (name, self.abbreviate_fqdn(name))]
        return found[0] if entity.startswith("@") and len(found) == 1 else super().to_topic(entity)

    def to_model(self, typ: str | None, value: str, serializer: Any) -> Any:
        # Faust asks the model itself, which only faust.Record can answer.
        if not typ:
            return super().to_model(typ, value, serializer)
        known = models.types_of(self.app)
        kind = known.get(typ) or self.import_relative_to_app(typ)
        try:
            return decoder_for(kind, serializer=named_codec(serializer))(value.encode())
        except Exception as failure:
            raise click.UsageError(f"{typ}: {failure}") from failure


class worker(faust.cli.worker.worker):  # noqa: N801
    """Start worker instance for given app."""

    def as_service(self, loop: Any, *args: Any, **kwargs: Any) -> Any:
        app: Any = self.app
        if app.settings.web.web_port == 0 and not kwargs.get("web_port"):
            kwargs["with_web"] = False
        return super().as_service(loop, *args, **kwargs)


class livecheck(AppCommand):  # noqa: N801
    """Not supported: LiveCheck rests on Faust's consumer."""

    async def run(self) -> None:
        refuse("faust livecheck", "check with records of a test app of your own")


def register() -> None:
    """Put our commands beside Faust's. One that Faust has keeps Faust's name and flags."""
    for name, command in main.commands.items():
        if name not in cli.commands:
            cli.add_command(command, name)


def _worker_of(command: AppCommand) -> type[mode.Worker]:
    return CommandWorker if isinstance(command.app, StreamApp) else mode.Worker


register()
# Faust runs each command in a worker that answers a failure with tracebacks and waits seconds before it ends.
AppCommand._Worker = property(_worker_of)  # type: ignore[assignment]  # a property there too

__all__: list[str] = ["agents", "livecheck", "register", "send", "worker"]
