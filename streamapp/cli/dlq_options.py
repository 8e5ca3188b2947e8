"""What the dead-letter commands have in common: filters as options, the app they are about, and the cluster they look at."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from streamapp.cli.verify import quiet_client
from streamapp.errors import BrokerUnreachable, ConfigurationError

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.dlq.filters import Filters
    from streamapp.dlq.subject import Subject
    from streamapp.ports import LogReader

R = TypeVar("R")

STAGES = ("decode", "validate", "handler", "sink", "table", "process")
STATUSES = ("open", "replaying", "resolved", "reopened", "parked", "discarded")
EXIT_FINDINGS, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_NOTHING, EXIT_REFUSED = 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Scope:
    """Which app, on which cluster, and how it is shown."""

    context: click.Context
    app_name: str | None
    timeout: float
    as_json: bool
    hidden: bool
    """Values are left out, keys and messages shown as hashes or not at all."""


def scope_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that every dead-letter command has; the command gets them as `scope`."""

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
    @click.option("--no-values", "hidden", is_flag=True, help="Leave values out and show keys as hashes.")
    @functools.wraps(command)
    def wrapper(*args: Any, app_name: str | None, timeout: float, as_json: bool, hidden: bool, **kwargs: Any) -> R:
        context = click.get_current_context()
        as_json = as_json or bool(getattr(context.obj, "json", False))
        return command(*args, scope=Scope(context, app_name, timeout, as_json, hidden), **kwargs)

    return wrapper


def filter_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the filters; the command gets them as `filters`."""

    @click.option("--agent", "agents", metavar="A", multiple=True, help="The agent that failed. Repeatable: one of them.")
    @click.option(
        "--error", "errors", metavar="TYPE", multiple=True, help="The exception's class, with or without its module. Repeatable."
    )
    @click.option("--stage", "stages", type=click.Choice(STAGES), multiple=True, help="Where it failed. Repeatable.")
    @click.option(
        "--reason", "reasons", metavar="R", multiple=True, help="Why it was given up, as `retries-exhausted`. Repeatable."
    )
    @click.option("--fingerprint", "fingerprints", metavar="F", multiple=True, help="The kind of failure. Repeatable.")
    @click.option("--key", metavar="K", default=None, help="The record's key, as text.")
    @click.option("--partition", type=click.IntRange(0), default=None, help="Partition of the source topic.")
    @click.option("--since", metavar="2h|TIME", default=None, help="Failed last at or after this.")
    @click.option("--until", metavar="TIME", default=None, help="Failed last before this.")
    @click.option(
        "--status",
        "statuses",
        type=click.Choice(STATUSES),
        multiple=True,
        help="What became of it. Repeatable.  [default: unresolved]",
    )
    @click.option(
        "--dlq",
        "dlqs",
        metavar="TOPIC",
        multiple=True,
        help="Only this dead-letter topic. Repeatable.  [default: every one of the app]",
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        agents: tuple[str, ...],
        errors: tuple[str, ...],
        stages: tuple[str, ...],
        reasons: tuple[str, ...],
        fingerprints: tuple[str, ...],
        key: str | None,
        partition: int | None,
        since: str | None,
        until: str | None,
        statuses: tuple[str, ...],
        dlqs: tuple[str, ...],
        **kwargs: Any,
    ) -> R:
        dlq = importlib.import_module("streamapp.dlq.filters")
        resolution = importlib.import_module("streamapp.pipeline.resolution")
        now = datetime.now(UTC)
        filters: Filters = dlq.Filters(
            agents=frozenset(agents),
            errors=frozenset(errors),
            stages=frozenset(stages),
            reasons=frozenset(reasons),
            fingerprints=frozenset(fingerprints),
            key=None if key is None else key.encode("utf-8", "surrogateescape"),
            partition=partition,
            since=None if since is None else dlq.parse_moment(since, now, "--since"),
            until=None if until is None else dlq.parse_moment(until, now, "--until"),
            statuses=frozenset(resolution.Status(each) for each in statuses) or None,
            dlqs=tuple(dict.fromkeys(dlqs)),
        )
        return command(*args, filters=filters, **kwargs)

    return wrapper


def subject_here(scope: Scope, *, needs_agents: bool = False) -> Subject:
    """Return the app that `-A` names. Raises ConfigurationError.

    Without `needs_agents`, broker and app id will do: from the environment where there is no project, from the project where its code
    does not load. Then `unloaded` says why.
    """
    subjects = importlib.import_module("streamapp.dlq.subject")
    try:
        app: StreamApp = importlib.import_module("streamapp.cli.verify").find_app(scope.context, scope.app_name)
    except (ConfigurationError, click.UsageError) as failure:
        named = scope.app_name or getattr(scope.context.obj, "app", None)
        if needs_agents or named or "STREAMAPP_APP_ID" not in os.environ:
            raise
        settings = importlib.import_module("streamapp.settings")
        found: Subject = subjects.Subject(
            settings=settings.load({}, {}, settings.process_environment()), unloaded=" ".join(str(failure).split())
        )
        return found
    try:
        app.load_modules()
        loaded: Subject = asyncio.run(subjects.subject_of(app))
    except ConfigurationError as failure:
        if needs_agents:
            raise
        bare: Subject = subjects.Subject(settings=app.settings, unloaded=" ".join(str(failure).split()))
        return bare
    return loaded


@contextmanager
def inspector_of(subject: Subject, timeout: float) -> Iterator[LogReader]:
    """Give a reader of the app's cluster. Raises BrokerUnreachable, SettingInvalid."""
    client_config = importlib.import_module("streamapp.kafka.client_config")
    versions = importlib.import_module("streamapp.kafka.versions")
    clock = importlib.import_module("streamapp.clock")
    inspecting = importlib.import_module("streamapp.kafka.inspector")
    quiet_client()
    versions.await_broker(client_config.admin(subject.settings, "dlq"), clock.Deadline.after(timeout), fencing=False)
    inspector = inspecting.Inspector(subject.settings, timeout, name="dlq")
    try:
        yield cast("LogReader", inspector)  # its records have a RawRecord's shape, which the client library's types do not say
    except inspecting.LogChanged as changed:
        raise BrokerUnreachable(f"{changed}: it changed while it was read; run it again") from changed
    finally:
        inspector.close()


__all__ = [
    "EXIT_FINDINGS",
    "EXIT_NOTHING",
    "EXIT_REFUSED",
    "EXIT_UNREACHABLE",
    "EXIT_USAGE",
    "Scope",
    "filter_options",
    "inspector_of",
    "scope_options",
    "subject_here",
]
