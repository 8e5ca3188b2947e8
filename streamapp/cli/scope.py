"""What commands on an app have in common: which app, on which cluster, how it is shown, and how they end."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from streamapp.cli.verify import find_app, quiet_client
from streamapp.errors import ConfigurationError

if TYPE_CHECKING:
    from streamapp.settings import Settings

R = TypeVar("R")

EXIT_FINDINGS, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_NOTHING, EXIT_REFUSED = 1, 2, 3, 4, 5

_OPTIONS: Final = (
    click.option(
        "-A", "--app", "app_name", default=None, help="The app, as `faust -A` takes it.  [default: streamapp, the project here]"
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0.1, 3600),
        default=10.0,
        show_default=True,
        help="Seconds without an answer of the broker.",
    ),
    click.option("--json", "as_json", is_flag=True, help="One object per line."),
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which app, on which cluster, and how it is shown."""

    context: click.Context
    app_name: str | None
    timeout: float
    as_json: bool
    hidden: bool
    """Values are left out, keys and messages shown as hashes or not at all."""

    @classmethod
    def here(cls, app_name: str | None, timeout: float, as_json: bool, *, hidden: bool) -> Scope:
        """Return the scope of the command that runs: `faust --json` holds for ours, too."""
        context = click.get_current_context()
        return cls(context, app_name, timeout, as_json or bool(getattr(context.obj, "json", False)), hidden)


def common_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that make a scope: `app_name`, `timeout`, `as_json`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def subject_by(scope: Scope, room: str, *, needs_app: bool) -> Any:
    """Return the app that `-A` names as the `Subject` of `room`, which has `subject_of(app)`. Raises ConfigurationError.

    Without `needs_app`, broker and app id will do: from the environment where there is no project, from the project where its code does
    not load. Then `unloaded` says why.
    """
    subjects = importlib.import_module(room)
    try:
        app = find_app(scope.context, scope.app_name)
    except (ConfigurationError, click.UsageError) as failure:
        named = scope.app_name or getattr(scope.context.obj, "app", None)
        if needs_app or named or "STREAMAPP_APP_ID" not in os.environ:
            raise
        settings = importlib.import_module("streamapp.settings")
        return subjects.Subject(settings=settings.load({}, {}, settings.process_environment()), unloaded=_one_line(failure))
    try:
        app.load_modules()
        return asyncio.run(subjects.subject_of(app))
    except ConfigurationError as failure:
        if needs_app:
            raise
        return subjects.Subject(settings=app.settings, unloaded=_one_line(failure))


def reach(settings: Settings, timeout: float, name: str) -> None:
    """Return when a broker answers; `name` is what its log calls us. Raises BrokerUnreachable, SettingInvalid."""
    client_config = importlib.import_module("streamapp.kafka.client_config")
    versions = importlib.import_module("streamapp.kafka.versions")
    clock = importlib.import_module("streamapp.clock")
    quiet_client()
    versions.await_broker(client_config.admin(settings, name), clock.Deadline.after(timeout), fencing=False)


def _one_line(failure: Exception) -> str:
    return " ".join(str(failure).split())


__all__ = [
    "EXIT_FINDINGS",
    "EXIT_NOTHING",
    "EXIT_REFUSED",
    "EXIT_UNREACHABLE",
    "EXIT_USAGE",
    "Scope",
    "common_options",
    "reach",
    "subject_by",
]
