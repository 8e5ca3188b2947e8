"""Panel 5: the agents, from their topics to their dead letters."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.grid import Column, Grid, table
from streamapp.monitor.page.markup import Markup
from streamapp.monitor.page.shown import Source, section

GRID: Final = Grid(
    id="agents-table",
    caption="Agents of this worker",
    rows="agents",
    key=("name",),
    columns=(
        Column("Topic → agent → dead letters", "name", "flow"),
        Column("Busy", "busy", "share", "Share of the last minute in which it had a record"),
        Column("p50, p95, p99", "p50", "calls", "Half of its calls took no longer; 95 and 99 of 100"),
        Column("In hand", "in_hand", "count", "Records given to it and not yet returned"),
        Column("Processed", "processed", "count"),
        Column("Duplicates", "dedupe_hits", "count", "Records that dedupe dropped"),
        Column("Retries", "retries", "pairs"),
        Column("Dead letters", "dead_letters", "dead"),
        Column("Replays", "replayed", "pairs", "Replayed records, by outcome"),
        Column("Breaker", "breakers", "breakers"),
        Column("Blocked", "blocked_keys", "held", "Keys that wait for a dead letter, and the records held behind it"),
        Column("On error", "on_error", "text"),
    ),
    empty="This worker has no agent.",
)


def panel(source: Source) -> Markup:
    return section(
        "agents",
        "Agents",
        "Since this worker started; busy is of the last minute.",
        table(GRID, source.list("agents"), source.now),
    )


__all__ = ["GRID", "panel"]
