"""What the commands of upkeep have in common: which app, how it is shown, and how they end."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from streamapp.cli.dlq_options import EXIT_FINDINGS, EXIT_NOTHING, EXIT_REFUSED, EXIT_UNREACHABLE, Scope
from streamapp.cli.verify import ends_with_one_line, find_app, quiet_client
from streamapp.errors import ConfigurationError, DeadlinePassed

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.upkeep.subject import Subject

R = TypeVar("R")
PREVIEW: Final = "PREVIEW, nothing is changed; --execute does it."


def upkeep_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every command of upkeep has, as `scope`, and turn refusals into one line and an exit code."""

    @click.option(
        "-A", "--app", "app_name", default=None, help="The app, as `faust -A` takes it.  [default: streamapp, the project here]"
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(0.1, 3600),
        default=10.0,
        show_default=True,
        help="Seconds without an answer of the broker.",
    )
    @click.option("--json", "as_json", is_flag=True, help="One object per line.")
    @functools.wraps(command)
    @ends_with_one_line
    def wrapper(*args: Any, app_name: str | None, timeout: float, as_json: bool, **kwargs: Any) -> None:
        # By name, and late: `streamapp broker` needs neither an app nor the engine, and must not load them.
        refusals = importlib.import_module("streamapp.upkeep.refusals")
        context = click.get_current_context()
        as_json = as_json or bool(getattr(context.obj, "json", False))
        try:
            command(*args, scope=Scope(context, app_name, timeout, as_json, hidden=False), **kwargs)
        except refusals.Refused as refused:
            end(f"refused: {refused}", EXIT_REFUSED)
        except refusals.NothingMatched as nothing:
            end(str(nothing), EXIT_NOTHING)
        except DeadlinePassed as silence:
            end(str(silence), EXIT_UNREACHABLE)

    return wrapper


def end(line: str, code: int) -> None:
    click.echo(f"streamapp: {' '.join(line.split())}", err=True)
    sys.exit(code)


def app_here(scope: Scope) -> StreamApp:
    """Return the app that `-A` names, its modules loaded. Raises ConfigurationError."""
    app = find_app(scope.context, scope.app_name)
    app.load_modules()
    return app


def subject_here(scope: Scope, *, needs_app: bool = True) -> Subject:
    """Return the app that `-A` names. Raises ConfigurationError.

    Without `needs_app`, broker and app id will do: from the environment where there is no project, from the project where its code does
    not load. Then `unloaded` says why.
    """
    subjects = importlib.import_module("streamapp.upkeep.subject")
    try:
        app = find_app(scope.context, scope.app_name)
    except (ConfigurationError, click.UsageError) as failure:
        named = scope.app_name or getattr(scope.context.obj, "app", None)
        if needs_app or named or "STREAMAPP_APP_ID" not in os.environ:
            raise
        settings = importlib.import_module("streamapp.settings")
        bare: Subject = subjects.Subject(
            settings=settings.load({}, {}, settings.process_environment()), unloaded=" ".join(str(failure).split())
        )
        return bare
    try:
        app.load_modules()
        loaded: Subject = asyncio.run(subjects.subject_of(app))
    except ConfigurationError as failure:
        if needs_app:
            raise
        unloaded: Subject = subjects.Subject(settings=app.settings, unloaded=" ".join(str(failure).split()))
        return unloaded
    return loaded


def await_broker(subject: Subject, timeout: float) -> None:
    """Return when a broker answers. Raises BrokerUnreachable, SettingInvalid."""
    client_config = importlib.import_module("streamapp.kafka.client_config")
    versions = importlib.import_module("streamapp.kafka.versions")
    clock = importlib.import_module("streamapp.clock")
    quiet_client()
    versions.await_broker(client_config.admin(subject.settings, "upkeep"), clock.Deadline.after(timeout), fencing=False)


def said(document: Mapping[str, object]) -> None:
    """Print one object of `--json`."""
    click.echo(json.dumps(document))


def screen() -> Any:
    return importlib.import_module("streamapp.cli.dlq_screen")


def console() -> Any:
    return importlib.import_module("rich.console").Console()


__all__ = [
    "EXIT_FINDINGS",
    "EXIT_NOTHING",
    "EXIT_REFUSED",
    "PREVIEW",
    "app_here",
    "await_broker",
    "console",
    "end",
    "said",
    "screen",
    "subject_here",
    "upkeep_options",
]
