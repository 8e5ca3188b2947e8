"""What `streamapp verify` shows: every field in JSON, tabs in a pipe, tables with marks on a terminal, and progress with rate and time left."""

from __future__ import annotations

import io
import json
from dataclasses import fields

import pytest
from rich.console import Console

from streamapp.cli import verify_screen
from streamapp.cli.verify_screen import Progress, show
from streamapp.verify.rows import (
    Check,
    DuplicateRow,
    DuplicatesRow,
    LagRow,
    NoteRow,
    Report,
    TableRow,
    TransactionRow,
    Verdict,
)

TRANSACTION = TransactionRow(
    verdict=Verdict.FINDING, status="hanging", detail="open for 90 s", topic="orders", partition=3, role="source", stuck_at=40,
    high_watermark=47, records_behind=7, producer_id=None, producer_epoch=None, transactional_id=None, state=None, age=90.0,
    hangs_after=40.0,
)  # fmt: skip
LAG = LagRow(verdict=Verdict.OK, status="done", topic="orders", partition=0, committed=5, end=6, lag=0, exact=True)
TABLE = TableRow(
    verdict=Verdict.FINDING, status="different", detail="1 keys differ", table="totals", partition=2, changelog="shop-totals-changelog",
    place="data", offset=9, keys=2, digest="ab" * 16, changelog_keys=2, changelog_digest="cd" * 16, differences=("ann: another value",),
)  # fmt: skip
AGAIN = DuplicateRow(
    verdict=Verdict.FINDING,
    status="duplicate",
    topic="priced",
    id="[/o-1]",
    partition=1,
    offset=9,
    first_partition=1,
    first_offset=2,
)
SEARCH = DuplicatesRow(
    verdict=Verdict.FINDING, status="duplicates", topic="priced", by="key", records=10, without_id=1, duplicates=1
)
NOTE = NoteRow(verdict=Verdict.UNCHECKED, status="in use", about="data", detail="in use by the live worker with process id 7")
REPORT = Report("shop", {Check.LAG: 1, Check.TABLES: 1}, [TRANSACTION, LAG, TABLE, AGAIN, SEARCH, NOTE])


def test_json_has_every_field_of_every_row_and_null_for_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORT, as_json=True)
    *rows, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [set(row) for row in rows] == [{"kind", *(each.name for each in fields(row))} for row in REPORT.rows]
    assert (rows[0]["kind"], rows[0]["transactional_id"], rows[0]["age"]) == ("transaction", None, 90.0)
    assert summary == {
        "kind": "summary",
        "app_id": "shop",
        "checked": {"transactions": None, "lag": 1, "tables": 1, "duplicates": None},
        "findings": 3,
        "unchecked": 1,
        "exit_code": 1,
    }


def test_a_pipe_gets_one_line_a_row_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORT, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t") == [
        "transaction", "finding", "hanging", "orders/3 (source)", "40", "7", "-", "-", "-", "1m30s", "40s", "open for 90 s",
    ]  # fmt: skip
    assert lines[1].split("\t") == ["lag", "ok", "done", "orders/0", "5", "6", "0", "-"]
    assert len(lines) == len(REPORT.rows) + 1
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_tables_with_a_mark_beside_every_colour(colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(
        verify_screen, "Console", lambda: Console(file=shown, force_terminal=True, no_color=not colour, width=200)
    )
    show(REPORT, as_json=False)
    text = shown.getvalue()
    for part in (
        "Open transactions",
        "Tables",
        "ann: another value",
        "Duplicates",
        "[/o-1]",
        "✗",
        "?",
        "3 findings, 1 not checked",
    ):
        assert part in text
    assert ("\x1b[32m" in text or "\x1b[1;31m" in text) == colour
    assert "orders/0" not in text  # what is as it should be is counted, not listed


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [([], 0), ([Verdict.OK, Verdict.NOTE], 0), ([Verdict.OK, Verdict.FINDING], 1), ([Verdict.UNCHECKED], 1)],
)
def test_findings_and_what_could_not_be_checked_end_in_1(verdicts: list[Verdict], code: int) -> None:
    rows = [NoteRow(verdict=verdict, status="any", about="any") for verdict in verdicts]
    assert Report("shop", {}, rows).exit_code == code


def test_a_long_reading_says_count_rate_and_time_left_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_screen, "SAY_EVERY", 0.0)
    with Progress() as progress:
        progress.begin("reading orders", 4_000)
        progress.advance(1_000)
        progress.end()
    said = capsys.readouterr().err
    assert said.startswith("reading orders: 1,000 of 4,000, ")
    assert said.rstrip().endswith(" left")
    assert "/s, " in said
