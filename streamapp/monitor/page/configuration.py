"""Panel 9: what is in force, where it comes from, what we would set, and where the guarantee ends."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.grid import Column, Grid, table
from streamapp.monitor.page.markup import Markup, tag
from streamapp.monitor.page.shown import Source, section

GRID: Final = Grid(
    id="config-table",
    caption="Effective configuration",
    rows="config",
    key=("name",),
    columns=(
        Column("Setting", "name", "text"),
        Column("Value", "value", "text"),
        Column("From", "origin", "text"),
        Column("Recommended", "recommendation", "text"),
    ),
    empty="No setting is known.",
    is_live=False,
)


def panel(source: Source) -> Markup:
    boundary = tag(
        "aside",
        tag("h3", "What is guaranteed: ", source.document.worker.guarantee),
        tag(
            "p",
            "From Kafka to Kafka, exactly once: a record's outputs, table writes, dead letter and offset commit together, or not at all. ",
            tag("strong", "Every call out of a handler is at-least-once"),
            ": a mail, a payment, another database may see the same record twice. Give such a call ",
            tag("kbd", "event.idempotency_key"),
            " as its key or upsert id (topic-partition-offset of the first failure when replayed; add an index for several calls).",
        ),
        class_="boundary",
    )
    return section(
        "config",
        "Configuration",
        "Secrets are masked.",
        boundary,
        tag("details", tag("summary", _summary(source)), table(GRID, source.list("config"), source.now), open=True),
    )


def _summary(source: Source) -> str:
    rows = source.document.config
    set_here = sum(row.origin != "default" for row in rows)
    return f"{len(rows)} settings, {set_here} of them not by default"


__all__ = ["GRID", "panel"]
