"""`streamapp app reset`: an app begins anew: its offsets, changelogs, internal topics and stores go, after a preview."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from streamapp.cli.upkeep_options import (
    EXIT_FINDINGS,
    PREVIEW,
    await_broker,
    console,
    said,
    screen,
    subject_here,
    upkeep_options,
)

if TYPE_CHECKING:
    from streamapp.cli.scope import Scope
    from streamapp.upkeep.app_reset import Removal

HEADINGS: Final = ("WHAT", "NAME", "STATE", "HOLDS")


@click.group("app")
def app_group() -> None:
    """The app as a whole."""


@app_group.command("reset")
@click.option("--dead-letters", is_flag=True, help="Also the dead letters, and what became of them.")
@click.option("--execute", is_flag=True, help="Do it. Without it: say what would be done.")
@upkeep_options
def reset(scope: Scope, *, dead_letters: bool, execute: bool) -> None:
    """Set the app back to its beginning. No worker of it may run.

    Exits 0, 1 when something could not be removed, 4 when there is nothing to remove, 5 while a worker runs.
    """
    resets, desk = _module("app_reset"), _module("app_desk")
    subject = subject_here(scope)
    await_broker(subject, scope.timeout)
    with desk.alone(subject, scope.timeout):
        condition = desk.look(subject, scope.timeout)
        going: list[Removal] = resets.removals(subject, condition, dead_letters=dead_letters)
        if not going:
            raise _module("refusals").NothingMatched(f"{subject.app_id} has nothing to reset")
        words: list[str] = resets.irrecoverable(subject, condition, going, dead_letters=dead_letters)
        failed: dict[str, str] = desk.carry_out(subject, going, scope.timeout) if execute else {}
    if scope.as_json:
        for each in going:
            state = "failed" if each.name in failed else "removed" if execute else "preview"
            said(each.document() | {"state": state, "failure": failed.get(each.name)})
        said({"kind": "reset" if execute else "preview", "app_id": subject.app_id, "words": words})
    else:
        if not execute:
            click.echo(PREVIEW, err=not console().is_terminal)
        word = "removed" if execute else "goes"
        rows = [
            (str(each.kind), each.name, "failed" if each.name in failed else word, failed.get(each.name, each.words))
            for each in going
        ]
        screen().print_table(console(), HEADINGS, rows)
        for line in words:
            click.echo(line, err=True)
    if failed:
        click.echo("some are still there: run it again before a worker starts", err=True)
        sys.exit(EXIT_FINDINGS)


def _module(name: str) -> Any:
    # By name, and late: `streamapp broker` must not load the engine.
    return importlib.import_module(f"streamapp.upkeep.{name}")


__all__ = ["app_group"]
