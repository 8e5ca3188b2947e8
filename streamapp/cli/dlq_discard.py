"""`streamapp dlq discard` and `dlq take`: settle a dead letter by hand, and have a stopped partition make one."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streamapp.cli.dlq_options import filter_options, inspector_of, scope_options, subject_here
from streamapp.cli.dlq_writes import ends_by_guard, operator
from streamapp.cli.scope import EXIT_FINDINGS, EXIT_NOTHING, Scope
from streamapp.cli.verify import ends_with_one_line
from streamapp.cli.verify_screen import Progress

if TYPE_CHECKING:
    from streamapp.dlq.filters import Filters
    from streamapp.dlq.letters import Letter
    from streamapp.dlq.subject import Subject
    from streamapp.dlq.writing import Writing

R = TypeVar("R")

FIRST_IDS = 5


def filter_options_but_reason(command: Callable[..., R]) -> Callable[..., R]:
    """Add the filters without `--reason`: to a discard that is the operator's."""
    filtered = filter_options(command)
    filtered.__click_params__ = [each for each in filtered.__click_params__ if each.name != "reasons"]  # type: ignore[attr-defined]  # click's own

    @functools.wraps(filtered)
    def wrapper(*args: Any, **kwargs: Any) -> R:
        return filtered(*args, reasons=(), **kwargs)

    return wrapper


@click.command("discard")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options_but_reason
@click.option("--all", "everything", is_flag=True, help="Every unresolved one, where no id and no filter is given.")
@click.option("--reason", required=True, metavar="TEXT", help="Why nobody needs them.")
@click.option("--execute", is_flag=True, help="Do it. Without it: say what would be done.")
@scope_options
@ends_with_one_line
@ends_by_guard
def discard(ids: tuple[str, ...], *, filters: Filters, everything: bool, reason: str, execute: bool, scope: Scope) -> None:
    """Mark dead letters as discarded, and unlock the keys that wait for them. The records stay until retention."""
    plans = importlib.import_module("streamapp.dlq.plan")
    clock = importlib.import_module("streamapp.clock").SystemClock()
    chosen: Filters = replace(filters, ids=importlib.import_module("streamapp.dlq.filters").require_ids(ids))
    if chosen.is_empty and not everything:
        raise click.UsageError("which ones? Give ids, filters, or --all")
    if everything and not chosen.is_empty:
        raise click.UsageError("--all, or ids and filters: not both")
    if not reason.strip():
        raise click.UsageError("--reason: must say something")
    subject = subject_here(scope)
    with inspector_of(subject, scope.timeout) as inspector, Progress() as progress:
        planner = plans.Planner(inspector, subject, groups_on=lambda _: {}, clock=clock, watcher=progress)
        letters: list[Letter] = [letter for letter in planner.read(chosen).letters if letter.is_unresolved]
        if not letters:
            raise plans.NothingMatched("all of them are settled")
        if execute:
            _writing(subject, scope, clock, progress).discard(letters, reason)
    held = sum(letter.letter.order == "held" for letter in letters)
    if scope.as_json:
        told = {"kind": "discard" if execute else "preview", "discarded": len(letters), "keys_unlocked": held, "reason": reason}
        click.echo(json.dumps({**told, "ids": [letter.id for letter in letters]}))
        return
    if not execute:
        click.echo("PREVIEW, nothing is written; --execute writes.")
    names = " ".join(letter.place for letter in letters[:FIRST_IDS])
    click.echo(f"{'discarded' if execute else 'discards'} {len(letters)}: {names}{' …' if len(letters) > FIRST_IDS else ''}")
    if held:
        click.echo(f"{held} blocked keys: what they hold is processed next")


@click.command("take")
@click.argument("place", metavar="TOPIC/PARTITION/OFFSET")
@click.option("--execute", is_flag=True, help="Do it. Without it: say what would be done.")
@click.option("--answer-within", type=click.FloatRange(0.1), default=10.0, hidden=True)
@scope_options
@ends_with_one_line
@ends_by_guard
def take(place: str, *, execute: bool, answer_within: float, scope: Scope) -> None:
    """Have the partition that waits on this record, stopped or with an open breaker, dead-letter it and go on.

    Exits 0 when it was taken, 4 when no partition waits there, 1 when no worker answered.
    """
    clock = importlib.import_module("streamapp.clock").SystemClock()
    dead_letter = importlib.import_module("streamapp.pipeline.dead_letter")
    records = importlib.import_module("streamapp.records")
    parsed = dead_letter.parse_id(f"{place}@agent")
    if parsed is None or "@" in place:
        raise click.UsageError(f"{place}: must be topic/partition/offset")
    where = records.Partition(*parsed[0][:2])
    subject = subject_here(scope)
    with inspector_of(subject, scope.timeout) as inspector, Progress() as progress:
        if where not in inspector.partitions():
            raise click.UsageError(f"{place}: there is no {where}")
        if not execute:
            _say(
                scope,
                "preview",
                place,
                f"PREVIEW, nothing is asked; --execute asks the worker that owns {where} to take {place}.",
            )
            return
        state: Any = _writing(subject, scope, clock, progress).take(place, next(iter(subject.declared_dlqs), ""), answer_within)
    if state is None:
        _say(
            scope,
            "no answer",
            place,
            f"no worker answered within {answer_within:g} s: nobody owns {where}; the request is withdrawn",
        )
        sys.exit(EXIT_FINDINGS)
    if state == "taken":
        _say(scope, "taken", place, f"taken: {place} is a dead letter now, and {where} goes on")
        return
    _say(scope, "not waiting", place, f"not waiting there: {where} does not stand at {place}")
    sys.exit(EXIT_NOTHING)


def _say(scope: Scope, state: str, place: str, sentence: str) -> None:
    click.echo(json.dumps({"kind": "take", "place": place, "state": state}) if scope.as_json else sentence)


def _writing(subject: Subject, scope: Scope, clock: Any, progress: Progress) -> Writing:
    writing = importlib.import_module("streamapp.dlq.writing")
    made: Writing = writing.Writing(subject.settings, timeout=scope.timeout, operator=operator(), clock=clock, watcher=progress)
    return made


__all__ = ["discard", "take"]
