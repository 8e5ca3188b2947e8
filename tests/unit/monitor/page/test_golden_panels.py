"""Each of the nine panels looks as it did when it was looked at last: `GOLDEN=write` with pytest writes the files anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streamapp.monitor.page import (
    agents,
    configuration,
    document,
    findings,
    history,
    letters,
    partitions,
    tables,
    transactions,
    verdict,
)
from streamapp.monitor.page.markup import Markup
from streamapp.monitor.page.shown import Shown, Source
from tests.support import status_documents
from tests.support.golden import difference

GOLDEN = Path(__file__).parent / "golden"
WRITES = Shown(may_write=True, chart="orders/3", only_lag=True)

PANELS: dict[str, Callable[[Source], Markup]] = {
    "verdict": verdict.panel,
    "partitions": lambda source: partitions.panel(source, Shown()),
    "partitions-only-with-lag": lambda source: partitions.panel(source, WRITES),
    "history": lambda source: history.panel(source, Shown()),
    "history-with-marks-and-cone": lambda source: history.panel(source, WRITES),
    "letters": lambda source: letters.panel(source, Shown()),
    "letters-that-can-be-settled": lambda source: letters.panel(source, WRITES),
    "agents": agents.panel,
    "transactions": transactions.panel,
    "tables": lambda source: tables.panel(source, Shown()),
    "doctor": findings.panel,
    "config": configuration.panel,
}


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_what_was_looked_at(name: str) -> None:
    assert difference(PANELS[name](Source.of(status_documents.document())), GOLDEN / f"{name}.html") is None


def test_every_panel_of_the_page_has_a_golden_file() -> None:
    assert {name for name, _ in document.PANELS} <= set(PANELS)


@pytest.mark.parametrize("name", ["partitions", "letters", "tables", "doctor"])
def test_a_panel_without_rows_says_so(name: str) -> None:
    nothing = status_documents.document(partitions=(), dead_letters=(), fingerprints=(), tables=(), findings=())
    assert difference(PANELS[name](Source.of(nothing)), GOLDEN / f"{name}-empty.html") is None
