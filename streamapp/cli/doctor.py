"""`streamapp doctor`: look at group, topics, settings, dead letters and transactions for what will hurt later. Reads only."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from streamapp.cli.doctor_screen import document, print_findings, summary
from streamapp.cli.scope import reach
from streamapp.cli.verify import ends_with_one_line, find_app
from streamapp.errors import ConfigurationError

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.doctor.facts import App, Letters
    from streamapp.monitor.finding import Finding
    from streamapp.ports import LogReader

COUNTING: Final = {
    "error": ("error",),
    "warn": ("error", "warning"),
    "info": ("error", "warning", "information"),
}
"""`--fail-on` -> the levels that make the exit code 1."""


@click.command("doctor")
@click.option(
    "-A", "--app", "app_name", default=None, help="The app, as `faust -A` takes it.  [default: streamapp, the project here]"
)
@click.option("--only", metavar="G,P04", multiple=True, help="These checks: ids, or a letter for all of that kind. Repeatable.")
@click.option("--ignore", "ignored", metavar="G02", multiple=True, help="Not these. Repeatable.")
@click.option(
    "--fail-on",
    type=click.Choice(tuple(COUNTING)),
    default="error",
    show_default=True,
    help="The level from which on a finding makes the exit code 1.",
)
@click.option("--from", "urls", metavar="URL", multiple=True, help="Web port of a worker to ask. Repeatable.  [default: "
              "STREAMAPP_WEB_PEERS and this machine's STREAMAPP_WEB_PORT]")  # fmt: skip
@click.option("--show-keys", is_flag=True, help="Show keys of records as they are, not as hashes.")
@click.option("--json", "as_json", is_flag=True, help="One object per line.")
@click.option("--list", "lists", is_flag=True, help="Say which checks there are, and look at nothing.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds without an answer of the broker or a worker.",
)
@click.pass_context
@ends_with_one_line
def doctor(
    context: click.Context,
    app_name: str | None,
    only: tuple[str, ...],
    ignored: tuple[str, ...],
    fail_on: str,
    urls: tuple[str, ...],
    show_keys: bool,
    as_json: bool,
    lists: bool,
    timeout: float,
) -> None:
    """Look for what will hurt: workers without partitions, timeouts, replicas, retention, dead letters, hanging transactions.

    Exits 0, or 1 with findings of the level of --fail-on or above, 2 for wrong options or settings, 3 when no broker answers.
    Reads only: it joins no group and commits nothing.
    """
    catalogue = _doctor("catalogue")
    checks = catalogue.chosen(_ids(only), _ids(ignored))
    as_json = as_json or bool(getattr(context.obj, "json", False))
    if lists:
        for check in checks:
            click.echo(f"{check.id}\t{check.level}\t{'start' if check.at_start else '-'}\t{check.title}")
        return
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise click.UsageError(f"--from {url}: must be the http:// or https:// URL of a worker's web port")
    subject = _subject(find_app(context, app_name))
    reach(subject.settings, timeout, "doctor")
    gather = _doctor("gather")
    gatherer = gather.Gatherer(
        subject, timeout, urls=urls, show_keys=show_keys, letters=lambda log, configs: _letters(subject, log, configs)
    )
    try:
        facts = gatherer.facts(checks)
        found: list[Finding] = catalogue.findings(checks, facts)
    finally:
        gatherer.close()
    if as_json:
        _say(document(each) for each in found)
    else:
        console = Console()
        print_findings(console, found)
        for silent in facts.silent:
            click.echo(silent, err=True)
        if console.is_terminal:
            click.echo(summary(subject.app_id, len(checks), found))
    if any(each.level in COUNTING[fail_on] for each in found):
        sys.exit(1)


def _ids(given: Iterable[str]) -> list[str]:
    return [word.strip() for each in given for word in each.split(",") if word.strip()]


def _subject(app: StreamApp) -> App:
    """Return what the app declares; where its code does not load, what its settings alone tell. Raises ConfigurationError."""
    subjects = _doctor("subject")
    facts = _doctor("facts")
    try:
        app.load_modules()
        loaded: App = asyncio.run(subjects.subject_of(app))
    except ConfigurationError as failure:
        bare: App = facts.App(settings=app.settings, agents=(), tables=(), unloaded=" ".join(str(failure).split()))
        return bare
    return loaded


def _letters(subject: App, log: LogReader, configs: Mapping[str, Mapping[str, str]]) -> Mapping[str, Letters]:
    # Here, since the room of dead letters lies above the doctor's.
    found: Mapping[str, Letters] = importlib.import_module("streamapp.dlq.checks").counted(
        log, subject.app_id, list(subject.dlqs), configs
    )
    return found


def _say(rows: Iterable[dict[str, object]]) -> None:
    for row in rows:
        click.echo(json.dumps(row))


def _doctor(name: str) -> Any:
    # By name, and late: `streamapp broker` needs neither an app nor the engine, and must not load them.
    return importlib.import_module(f"streamapp.doctor.{name}")


__all__ = ["doctor"]
