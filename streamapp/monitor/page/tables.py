"""Panel 7: the table partitions that are here, or being restored."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.grid import Column, Grid, table
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.page.shown import Shown, Source, section

GRID: Final = Grid(
    id="tables-table",
    caption="Table partitions of this worker",
    rows="tables",
    key=("table", "partition"),
    columns=(
        Column("Table", "table", "table"),
        Column("State", "state", "restore"),
        Column("Keys", "keys", "count", "An estimate of the store"),
        Column("On disk", "bytes", "size"),
    ),
    empty="This worker has no table.",
)


def panel(source: Source, shown: Shown) -> Markup:
    about: Child = (
        ["Keys and values: ", tag("a", "/table/", href="/table/"), "."]
        if shown.shows_values
        else "Keys and values are not shown: web_show_values is false."
    )
    return section("tables", "Tables", about, table(GRID, source.list("tables"), source.now))


__all__ = ["GRID", "panel"]
