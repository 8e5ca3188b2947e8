"""What `streamapp lag` shows: a verdict and a table on a terminal, tab-separated lines in a pipe, one object per line with `--json`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from streamapp import figures
from streamapp.cli.dlq_screen import print_line, print_table, printable
from streamapp.monitor.lag.group import SEVERITY
from streamapp.monitor.lag.verdict import GroupVerdict, Interval, Status
from streamapp.monitor.lag.wording import growth
from streamapp.verify.lag_watch import Board, Row

COLUMNS: Final = (
    "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "WORKER", "AGE", "GROWTH", "DRAIN", "LOSS", "STATUS",
)  # fmt: skip
"""Kafka's words for Kafka's figures. LOG-END-OFFSET is the high watermark there; LAG counts what a read_committed reader may read."""
BLOCKED: Final = "BLOCKED"
WIDE: Final = ("CONSUMER-ID", "HOST", "CLIENT-ID")

_COLOURS: Final = {
    Status.DATA_LOST: "bold red",
    Status.AT_RISK: "bold red",
    Status.STALLED: "bold red",
    Status.CLIFF: "yellow",
    Status.UNKNOWN: "yellow",
    Status.FALLING_BEHIND: "yellow",
    Status.CATCHING_UP: "cyan",
    Status.OK: "green",
}


def sorted_rows(rows: Sequence[Row], by: str | None) -> list[Row]:
    """Return the worst first, or by what `--sort` names; what is not known comes last."""
    keys: dict[str | None, Callable[[Row], float]] = {
        None: lambda row: SEVERITY[row.verdict.status],
        "loss": lambda row: math.inf if row.verdict.loss is None else row.verdict.loss,
        "lag": lambda row: math.inf if row.verdict.lag is None else -row.verdict.lag,
        "age": lambda row: math.inf if row.verdict.age is None else -row.verdict.age,
    }
    return sorted(rows, key=lambda row: (keys[by](row), row.verdict.partition))


def show(board: Board, rows: Sequence[Row], *, wide: bool, as_json: bool) -> None:
    """Print the group's verdict and these rows on stdout; what else there is to say, on stderr."""
    if as_json:
        for document in (group_document(board), *(row_document(row) for row in rows)):
            click.echo(json.dumps(document))
        return
    console = Console()
    group = board.group
    if console.is_terminal:
        line = Text(f"{group.group}  ", style="bold")
        line.append(str(group.status), style=_COLOURS[group.status])
        line.append(f"  {group.sentence}", style="default")
        print_line(console, line)
    else:
        print_line(console, f"{group.group}\t{group.status}\t{group.sentence}")
    # Columns of a pipe are counted by programs: they are always the same.
    with_blocked = not console.is_terminal or any(row.verdict.blocked for row in rows)
    names = (*COLUMNS[:5], *((BLOCKED,) if with_blocked else ()), *COLUMNS[5:], *(WIDE if wide else ()))
    cells = [_cells(row, with_blocked=with_blocked, wide=wide) for row in rows]
    if cells:
        print_table(console, names, cells, colours={str(status): colour for status, colour in _COLOURS.items()})
    if console.is_terminal:
        for row in rows:
            _explained(console, row)
    for remark in remarks(board):
        click.echo(remark, err=True)


def _explained(console: Console, row: Row) -> None:
    verdict = row.verdict
    held = row.asked.transaction
    if verdict.status is not Status.OK or not row.asked.is_decided:
        print_line(console, f"{verdict.partition}: {printable(row.sentence)}")
        if row.fix is not None:
            print_line(console, f"    {printable(row.fix)}")
    elif held is not None:
        whose = printable(held.transactional_id or f"producer {held.producer_id}")
        age = f", open for {figures.duration(held.age)}" if held.age is not None else ""
        print_line(
            console, f"{verdict.partition}: {figures.count(verdict.blocked, 'record')} behind a transaction of {whose}{age}"
        )


def remarks(board: Board) -> list[str]:
    """Return what the reader should know besides."""
    said = [f"{topic}: there is no such topic" for topic in board.missing]
    if board.is_empty:
        said.append(f"{board.group.group}: no worker runs")
    return said


