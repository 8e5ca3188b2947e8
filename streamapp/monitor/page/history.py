"""Panel 3: age and lag of one partition, what happened meanwhile, and what is to be expected."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.chart import lag_chart
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.page.shown import RANGES, Shown, Source, section
from streamapp.monitor.status import PartitionStatus

ABOUT: Final = (
    "The cone holds what is to come in nine of ten cases; the broken line is retention, above which unread records are deleted."
)


def panel(source: Source, shown: Shown) -> Markup:
    """Return the chart of the partition that was asked for, else of the worst."""
    document = source.long if source.long is not None and shown.range != "30m" else source.document
    names = [name_of(each) for each in source.document.partitions]
    chosen = _chosen(document.partitions, shown.chart)
    if chosen is None:
        return section("history", "Lag over time", ABOUT, tag("p", "No partition to show.", class_="empty"))
    name = name_of(chosen)
    options = [tag("option", each, selected=each == name) for each in names]
    ranges = [
        tag("label", tag("input", type="radio", name="range", value=each, checked=each == shown.range), f" {each}")
        for each in RANGES
    ]
    choice = tag(
        "form",
        tag("label", "Partition ", tag("select", options, name="chart")),
        tag("span", ranges, role="radiogroup", aria_label="Range"),
        tag("input", type="hidden", name="only", value="lag") if shown.only_lag else None,
        tag("button", "Show"),
        action="#history",
        method="get",
        class_="choice",
    )
    drawn = tag("div", lag_chart(chosen, source.now, RANGES[shown.range]), id="chart")
    return section("history", "Lag over time", ABOUT, choice, drawn)


def _chosen(partitions: tuple[PartitionStatus, ...], wanted: str | None) -> PartitionStatus | None:
    named = next((each for each in partitions if name_of(each) == wanted), None)
    return named if named is not None else next(iter(partitions), None)


def name_of(partition: PartitionStatus) -> str:
    return f"{partition.topic}/{partition.partition}"


__all__ = ["Child", "name_of", "panel"]
