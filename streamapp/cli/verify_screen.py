"""What `streamapp verify` shows: tables on a terminal, tab-separated lines in a pipe, one JSON object per line with `--json`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

import click
import rich.progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamapp.figures import duration
from streamapp.verify.rows import (
    BAD,
    Check,
    DuplicateRow,
    DuplicatesRow,
    LagRow,
    NoteRow,
    Report,
    Row,
    TableRow,
    TransactionRow,
    Verdict,
)

SAY_EVERY: Final = 5.0
"""Seconds between two lines of progress where there is no terminal."""

_COLOURS: Final = {Verdict.OK: "green", Verdict.NOTE: "cyan", Verdict.FINDING: "bold red", Verdict.UNCHECKED: "yellow"}
_MARKS: Final = {Verdict.OK: "✓", Verdict.NOTE: "·", Verdict.FINDING: "✗", Verdict.UNCHECKED: "?"}


def show(report: Report, *, as_json: bool) -> None:
    """Print the report on stdout."""
    if as_json:
        for row in report.rows:
            click.echo(json.dumps(row.document()))
        click.echo(json.dumps(report.summary()))
        return
    console = Console()
    if not console.is_terminal:
        for row in report.rows:
            click.echo("\t".join((row.kind, row.verdict, row.status, *_cells(row), row.detail or "-")))
        click.echo(f"summary\t{_sentence(report)}")
        return
    for title, headings, rows in _sections(report):
        if rows:
            _print(console, title, headings, rows)
    worst = next(
        (verdict for verdict in (Verdict.FINDING, Verdict.UNCHECKED) if any(row.verdict is verdict for row in report.rows)),
        Verdict.OK,
    )
    console.print(Text(f"{_MARKS[worst]} {_sentence(report)}", style=_COLOURS[worst]))


def _sections(report: Report) -> Iterable[tuple[str, Sequence[str], list[Row]]]:
    of = report.rows
    # What is as it should be is counted, not listed: on a terminal one looks for the other rows.
    yield (
        "Open transactions",
        ("topic", "stuck at", "behind", "transactional id", "producer", "state", "age", "hangs after"),
        [row for row in of if isinstance(row, TransactionRow)],
    )
    yield (
        "Lag",
        ("partition", "committed", "end", "lag"),
        [row for row in of if isinstance(row, LagRow) and row.verdict is not Verdict.OK],
    )
    yield "Tables", ("table", "place", "offset", "keys", "digest", "changelog"), [row for row in of if isinstance(row, TableRow)]
    yield "Duplicates", ("topic", "id", "at", "first at"), [row for row in of if isinstance(row, DuplicateRow)]
    yield "Search", ("topic", "by", "records", "without id", "duplicates"), [row for row in of if isinstance(row, DuplicatesRow)]
    yield "Notes", ("about",), [row for row in of if isinstance(row, NoteRow)]


def _cells(row: Row) -> tuple[str, ...]:
    """Return a row's columns, as its section has them."""
    if isinstance(row, TransactionRow):
        return (
            f"{row.topic}/{row.partition} ({row.role})", str(row.stuck_at), str(row.records_behind), row.transactional_id or "-",
            _known(row.producer_id), row.state or "-", duration(row.age), duration(row.hangs_after),
        )  # fmt: skip
    if isinstance(row, LagRow):
        about = "" if row.exact or row.lag is None else "≤ "
        return f"{row.topic}/{row.partition}", _known(row.committed), str(row.end), f"{about}{_known(row.lag)}"
    if isinstance(row, TableRow):
        return (
            f"{row.table}/{row.partition}", row.place, _known(row.offset), _known(row.keys),
            _short(row.digest), _short(row.changelog_digest),
        )  # fmt: skip
    if isinstance(row, DuplicateRow):
        return row.topic, row.id, f"{row.partition}/{row.offset}", f"{row.first_partition}/{row.first_offset}"
    if isinstance(row, DuplicatesRow):
        return row.topic, row.by, str(row.records), str(row.without_id), str(row.duplicates)
    assert isinstance(row, NoteRow)
    return (row.about,)


def _print(console: Console, title: str, headings: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table("", *headings, "status", title=title, title_justify="left")
    for row in rows:
        style = _COLOURS[row.verdict]
        # As Text: in an id or a path, brackets would else be rich's markup.
        cells = [Text(cell) for cell in _cells(row)]
        table.add_row(Text(_MARKS[row.verdict], style=style), *cells, Text(row.status, style=style))
    console.print(table)
    for row in rows:
        differences = row.differences if isinstance(row, TableRow) else ()
        if row.detail and (row.verdict in BAD or isinstance(row, NoteRow)):
            console.print(Text(f"  {_cells(row)[0]}: {row.detail}"), highlight=False)
        for each in differences:
            console.print(Text(f"    {each}"), highlight=False)


def _sentence(report: Report) -> str:
    checked = report.checked
    looked = [
        f"{checked[check]:,} {what}"
        for check, what in (
            (Check.TRANSACTIONS, "partitions for open transactions"),
            (Check.LAG, "source partitions"),
            (Check.TABLES, "table partitions"),
            (Check.DUPLICATES, "records for duplicates"),
        )
        if check in checked
    ]
    summary = report.summary()
    return f"{report.app_id}: looked at {', '.join(looked) or 'nothing'}: {summary['findings']} findings, {summary['unchecked']} not checked"


def _known(value: int | None) -> str:
    return "-" if value is None else str(value)


def _short(digest: str | None) -> str:
    return "-" if digest is None else digest[:8]


class Progress:
    """Counts, rate and time left of a long reading, on stderr: a bar on a terminal, else a line now and then. A context manager.

    The bar is there from `begin` to `end` only: what a command prints in between would stand behind it in its line.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}"),
            rich.progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: rich.progress.TaskID | None = None
        self._what, self._done, self._total = "", 0, 0
        self._began = self._said = time.monotonic()

    def begin(self, what: str, total: int) -> None:
        self._what, self._done, self._total = what, 0, total
        self._began = self._said = time.monotonic()
        if self._console.is_terminal:
            self._bar.start()
            self._task = self._bar.add_task(what, total=total or None, rate="")

    def advance(self, count: int) -> None:
        self._done += count
        if self._task is not None:
            self._bar.update(self._task, advance=count, rate=f"{self._rate:,.0f}/s")
        elif time.monotonic() - self._said >= SAY_EVERY:
            self._said = time.monotonic()
            left = duration((self._total - self._done) / self._rate) if self._rate else "-"
            click.echo(f"{self._what}: {self._done:,} of {self._total:,}, {self._rate:,.0f}/s, {left} left", err=True)

    def end(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.stop()
            self._task = None

    @property
    def _rate(self) -> float:
        passed = time.monotonic() - self._began
        return self._done / passed if passed > 0 else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()


__all__ = ["Progress", "show"]
