"""`streamapp topics plan|apply`: what the app declares against what is there. Nothing is ever deleted or made smaller."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from streamapp.cli.upkeep_options import (
    EXIT_FINDINGS,
    EXIT_REFUSED,
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
    from streamapp.upkeep.subject import Subject
    from streamapp.upkeep.topic_plan import Step

HEADINGS: Final = ("ACTION", "TOPIC", "PARTITIONS", "SETTINGS", "WORDS")


@click.group("topics")
def topics_group() -> None:
    """The app's topics: what is missing, and what differs from what it declares."""


def plan_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `plan` and `apply` have in common."""

    @click.option("--grow", is_flag=True, help="Also add partitions where fewer are there than are declared; keys move.")
    @click.option("--workers", type=click.IntRange(1), help="At the peak: propose a partition count for sources (P03).")
    @click.option("--peak-rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Records per second at the peak.")
    @click.option(
        "--capacity",
        type=click.FloatRange(0, min_open=True),
        metavar="N",
        help="Records per second that one partition's work takes.",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        command(*args, **kwargs)

    return wrapper


@topics_group.command("plan")
@plan_options
@upkeep_options
def plan(scope: Scope, *, grow: bool, workers: int | None, peak_rate: float | None, capacity: float | None) -> None:
    """Show what is missing or differs, with the command of Kafka's own tools for each.

    Exits 0, or 1 where something does not fit and no change here would mend it.
    """
    _, steps = _steps(scope, grow=grow, workers=workers, peak_rate=peak_rate, capacity=capacity)
    _show(scope, steps, {})
    if any(step.action == "refused" for step in steps):
        sys.exit(EXIT_FINDINGS)


@topics_group.command("apply")
@plan_options
@click.option("--execute", is_flag=True, help="Do it. Without it: say what would be done.")
@upkeep_options
def apply(
    scope: Scope, *, grow: bool, workers: int | None, peak_rate: float | None, capacity: float | None, execute: bool
) -> None:
    """Create what is missing, and set what differs.

    Exits 0, 1 when some is refused or failed, 4 when there is nothing to do, 5 when all of it is refused.
    """
    subject, steps = _steps(scope, grow=grow, workers=workers, peak_rate=peak_rate, capacity=capacity)
    doing = [step for step in steps if step.action in ("create", "set", "grow")]
    refused = [step for step in steps if step.action == "refused"]
    failed: dict[str, str] = {}
    if execute:
        steps, failed = importlib.import_module("streamapp.upkeep.topic_desk").apply(
            subject, steps, scope.timeout, grow=grow, proposed=_proposed(workers, peak_rate, capacity)
        )
    elif doing and not scope.as_json:
        click.echo(PREVIEW, err=not console().is_terminal)
    _show(scope, steps, failed, is_done=execute)
    if not doing and refused:
        sys.exit(EXIT_REFUSED)
    if not doing:
        raise importlib.import_module("streamapp.upkeep.refusals").NothingMatched("nothing is missing, and nothing differs")
    if refused or failed:
        sys.exit(EXIT_FINDINGS)


def _steps(
    scope: Scope, *, grow: bool, workers: int | None, peak_rate: float | None, capacity: float | None
) -> tuple[Subject, list[Step]]:
    if (peak_rate is None) != (capacity is None):
        raise click.UsageError("--peak-rate and --capacity go together")
    subject = subject_here(scope)
    await_broker(subject, scope.timeout)
    found: list[Step] = importlib.import_module("streamapp.upkeep.topic_desk").look(
        subject, scope.timeout, grow=grow, proposed=_proposed(workers, peak_rate, capacity)
    )
    return subject, found


def _proposed(workers: int | None, peak_rate: float | None, capacity: float | None) -> int | None:
    plans = importlib.import_module("streamapp.upkeep.topic_plan")
    found: int | None = plans.proposed_partitions(workers, peak_rate, capacity)
    return found


def _show(scope: Scope, steps: Sequence[Step], failed: dict[str, str], *, is_done: bool = False) -> None:
    for step in steps if scope.as_json else ():
        acts = step.action in ("create", "set", "grow")
        said(step.document() | {"done": is_done and acts and step.topic not in failed, "failure": failed.get(step.topic)})
    if scope.as_json:
        return
    if not steps:
        click.echo("nothing is missing, and nothing differs", err=True)
        return
    rows = [
        (
            "failed" if step.topic in failed and step.action != "note" else str(step.action),
            step.topic,
            "-" if step.partitions is None else str(step.partitions),
            " ".join(f"{name}={value}" for name, value in step.config.items()) or "-",
            failed.get(step.topic) or step.words or "-",
        )
        for step in steps
    ]
    screen().print_table(console(), HEADINGS, rows)
    for step in () if is_done else steps:
        if step.line is not None:
            click.echo(step.line, err=True)


__all__ = ["topics_group"]
