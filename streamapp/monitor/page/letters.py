"""Panel 4: dead letters, from the kind of failure to one record and the commands that show and replay it.

What the worker knows, and no more: one record's content is read by the command, not by the page.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from streamapp.monitor.page.grid import ACTIONS, Column, Grid, table
from streamapp.monitor.page.kinds import Row, copyable
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.page.shown import Shown, Source, section

FORM_PATH: Final = "/streamapp/dead-letters/"
"""With `discard` or `replay`: the form that asks what is meant."""

TOPICS: Final = Grid(
    id="dlq-table",
    caption="Unresolved dead letters, by partition of their topic",
    rows="dead_letters",
    key=("topic", "partition"),
    columns=(
        Column("Partition", "partition", "partition"),
        Column("Unresolved", "unresolved", "unresolved"),
        Column("Oldest", "oldest", "ago", "When the oldest of them failed"),
        Column("Deleted in", "loss", "duration", "Time until retention deletes the oldest"),
        Column("Read by an agent", "is_read", "yes"),
    ),
    empty="This worker owns no partition of a dead-letter topic.",
)

KINDS: Final = Grid(
    id="fingerprints-table",
    caption="Kinds of failure, since this worker started",
    rows="fingerprints",
    key=("fingerprint", "agent"),
    columns=(
        Column("Fingerprint", "fingerprint", "text"),
        Column("Agent", "agent", "text"),
        Column("Error", "error_type", "text"),
        Column("Reason", "reason", "text"),
        Column("Stage", "stage", "text"),
        Column("Count", "count", "count"),
        Column("Last", "last", "ago"),
        Column("First", "first", "ago"),
        Column("Records", "dead_letters", "letters"),
    ),
    empty="Nothing was dead-lettered here since this worker started.",
)
WRITING: Final = Column("Settle", "", ACTIONS)


def panel(source: Source, shown: Shown) -> Markup:
    """Return both tables; with forms where the page may write."""
    about = "What was given up. Values are not shown here: the command of a record shows them, on your terminal."
    kinds = table(
        KINDS if not shown.may_write else _with_actions(),
        source.list("fingerprints"),
        source.now,
        written=actions if shown.may_write else None,
    )
    return section(
        "letters",
        "Dead letters",
        about,
        table(TOPICS, source.list("dead_letters"), source.now),
        kinds,
        tag("p", "All of them: ", copyable("streamapp dlq stats"), class_="more"),
    )


def actions(row: Row) -> Child:
    """Return the ways to settle a kind of failure."""
    meant = urlencode({"fingerprint": row["fingerprint"], "dlq": row["dlq"]}, errors="replace")
    return [tag("a", f"{verb.title()}…", href=f"{FORM_PATH}{verb}?{meant}") for verb in ("replay", "discard")]


def _with_actions() -> Grid:
    return Grid(KINDS.id, KINDS.caption, KINDS.rows, KINDS.key, (*KINDS.columns, WRITING), KINDS.empty)


__all__ = ["FORM_PATH", "KINDS", "TOPICS", "actions", "panel"]
