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
    """Say whose partitions these are."""
    document = source.document
    told: list[Child] = [
        "This worker only: set web_peers, and the others' partitions are here, too."
        if document.only_this_worker
        else f"With the partitions of {len(document.peers)} other workers: {', '.join(document.peers)}."
    ]
    if document.unreachable:
        told.append(tag("b", f" No answer from {', '.join(document.unreachable)}.", class_="bad"))
    at = tag("time", figures.moment(document.at), id="at", datetime=figures.moment(document.at).replace(" ", "T"))
    return tag("p", told, " As of ", at, ".", class_="whose")


__all__ = ["WORKER", "panel"]
