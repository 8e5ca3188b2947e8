"""Panel 8: what the doctor found."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.grid import Column, Grid, table
from streamapp.monitor.page.kinds import copyable
from streamapp.monitor.page.markup import Markup
from streamapp.monitor.page.shown import Source, section

GRID: Final = Grid(
    id="findings-table",
    caption="Findings of the doctor",
    rows="findings",
    key=("id", "subject"),
    columns=(
        Column("Id", "id", "text"),
        Column("Level", "level", "level"),
        Column("About", "subject", "text"),
        Column("Finding", "line", "text"),
        Column("Why", "why", "text"),
        Column("Fix", "fix", "command"),
    ),
    empty="No finding.",
)


def panel(source: Source) -> Markup:
    about = ["The checks of a worker's start, and those that need no broker. All of them: ", copyable("streamapp doctor")]
    return section("doctor", "Doctor", about, table(GRID, source.list("findings"), source.now))


__all__ = ["GRID", "panel"]
