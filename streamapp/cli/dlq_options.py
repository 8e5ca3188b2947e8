"""What the dead-letter commands have in common: filters as options, the app they are about, and the cluster they look at."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from streamapp.cli.scope import (
    Scope,
    common_options,
    reach,
    subject_by,
)
from streamapp.errors import BrokerUnreachable

if TYPE_CHECKING:
    from streamapp.dlq.filters import Filters
    from streamapp.dlq.subject import Subject
    from streamapp.ports import LogReader

R = TypeVar("R")

STAGES = ("decode", "validate", "handler", "sink", "table", "process")
STATUSES = ("open", "replaying", "resolved", "reopened", "parked", "discarded")


def scope_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that every dead-letter command has; the command gets them as `scope`."""

    @common_options
    @click.option("--no-values", "hidden", is_flag=True, help="Leave values out and show keys as hashes.")
    @functools.wraps(command)
    def wrapper(*args: Any, app_name: str | None, timeout: float, as_json: bool, hidden: bool, **kwargs: Any) -> R:
        return command(*args, scope=Scope.here(app_name, timeout, as_json, hidden=hidden), **kwargs)

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
    found: Subject = subject_by(scope, "streamapp.dlq.subject", needs_app=needs_agents)
    return found


@contextmanager
def inspector_of(subject: Subject, timeout: float) -> Iterator[LogReader]:
    """Give a reader of the app's cluster. Raises BrokerUnreachable, SettingInvalid."""
    inspecting = importlib.import_module("streamapp.kafka.inspector")
    reach(subject.settings, timeout, "dlq")
    inspector = inspecting.Inspector(subject.settings, timeout, name="dlq")
    try:
        yield cast("LogReader", inspector)  # its records have a RawRecord's shape, which the client library's types do not say
    except inspecting.LogChanged as changed:
        raise BrokerUnreachable(f"{changed}: it changed while it was read; run it again") from changed
    finally:
        inspector.close()


__all__ = ["filter_options", "inspector_of", "scope_options", "subject_here"]
