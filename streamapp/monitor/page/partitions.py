"""Panel 2: every partition of the sources, worst first."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.chart import sparkline
from streamapp.monitor.page.grid import PICTURE, Column, Grid, table
from streamapp.monitor.page.kinds import Row
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.page.shown import Shown, Source, section

GRID: Final = Grid(
    id="partitions-table",
    caption="Partitions, worst first",
    rows="partitions",
    key=("topic", "partition"),
    columns=(
        Column("Partition", "partition", "partition"),
        Column("Status", "status", "status"),
        Column("30 min", "", PICTURE, "Lag of the last half hour"),
        Column("Lag", "lag", "lag", "Records not processed yet"),
        Column("Age", "age", "duration", "How long the oldest unread record has waited"),
        Column("In → out", "produced_rate", "flux", "p → c: records produced, and processed, per second"),
        Column("Growth", "growth", "growth", "p − c, with its 90 % bounds"),
        Column("Drain", "drain", "drain", "Time until nothing is unread, with its bounds"),
        Column("Loss in", "loss", "loss", "Time until retention deletes unread records"),
        Column("Commit", "commit_age", "duration", "Time since the last commit"),
        Column("Owner", "owner", "owner"),
    ),
    empty="No partition to show.",
)


def panel(source: Source, shown: Shown) -> Markup:
    """Return the table and its filter."""
    pictures = {(each.topic, each.partition): each for each in source.document.partitions}

    def drawn(row: Row) -> Child:
        return sparkline(pictures[row["topic"], row["partition"]], source.now)

    choices = tag(
        "nav",
        tag("a", "All", href=shown.address(only=None), aria_current="true" if not shown.only_lag else None),
        tag("a", "Only with lag", href=shown.address(only="lag"), aria_current="true" if shown.only_lag else None),
        class_="choice",
        aria_label="Filter",
    )
    grid = table(
        GRID,
        source.list("partitions"),
        source.now,
        drawn=drawn,
        hidden=without_lag if shown.only_lag else None,
        data_only="lag" if shown.only_lag else None,
    )
    return section("partitions", "Partitions", "Worst first; bounds are those of nine cases in ten.", choices, grid)


def without_lag(row: Row) -> bool:
    """Return whether the filter hides a row: only what is known to be read is without lag."""
    return bool(row["lag"] == 0)


__all__ = ["GRID", "panel", "without_lag"]
