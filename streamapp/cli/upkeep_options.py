"""What the commands of upkeep have in common: which app, how it is shown, and how they end."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from streamapp.cli.scope import (
    EXIT_FINDINGS,
    EXIT_NOTHING,
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    Scope,
    common_options,
    reach,
    subject_by,
)
from streamapp.cli.verify import ends_with_one_line, find_app
from streamapp.errors import DeadlinePassed

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.upkeep.subject import Subject

R = TypeVar("R")
PREVIEW: Final = "PREVIEW, nothing is changed; --execute does it."


def upkeep_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every command of upkeep has, as `scope`, and turn refusals into one line and an exit code."""

    @common_options
    @functools.wraps(command)
    @ends_with_one_line
    def wrapper(*args: Any, app_name: str | None, timeout: float, as_json: bool, **kwargs: Any) -> None:
        # By name, and late: `streamapp broker` needs neither an app nor the engine, and must not load them.
        refusals = importlib.import_module("streamapp.upkeep.refusals")
        try:
            command(*args, scope=Scope.here(app_name, timeout, as_json, hidden=False), **kwargs)
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
    found: Subject = subject_by(scope, "streamapp.upkeep.subject", needs_app=needs_app)
    return found


def await_broker(subject: Subject, timeout: float) -> None:
    """Return when a broker answers. Raises BrokerUnreachable, SettingInvalid."""
    reach(subject.settings, timeout, "upkeep")


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
