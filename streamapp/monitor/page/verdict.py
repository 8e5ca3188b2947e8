"""Panel 1: the verdict on the group, and who tells it."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page import figures
from streamapp.monitor.page.grid import Figure, figures_of
from streamapp.monitor.page.kinds import STATUSES, badge, cell
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.page.shown import Source

WORKER: Final = (
    Figure("Worker", "worker", "text"),
    Figure("State", "ready", "ready"),
    Figure("Version", "version", "text"),
    Figure("Since", "started", "ago"),
    Figure("Loop late by", "loop_lag", "latency"),
    Figure("Process", "pid", "text"),
    Figure("streamapp", "streamapp", "text"),
    Figure("librdkafka", "librdkafka", "text"),
)


def panel(source: Source) -> Markup:
    """Return one sentence per group, with its status as colour, word and shape."""
    group = source.rows["group"]
    known = group["status"] if group["status"] in STATUSES else "UNKNOWN"
    strip = tag(
        "div",
        tag("p", badge(group["status"]), class_="state", data_f="status", data_k="group"),
        tag("p", group["sentence"], class_="sentence", data_f="sentence", data_k="text"),
        tag("p", _sum(source), class_="sum", data_f="workers", data_k="workers"),
        class_=f"strip v-{known}",
        data_of="group",
        aria_live="polite",
    )
    heading = tag("h2", "Verdict on ", group["group"], id="verdict-title", class_="sr")
    worker = figures_of("worker", WORKER, source.rows["worker"], source.now)
    return tag("section", heading, strip, _whose(source), worker, id="verdict", aria_labelledby="verdict-title")


def _sum(source: Source) -> Child:
    return cell("workers", "workers", source.rows["group"], source.now).content


def _whose(source: Source) -> Markup:
    """Say whose partitions these are, and as of when."""
    told = cell("whose", "only_this_worker", source.rows, source.now).content
    at = tag("time", figures.moment(source.now), id="at", datetime=figures.moment(source.now).replace(" ", "T"))
    return tag("p", tag("span", told, data_f="only_this_worker", data_k="whose"), " As of ", at, ".", class_="whose", data_of="")


__all__ = ["WORKER", "panel"]
