"""`streamapp transactions`: which transactions are open, which of them hang, and their end."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from streamapp.figures import duration

if TYPE_CHECKING:
    from streamapp.cli.scope import Scope
    from streamapp.upkeep.open_transactions import Endings, OpenTransaction
    from streamapp.upkeep.transaction_desk import Found, TransactionDesk

HEADINGS: Final = (
    "TOPIC", "PARTITION", "START-OFFSET", "PRODUCER-ID", "EPOCH", "AGE", "STATUS", "TRANSACTIONAL-ID", "STATE", "TIMEOUT",
    "COORDINATOR", "BEHIND", "WHY",
)  # fmt: skip

_WORDS: Final = {"abort": ("aborts", "aborted"), "commit": ("commits", "committed")}


@click.group("transactions")
def transactions_group() -> None:
    """Open and hanging transactions: who holds up what, and their end."""


@contextmanager
def desk(scope: Scope) -> Iterator[TransactionDesk]:
    """Give what looks at the app's cluster. Raises BrokerUnreachable, SettingInvalid."""
    subject = subject_here(scope, needs_app=False)
    await_broker(subject, scope.timeout)
    made: TransactionDesk = _desks().TransactionDesk(
        subject, scope.timeout, importlib.import_module("streamapp.clock").SystemClock()
    )
    try:
        yield made
    finally:
        made.close()


def _desks() -> Any:
    # By name, and late: `streamapp broker` must not load the engine.
    return importlib.import_module("streamapp.upkeep.transaction_desk")


def _open() -> Any:
    return importlib.import_module("streamapp.upkeep.open_transactions")


@transactions_group.command("list")
@click.option("--topic", "topics", metavar="T", multiple=True, help="Only this topic. Repeatable.  [default: the app's]")
@click.option("--all", "everywhere", is_flag=True, help="Every topic of the cluster.")
@click.option("--hanging", is_flag=True, help="Only those that nobody will end.")
@upkeep_options
def list_transactions(scope: Scope, topics: tuple[str, ...], *, everywhere: bool, hanging: bool) -> None:
    """List open transactions, the hanging ones first.

    Exits 0, 4 when there is none, 1 when a partition or broker did not tell.
    """
    if topics and everywhere:
        raise click.UsageError("--topic, or --all: not both")
    with desk(scope) as at:
        found = at.look(topics, everywhere=everywhere)
    shown = [one for one in found.transactions if one.hanging or not hanging]
    if scope.as_json:
        for one in shown:
            said(one.document())
    else:
        _print(shown)
        _explain(shown)
    _tell(found)
    if found.unseen:
        sys.exit(EXIT_FINDINGS)
    if not shown:
        raise _nothing("no hanging transaction" if hanging else "no open transaction", found)


@transactions_group.command("abort")
@click.option("--topic", "topics", metavar="T", multiple=True, help="Only this topic. Repeatable.  [default: the app's]")
@click.option("--all", "everywhere", is_flag=True, help="Look into every topic of the cluster.")
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option("--start-offset", "start", type=click.IntRange(0), help="The one that begins there.")
@click.option("--producer-id", type=click.IntRange(0), help="Those of this producer.")
@click.option("--hanging", is_flag=True, help="All that nobody will end.")
@click.option(
    "--transactional-id", metavar="X", help="Take this id over, which ends its transaction: the clean end of a live one."
)
@click.option("--commit", "commits", is_flag=True, help="Where its coordinator committed it: write the commit marker.")
@click.option("--force", is_flag=True, help="Also one that its coordinator may still end, or has committed.")
@click.option("--execute", is_flag=True, help="Do it. Without it: say what would be done.")
@upkeep_options
def abort(
    scope: Scope,
    topics: tuple[str, ...],
    *,
    everywhere: bool,
    partition: int | None,
    start: int | None,
    producer_id: int | None,
    hanging: bool,
    transactional_id: str | None,
    commits: bool,
    force: bool,
    execute: bool,
) -> None:
    """End open transactions: an abort marker into the partition, as `kafka-transactions.sh abort` writes it.

    Exits 0, 1 when some were refused or not ended, 4 when none is meant, 5 when all are refused.
    """
    picked = (topics, everywhere, partition is not None, start is not None, producer_id is not None, hanging, commits, force)
    if transactional_id is not None:
        if any(picked):
            raise click.UsageError("--transactional-id stands alone: it ends all that is open under that id")
        with desk(scope) as at:
            _fence(at, scope, transactional_id, execute=execute)
        return
    if topics and everywhere:
        raise click.UsageError("--topic, or --all: not both")
    if start is None and producer_id is None and not hanging:
        raise click.UsageError("which ones? Give --topic, --partition and --start-offset, or --producer-id, or --hanging")
    if start is not None and (len(topics) != 1 or partition is None):
        raise click.UsageError("--start-offset goes with one --topic and --partition")
    wish = _open().Wish(topics=frozenset(topics), partition=partition, start=start, producer_id=producer_id, hanging=hanging)
    with desk(scope) as at:
        found = at.look(topics, everywhere=everywhere)
        chosen: Endings = _open().endings(found.transactions, wish, commits=commits, force=force)
        if not chosen.ended and not chosen.refused:
            _tell(found)
            raise _nothing("no open transaction is meant", found)
        done = at.end(chosen.ended) if execute else {}
    _show_endings(scope, chosen, done, execute=execute)
    _tell(found)
    if not chosen.ended:
        sys.exit(EXIT_REFUSED)
    if chosen.refused or any(why_not is not None for why_not in done.values()):
        sys.exit(EXIT_FINDINGS)


