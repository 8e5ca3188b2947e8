"""`streamapp config`: the settings that are in force, where each came from, and what is recommended; or the rights that the app needs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streamapp.cli.upkeep_options import console, said, screen, subject_here, upkeep_options

if TYPE_CHECKING:
    from streamapp.cli.scope import Scope
    from streamapp.upkeep.rights import Right
    from streamapp.upkeep.subject import Subject

HEADINGS: Final = ("SETTING", "VALUE", "ORIGIN", "RECOMMENDED")
RIGHTS: Final = ("RESOURCE", "NAME", "PATTERN", "OPERATIONS", "WHY")


@click.command("config")
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@click.option("--acls", is_flag=True, help="The rights that the app needs, as rows and as lines of kafka-acls.sh.")
@upkeep_options
def config(scope: Scope, *, changed: bool, acls: bool) -> None:
    """Show the effective settings, each with its origin; secrets are masked. No broker is asked."""
    if acls and changed:
        raise click.UsageError("--acls, or --changed: not both")
    if acls:
        _show_rights(scope, subject_here(scope))
    else:
        _show_settings(scope, subject_here(scope, needs_app=False), changed=changed)


def _show_settings(scope: Scope, subject: Subject, *, changed: bool) -> None:
    settings = importlib.import_module("streamapp.settings")
    recommended = importlib.import_module("streamapp.settings.advice").advice(subject.settings)
    origins = subject.settings.origin
    values = {
        name: value
        for name, value in settings.values(subject.settings).items()
        if not changed or origins.get(name, "default") != "default"
    }
    if scope.as_json:
        for name, value in values.items():
            said(
                {
                    "kind": "setting",
                    "name": name,
                    "variable": settings.variable(name),
                    "value": plain(value),
                    "origin": origins.get(name, "default"),
                    "recommended": recommended.get(name),
                }
            )
        return
    rows = [(name, text(value), origins.get(name, "default"), recommended.get(name, "-")) for name, value in values.items()]
    screen().print_table(console(), HEADINGS, rows)
    for notice in subject.settings.notices:
        click.echo(notice, err=True)


def plain(value: object) -> object:
    """Return a setting's value for JSON; whoever sounds secret is masked by its own type."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    masked = getattr(value, "masked", None)
    return masked() if masked is not None else repr(value)


def text(value: object) -> str:
    """Return a setting's value for people; - for none."""
    shown = plain(value)
    if shown is None or shown in ([], {}):
        return "-"
    if isinstance(shown, bool):
        return str(shown).lower()
    if isinstance(shown, list):
        return ",".join(map(str, shown))
    if isinstance(shown, dict):
        return ",".join(f"{name}={each}" for name, each in shown.items())
    return f"{shown:.10g}" if isinstance(shown, float) else str(shown)


def _show_rights(scope: Scope, subject: Subject) -> None:
    module: Any = importlib.import_module("streamapp.upkeep.rights")
    rights: list[Right] = module.rights_of(subject)
    lines: list[str] = module.lines(rights, subject.settings.broker.broker, module.principal_of(subject))
    if scope.as_json:
        for right, line in zip(rights, lines, strict=True):
            said(right.document() | {"principal": module.principal_of(subject), "line": line})
        return
    rows = [
        (
            str(right.resource),
            right.name,
            "prefixed" if right.prefixed else "literal",
            ",".join(right.operations),
            right.words,
        )
        for right in rights
    ]
    screen().print_table(console(), RIGHTS, rows)
    for line in lines:
        click.echo(line, err=True)


__all__ = ["config"]
