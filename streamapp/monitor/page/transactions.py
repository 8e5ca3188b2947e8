"""Panel 6: the worker's transactions."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.grid import Figure, figures_of
from streamapp.monitor.page.markup import Markup
from streamapp.monitor.page.shown import Source, section

FIGURES: Final = (
    Figure("Ended", "outcomes", "pairs"),
    Figure("Producers rebuilt", "rebuilds", "pairs"),
    Figure("Commit takes, p50", "commit_p50", "latency"),
    Figure("Commit takes, p99", "commit_p99", "latency"),
    Figure("Last commit", "last_commit", "ago"),
    Figure("Open for", "open_age", "latency"),
    Figure("Records in it", "open_records", "count"),
    Figure("Table writes in it", "overlay_bytes", "size"),
    Figure("Rebalances", "rebalances", "count"),
)


def panel(source: Source) -> Markup:
    about = "One at a time: outputs, dead letters, table writes and offsets commit together, or not at all."
    return section(
        "transactions", "Transactions", about, figures_of("transactions", FIGURES, source.rows["transactions"], source.now)
    )


__all__ = ["FIGURES", "panel"]