def _cells(row: Row, *, with_blocked: bool, wide: bool) -> tuple[str, ...]:
    verdict, member = row.verdict, row.asked.member
    return (
        verdict.partition.topic,
        str(verdict.partition.number),
        _known(verdict.committed),
        _known(row.high_watermark),
        _known(verdict.lag),
        *((_known(verdict.blocked),) if with_blocked else ()),
        row.asked.worker or figures.UNKNOWN,
        figures.duration(verdict.age),
        growth(verdict.growth),
        figures.duration(verdict.drain.estimate if verdict.drain is not None else None),
        _loss(verdict.loss),
        str(verdict.status),
        *((member.consumer_id, member.host, member.client_id) if wide and member is not None else ()),
        *((figures.UNKNOWN,) * 3 if wide and member is None else ()),
    )


def _loss(seconds: float | None) -> str:
    return figures.UNKNOWN if seconds is None or math.isinf(seconds) else figures.duration(seconds)


def _known(value: int | None) -> str:
    return figures.UNKNOWN if value is None else str(value)


# --- JSON


def group_document(board: Board) -> dict[str, object]:
    group: GroupVerdict = board.group
    return {
        "kind": "group",
        "group": group.group,
        "at": round(board.at, 3),
        "status": str(group.status),
        "sentence": group.sentence,
        "partitions": group.partitions,
        "affected": [{"topic": each.topic, "partition": each.number} for each in group.affected],
        "oldest": _seconds(group.oldest),
        "loss": _seconds(group.loss),
        "drain": _bounds(group.drain),
        "workers": group.workers,
        "workers_needed": group.workers_needed,
        "workers_capped": group.workers_capped,
        "skewed": group.skewed,
        "missing_topics": list(board.missing),
    }


def row_document(row: Row) -> dict[str, object]:
    verdict, asked = row.verdict, row.asked
    member, held = asked.member, asked.transaction
    return {
        "kind": "partition",
        "topic": verdict.partition.topic,
        "partition": verdict.partition.number,
        "status": str(verdict.status),
        "cause": None if verdict.cause is None else str(verdict.cause),
        "since": _seconds(verdict.since),
        "sentence": row.sentence,
        "fix": row.fix,
        "worker": asked.worker,
        "worker_known": verdict.owner_known,
        "committed": verdict.committed,
        "committed_known": asked.is_decided,
        "end": verdict.end,
        "high_watermark": row.high_watermark,
        "log_start": verdict.log_start,
        "lag": verdict.lag,
        "raw_lag": verdict.raw_lag,
        "blocked": verdict.blocked,
        "blocked_by": None
        if held is None
        else {
            "transactional_id": held.transactional_id,
            "producer_id": held.producer_id,
            "state": held.state,
            "age": _seconds(held.age),
        },
        "lost": verdict.lost,
        "age": _seconds(verdict.age),
        "produced_rate": _seconds(verdict.produced_rate),
        "consumed_rate": _seconds(verdict.consumed_rate),
        "growth": _bounds(verdict.growth),
        "drain": _bounds(verdict.drain),
        "capacity": _seconds(verdict.capacity),
        "utilization": _seconds(verdict.utilization),
        "loss": _seconds(verdict.loss),
        "loss_never": verdict.loss is not None and math.isinf(verdict.loss),
        "loss_by": None if verdict.loss_by is None else str(verdict.loss_by),
        "retention": _seconds(verdict.retention),
        "retention_used": _seconds(verdict.used),
        "commit_age": _seconds(verdict.commit_age),
        "consumer_id": None if member is None else member.consumer_id,
        "host": None if member is None else member.host,
        "client_id": None if member is None else member.client_id,
    }


def _seconds(value: float | None) -> float | None:
    """Return a figure to the thousandth; what never comes is null, too."""
    return None if value is None or math.isinf(value) else round(value, 3)


def _bounds(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {"estimate": _seconds(interval.estimate), "low": _seconds(interval.low), "high": _seconds(interval.high)}


__all__ = ["COLUMNS", "WIDE", "group_document", "remarks", "row_document", "show", "sorted_rows"]