def _fence(at: TransactionDesk, scope: Scope, transactional_id: str, *, execute: bool) -> None:
    told = at.described(transactional_id)
    if not _desks().is_open(told):
        raise _refusals().NothingMatched(f"{transactional_id}: it is {told.state}: nothing is open under it")
    where = sorted(map(str, told.partitions))
    if execute:
        at.fence(told)
    if scope.as_json:
        said(
            {
                "kind": "fenced" if execute else "preview",
                "transactional_id": transactional_id,
                "producer_id": told.producer_id,
                "producer_epoch": told.epoch,
                "state": told.state,
                "partitions": where,
            }
        )
        return
    if not execute:
        click.echo(PREVIEW)
    click.echo(
        f"{'fenced' if execute else 'fences'} {transactional_id}: producer {told.producer_id} epoch {told.epoch}, {told.state}, "
        f"open in {', '.join(where) or 'no partition'}"
    )
    click.echo(
        "what it wrote since its last commit is aborted; its producer, if it lives, is fenced: a streamapp worker makes a new one"
    )


def _show_endings(scope: Scope, chosen: Endings, done: Mapping[OpenTransaction, str | None], *, execute: bool) -> None:
    if scope.as_json:
        for one in chosen.ended:
            state = "preview" if not execute else "ended" if done[one] is None else "failed"
            said(one.document() | {"kind": state, "marker": str(one.ends_by), "reason": done.get(one)})
        for one, reason in chosen.refused:
            said(one.document() | {"kind": "refused", "marker": None, "reason": reason})
        return
    if not execute:
        click.echo(PREVIEW)
    for one in chosen.ended:
        failure = done.get(one)
        word = "FAILED" if failure else _WORDS[one.ends_by][execute]
        click.echo(f"{word} {_place(one)}{f': {failure}' if failure else _behind(one)}")
        for each in one.waits if not failure else ():
            click.echo(f"  {each}")
    for one, reason in chosen.forced:
        click.echo(f"forced {_place(one)}: {reason}", err=True)
    for one, reason in chosen.refused:
        click.echo(f"refused {_place(one)}: {reason}", err=True)


def _print(shown: Sequence[OpenTransaction]) -> None:
    if not shown:
        return
    drawn = screen()
    rows = [
        (
            one.partition.topic,
            str(one.partition.number),
            str(one.start),
            str(one.producer_id),
            str(one.epoch),
            duration(one.age),
            "hanging" if one.hanging else "open",
            one.transactional_id or "-",
            one.state or "-",
            duration(one.timeout),
            one.coordinator or "-",
            "-" if one.behind is None else str(one.behind),
            one.why,
        )
        for one in shown
    ]
    drawn.print_table(console(), HEADINGS, rows)


def _explain(shown: Sequence[OpenTransaction]) -> None:
    """Say what waits, and the command to run next, on stderr: a pipe gets the rows."""
    for one in shown:
        for each in one.waits:
            click.echo(each, err=True)
        if one.hanging:
            commits = " --commit" if one.ends_by is _open().Marking.COMMIT else ""
            click.echo(
                f"end it: streamapp transactions abort --topic {one.partition.topic} --partition {one.partition.number} "
                f"--start-offset {one.start}{commits} --execute",
                err=True,
            )


def _place(one: OpenTransaction) -> str:
    whose = f", {one.transactional_id}" if one.transactional_id else ""
    return f"{one.partition} from offset {one.start}: producer {one.producer_id} epoch {one.epoch}{whose}"


def _behind(one: OpenTransaction) -> str:
    return "" if one.behind is None else f", {one.behind} records behind it"


def _tell(found: Found) -> None:
    for what, reason in found.unseen.items():
        click.echo(f"not seen: {what}: {reason}", err=True)


def _nothing(sentence: str, found: Found) -> Exception:
    refused: Exception = _refusals().NothingMatched(f"{sentence} in {found.looked_at} partitions")
    return refused


def _refusals() -> Any:
    return importlib.import_module("streamapp.upkeep.refusals")


__all__ = ["desk", "transactions_group"]
