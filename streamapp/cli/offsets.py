"""`streamapp offsets reset`: where a group reads on, moved; and written down, to be moved back."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streamapp.cli.upkeep_options import PREVIEW, await_broker, console, said, screen, subject_here, upkeep_options

if TYPE_CHECKING:
    from streamapp.cli.scope import Scope
    from streamapp.records import Partition
    from streamapp.upkeep.offsets import Goal, Move, Place

HEADINGS: Final = ("TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET", "REPEATS", "LOSES", "NOTE")


@click.group("offsets")
def offsets_group() -> None:
    """The group's committed offsets."""


@offsets_group.command("reset")
@click.option("--to-earliest", is_flag=True, help="To the first record that is there.")
@click.option("--to-latest", is_flag=True, help="Behind the last record that is decided.")
@click.option("--to-offset", type=click.IntRange(0), metavar="N", help="To this offset.")
@click.option("--to-datetime", metavar="TIME", help="To the first record of that time; without a zone, UTC.")
@click.option("--by-duration", metavar="PT1H", help="To the first record of so long ago.")
@click.option("--shift-by", type=int, metavar="N", help="By so many records, back where negative.")
@click.option("--from-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="To what --export wrote.")
@click.option("--topic", "topics", metavar="T", multiple=True, help="Only this topic. Repeatable.  [default: the app's sources]")
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option("--export", "export", is_flag=True, help="Print topic,partition,offset: of what would be set, else of now.")
@click.option("--execute", is_flag=True, help="Do it. Without it: say what would be done.")
@upkeep_options
def reset(
    scope: Scope,
    topics: tuple[str, ...],
    partition: int | None,
    *,
    to_earliest: bool,
    to_latest: bool,
    to_offset: int | None,
    to_datetime: str | None,
    by_duration: str | None,
    shift_by: int | None,
    from_file: Path | None,
    export: bool,
    execute: bool,
) -> None:
    """Move the offsets from which the app's group reads on. No worker may be in the group.

    Exits 0, 4 when there is nothing to move, 5 while workers are in the group.
    """
    offsets, desks = _module("offsets"), _module("group_desk")
    goals = offsets.Goal
    written: dict[Partition, int] | None = (
        None if from_file is None else offsets.imported(from_file.read_text().splitlines(), str(from_file))
    )
    given: dict[Goal, Any] = {
        goals.EARLIEST: to_earliest or None,
        goals.LATEST: to_latest or None,
        goals.OFFSET: to_offset,
        goals.DATETIME: None if to_datetime is None else offsets.moment(to_datetime),
        goals.DURATION: None if by_duration is None else offsets.duration(by_duration),
        goals.SHIFT: shift_by,
        goals.FILE: written,
    }
    chosen: list[Goal] = [goal for goal, value in given.items() if value is not None]
    if len(chosen) != 1 and not (export and not chosen):
        raise click.UsageError(f"where to? Give one of {', '.join(f'--{goal}' for goal in goals)}")
    if export and execute:
        raise click.UsageError("--export prints, --execute sets: not both")
    subject = subject_here(scope)
    await_broker(subject, scope.timeout)
    if not export:
        desks.require_empty(subject.settings, scope.timeout)
    desk = desks.OffsetDesk(subject, scope.timeout)
    try:
        of_file: tuple[str, ...] = tuple(dict.fromkeys(where.topic for where in written)) if written is not None else ()
        places: list[Place] = desk.places(topics or of_file, partition)
        if not chosen:
            _print_lines(offsets.exported({place.partition: place.committed for place in places if place.committed is not None}))
            return
        moves = _moves(desk, places, chosen[0], given[chosen[0]])
        if export:
            _print_lines(offsets.exported({move.partition: move.target for move in moves}))
            return
        changes = [move for move in moves if move.target != move.place.committed]
        if not changes:
            raise _module("refusals").NothingMatched("every offset is there already")
        if execute:
            desk.set({move.partition: move.target for move in changes})
    finally:
        desk.close()
    _show(scope, changes, offsets.words(changes, subject.tables), execute=execute)


def _moves(desk: Any, places: Sequence[Place], goal: Goal, value: Any) -> list[Move]:
    offsets = _module("offsets")
    if goal in (offsets.Goal.DATETIME, offsets.Goal.DURATION):
        seconds = (
            value if goal is offsets.Goal.DATETIME else importlib.import_module("streamapp.clock").SystemClock().wall() - value
        )
        value = desk.at([place.partition for place in places], seconds)
    if isinstance(value, dict):
        by_partition: dict[Partition, int | None] = value
        return [offsets.moved(place, goal, by_partition[place.partition]) for place in places if place.partition in by_partition]
    return [offsets.moved(place, goal, value) for place in places]


def _show(scope: Scope, changes: Sequence[Move], words: Sequence[str], *, execute: bool) -> None:
    if scope.as_json:
        for move in changes:
            said(move.document())
        said({
            "kind": "reset" if execute else "preview", "partitions": len(changes),
            "repeats": sum(move.repeats for move in changes), "loses": sum(move.loses for move in changes), "words": list(words),
        })  # fmt: skip
        return
    if not execute:
        click.echo(PREVIEW, err=not console().is_terminal)
    rows = [
        (
            move.partition.topic,
            str(move.partition.number),
            "-" if move.place.committed is None else str(move.place.committed),
            str(move.target),
            str(move.repeats),
            str(move.loses),
            move.note or "-",
        )
        for move in changes
    ]
    screen().print_table(console(), HEADINGS, rows)
    for word in words:
        click.echo(word, err=True)
    if execute:
        click.echo(f"{len(changes)} offsets set", err=True)


def _print_lines(lines: Sequence[str]) -> None:
    if not lines:
        raise _module("refusals").NothingMatched("the group has committed nothing")
    for line in lines:
        click.echo(line)


def _module(name: str) -> Any:
    # By name, and late: `streamapp broker` must not load the engine.
    return importlib.import_module(f"streamapp.upkeep.{name}")


__all__ = ["offsets_group"]
