"""`streamapp verify`: check an app from outside. Reads only; joins no group and commits nothing."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamapp.cli.verify_screen import Progress, show
from streamapp.errors import BrokerUnreachable, ConfigurationError, StreamAppError
from streamapp.events import CLIENT_LOGGER
from streamapp.verify.rows import Check, Report

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.verify.run import Options

DEBUG = "FAUST_DEBUG"


def ends_with_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what a user can mend into its one line on stderr and its exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except StreamAppError as error:
            if os.environ.get(DEBUG):
                raise
            click.echo(f"streamapp: {' '.join(str(error).split())}", err=True)
            sys.exit(2 if isinstance(error, ConfigurationError) else 3 if isinstance(error, BrokerUnreachable) else 1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)

    return wrapper


@click.command("verify")
@click.option(
    "-A", "--app", "app_name", default=None, help="The app, as `faust -A` takes it.  [default: streamapp, the project here]"
)
@click.option(
    "--only",
    "only",
    type=click.Choice([check.value for check in Check]),
    multiple=True,
    help="Check only this. Repeatable.",
)
@click.option(
    "--data-dir",
    "data_dirs",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="Data directory of a worker that is stopped; a live one is asked. Repeatable.  [default: those that are here]",
)
@click.option(
    "--worker",
    "workers",
    metavar="URL",
    multiple=True,
    help="Web port of a live worker. Repeatable.  [default: STREAMAPP_WEB_PEERS]",
)
@click.option("--duplicates", "topic", metavar="TOPIC", help="Look for duplicates in this topic; needs --by.")
@click.option("--by", metavar="key|header:NAME|json:FIELD", help="Where a record's id is.")
@click.option("--per-partition", is_flag=True, help="The same id in two partitions is no duplicate.")
@click.option(
    "--max-lag",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Unread records of a source partition that are no finding.",
)
@click.option(
    "--hanging-after",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Age from which an open transaction is a finding.  [default: its timeout and 10 s]",
)
@click.option(
    "--named",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="Duplicates and differing keys shown one by one.",
)
@click.option("--no-values", is_flag=True, help="Show keys and ids as hashes.")
@click.option("--json", "as_json", is_flag=True, help="One object per line.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds without an answer of the broker or a worker.",
)
@click.pass_context
@ends_with_one_line
def verify(
    context: click.Context,
    app_name: str | None,
    only: tuple[str, ...],
    data_dirs: tuple[Path, ...],
    workers: tuple[str, ...],
    topic: str | None,
    by: str | None,
    per_partition: bool,
    max_lag: int,
    hanging_after: float | None,
    named: int,
    no_values: bool,
    as_json: bool,
    timeout: float,
) -> None:
    """Check an app from outside: open transactions, lag, tables against their changelogs and, if asked for, duplicates.

    Exits 0 when all is well, 1 with findings or what could not be checked, 2 for wrong options or settings, 3 when no broker answers.
    Reads only: it joins no group, commits nothing, and writes nothing into a data directory.
    """
    if (topic is None) != (by is None):
        raise click.UsageError("--duplicates TOPIC and --by key|header:NAME|json:FIELD belong together")
    # By name, and here: `streamapp broker` needs neither an app nor the engine, and must not load them.
    run = importlib.import_module("streamapp.verify.run")
    options: Options = run.Options(
        only=frozenset(Check(each) for each in only),
        data_dirs=data_dirs,
        workers=workers,
        timeout=timeout,
        max_lag=max_lag,
        hanging_after=hanging_after,
        duplicates=None if topic is None or by is None else run.Duplicates(topic=topic, by=by, per_partition=per_partition),
        named=named,
        hidden=no_values,
    )
    quiet_client()
    app = find_app(context, app_name)
    app.load_modules()
    subject = asyncio.run(importlib.import_module("streamapp.verify.subject").subject_of(app))
    with Progress() as progress:
        report: Report = run.Verification(subject, options, progress).run()
    show(report, as_json=as_json or bool(getattr(context.obj, "json", False)))
    sys.exit(report.exit_code)


def find_app(context: click.Context, name: str | None) -> StreamApp:
    """Return the app that `-A` names, here or before the verb: `faust -A shop verify` has it already. Its modules are not loaded."""
    application = importlib.import_module("streamapp.application")
    faust_cli = importlib.import_module("faust.cli.base")
    wanted = name or getattr(context.obj, "app", None) or "streamapp"
    try:
        app = faust_cli.find_app(wanted)
    except ConfigurationError:
        raise
    # The user's module runs here: whatever it raises, the user is told which app it was.
    except Exception as failure:
        raise click.UsageError(f"-A {wanted}: {type(failure).__name__}: {failure}") from failure
    if not isinstance(app, application.StreamApp):
        raise click.UsageError(f"-A {wanted}: a {type(app).__name__}, not a StreamApp")
    found: StreamApp = app
    return found


def quiet_client() -> None:
    """Leave the client library's log lines out: what matters of them is in the command's own line."""
    logger = logging.getLogger(CLIENT_LOGGER)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


__all__ = ["ends_with_one_line", "find_app", "quiet_client", "verify"]
