"""What an earlier version left on disk and in changelogs is opened, gone on from, rebuilt from, and understood, row by row.

What each wrote is kept in `formats/`, made by tests/support/format_fixture.py when it was the current one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamapp.state.budget import RocksBudget
from streamapp.state.identity import FORMAT
from streamapp.state.restore import RestoreOutcome, RestoreTask
from streamapp.state.rocksdb import RocksStores
from streamapp.state.stores import Stores
from tables.dead_letters import dead_letters
from tables.orders import customer_totals, sku_totals
from tests.support.changelog_bench import Changelog
from tests.support.format_fixture import KEPT, TABLES, Written, load

FORMATS = range(1, FORMAT + 1)
each_table = pytest.mark.parametrize(
    "written", [each for number in FORMATS for each in load(number).values()], ids=lambda written: written.table
)


def restored(changelog: Changelog, written: Written, data_dir: Path) -> tuple[RestoreOutcome, dict[bytes, bytes]]:
    """Restore the table partition from `changelog`, which has its records where they were; return what the store then holds."""
    stores = Stores(written.app_id, RocksStores(data_dir, RocksBudget(8 * 1024 * 1024)))
    task = RestoreTask(
        changelog=changelog.partition(0),
        open=lambda: stores.open(written.table, written.partition, written.changelog_id),
        delete_retention=1e9,  # as if it had been made just now: its age is another test's
    )
    changelog.restorer.restore(task, changelog.outcomes.put)
    outcome = changelog.outcome()
    assert outcome.store is not None, outcome.failure
    rows = dict(outcome.store.items())
    stores.close_all()
    return outcome, rows


def replay(changelog: Changelog, written: Written) -> None:
    """Have its records in the changelog, each at its offset: where there was none, a commit marker stood."""
    unit: dict[bytes, bytes | None] = {}
    at = 0
    for row in written.changelog:
        if row.offset > at and unit:
            changelog.commit(unit, settle=False)
            unit, at = {}, at + 1
        assert row.offset == at, f"{written.table}: offset {row.offset} after {at}"
        unit[row.key] = row.value
        at += 1
    changelog.commit(unit)


def test_each_format_is_kept() -> None:
    assert [path.name for path in sorted(KEPT.glob("*.json"))] == [f"format-{number}.json" for number in FORMATS]
    assert all(set(load(number)) == set(TABLES) and all(each.rows for each in load(number).values()) for number in FORMATS)


@each_table
def test_its_store_opens_and_goes_on_from_where_it_was(changelog: Changelog, written: Written, tmp_path: Path) -> None:
    written.unpack(tmp_path)
    replay(changelog, written)
    changelog.commit({b'"new"': b"1"})
    outcome, rows = restored(changelog, written, tmp_path)
    assert (outcome.wiped, outcome.restored) == (None, 1)
    assert rows == written.rows | {b'"new"': b"1"}


@each_table
def test_its_changelog_rebuilds_the_same_rows(changelog: Changelog, written: Written, tmp_path: Path) -> None:
    replay(changelog, written)
    outcome, rows = restored(changelog, written, tmp_path)
    assert (outcome.failure, outcome.restored, rows) == (None, len(written.changelog), written.rows)


class Rows:
    """The engine's end of a table, on rows that were written before."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows
        self.get = rows.get

    def put(self, key: bytes, value: bytes | None) -> None:
        raise AssertionError("only read")

    def items(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.rows.items())


@pytest.mark.parametrize("table", [customer_totals, sku_totals, dead_letters], ids=lambda table: table.name)
@pytest.mark.parametrize("number", FORMATS)
def test_its_rows_mean_what_they_meant(table: Any, number: int) -> None:
    rows = load(number)[table.name].rows
    table.bind(Rows(rows))
    try:
        read = {msgspec.json.encode(key): msgspec.to_builtins(value) for key, value in table.items()}
    finally:
        table.release()
    assert read == {key: msgspec.json.decode(value) for key, value in rows.items()}


@pytest.mark.parametrize("number", FORMATS)
def test_its_marks_mean_what_they_meant(number: int) -> None:
    from streamapp.pipeline.dedupe import _decode_mark

    marks = {key: _decode_mark(value) for key, value in load(number)["processed_orders"].rows.items()}
    # Event time and time of writing in ms since 1970, and between them the offset of the record that made it.
    assert all(0 <= offset < 1_000 and min(event_time, written) > 1e12 for event_time, offset, written in marks.values())
    assert len({offset for _, offset, _ in marks.values()}) == len(marks)
