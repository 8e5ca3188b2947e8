"""Tables and lists of figures: columns said once, for the server's rows and for the script that fills them anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamapp.monitor.page.kinds import Row, cell
from streamapp.monitor.page.markup import Child, Markup, tag

PICTURE: Final = "picture"
"""A column that only the server draws."""
ONE_LINE: Final = (
    "count",
    "duration",
    "latency",
    "rate",
    "share",
    "size",
    "ago",
    "growth",
    "drain",
    "loss",
    "lag",
    "flux",
    "calls",
    "unresolved",
)
"""Kinds that are not broken into lines."""
ACTIONS: Final = "actions"
"""A column that only the server writes: forms of a page that may write."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, the field of the row that it shows, and as what kind."""

    title: str
    field: str
    kind: str
    hint: str = ""
    """What the figure means."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table whose rows are a list of the status document."""

    id: str
    caption: str
    rows: str
    """The list's name."""
    key: tuple[str, ...]
    """Fields that tell one row from the others."""
    columns: tuple[Column, ...]
    empty: str
    """What is said where there is no row."""
    is_live: bool = True
    """Whether the script fills it anew: what cannot change while a worker lives is not."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a list."""

    title: str
    field: str
    kind: str


def table(
    grid: Grid,
    rows: Sequence[Row],
    now: float,
    *,
    drawn: Callable[[Row], Child] | None = None,
    written: Callable[[Row], Child] | None = None,
    hidden: Callable[[Row], bool] | None = None,
    **attributes: str | int | bool | None,
) -> Markup:
    """Return the table. `drawn` makes the picture of a row, `written` its actions; `hidden` says which rows are left out."""
    heads = [
        tag("th", column.title, scope="col", title=column.hint or None, data_f=column.field, data_k=column.kind)
        for column in grid.columns
    ]
    body = []
    for row in rows:
        cells: list[Child] = []
        for at, column in enumerate(grid.columns):
            if column.kind in (PICTURE, ACTIONS):
                make = drawn if column.kind == PICTURE else written
                cells.append(tag("td", make(row) if make else None, class_=column.kind))
                continue
            content, css = cell(column.kind, column.field, row, now)
            cells.append(tag("th", content) if at == 0 else tag("td", content, class_=css or None))
        key = key_of(grid, row)
        is_told = not grid.is_live or cell(grid.columns[0].kind, grid.columns[0].field, row, now).content == key
        body.append(tag("tr", cells, data_key=None if is_told else key, hidden=hidden is not None and hidden(row)))
    made = tag(
        "table",
        tag("caption", grid.caption),
        tag("thead", tag("tr", heads)),
        tag("tbody", body),
        id=grid.id,
        data_rows=grid.rows if grid.is_live else None,
        data_key=" ".join(grid.key) if grid.is_live else None,
        **attributes,
    )
    shown = any(hidden is None or not hidden(row) for row in rows)
    nothing = tag("p", grid.empty, class_="empty", hidden=shown)
    region = tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=grid.caption)
    return tag("div", region, nothing, class_="grid")


def key_of(grid: Grid, row: Row) -> str:
    return "/".join(str(row[each]) for each in grid.key)


def figures_of(where: str, figures: Sequence[Figure], row: Row, now: float) -> Markup:
    """Return a list of figures about one part of the document, `where`."""
    told = []
    for figure in figures:
        content, css = cell(figure.kind, figure.field, row, now)
        told.append(
            tag("div", tag("dt", figure.title), tag("dd", content, class_=css or None, data_f=figure.field, data_k=figure.kind))
        )
    return tag("dl", told, class_="figures", data_of=where)


def column_rules(grids: Sequence[Grid]) -> str:
    """Return the style rules for columns: one line each on a wide screen; on a narrow one a row is a card, and a cell has its column's name."""
    single = [
        f"#{grid.id} td:nth-child({at + 1})"
        for grid in grids
        for at, column in enumerate(grid.columns)
        if at and column.kind in ONE_LINE
    ]
    rules = [
        f'#{grid.id} td:nth-child({at + 1})::before{{content:"{column.title}"}}'
        for grid in grids
        for at, column in enumerate(grid.columns)
        if at and column.title and column.kind not in (PICTURE, ACTIONS)
    ]
    return f"@media(min-width:761px){{{','.join(single)}{{white-space:nowrap}}}}@media(max-width:760px){{{''.join(rules)}}}"


__all__ = ["ACTIONS", "PICTURE", "Column", "Figure", "Grid", "column_rules", "figures_of", "key_of", "table"]
