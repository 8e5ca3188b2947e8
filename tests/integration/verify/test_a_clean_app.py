"""An app that did its work and stopped passes `streamapp verify`, by either door, and what was looked at is said."""

from __future__ import annotations

from tests.integration.verify.conftest import Verify
from tests.support.order_jobs import OrderJob
from tests.support.topics import committed_offsets
from tests.support.verifying import FAUST, verify

TABLE_PARTITIONS = {"processed_orders": 8, "customer_totals": 8, "sku_totals": 5, "dead_letters": 8}


def test_all_is_well_and_every_table_partition_equals_its_changelog(check: Verify) -> None:
    found = check("--duplicates", "orders-priced", "--by", "json:order_id", "--per-partition")
    assert (found.code, found.bad()) == (0, []), found.stderr
    equal = found.rows("table", status="equal")
    assert {table: sum(row["table"] == table for row in equal) for table in TABLE_PARTITIONS} == TABLE_PARTITIONS
    assert all(row["digest"] == row["changelog_digest"] and row["keys"] == row["changelog_keys"] for row in equal)
    assert sum(row["keys"] for row in equal) > 600
    assert {row["lag"] for row in found.rows("lag")} == {0}
    (duplicates,) = found.rows("duplicates")
    assert (duplicates["duplicates"], duplicates["without_id"]) == (0, 0)
    assert duplicates["records"] > 500
    sources, outputs_and_changelogs = 8 + 8 + 5, 8 + 5 + 29
    assert found.summary == {
        "kind": "summary",
        "app_id": found.summary["app_id"],
        "checked": {
            "transactions": sources + outputs_and_changelogs,
            "lag": sources,
            "tables": 29,
            "duplicates": duplicates["records"],
        },
        "findings": 0,
        "unchecked": 0,
        "exit_code": 0,
    }


def test_looking_changes_nothing(done: OrderJob, check: Verify) -> None:
    place = done.workers["w1"].data_dir
    before = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in place.rglob("*")}
    offsets = committed_offsets(done.bootstrap, done.app_id, ["orders", "sku-demand", "orders-dlq"])
    assert check().code == 0
    assert {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in place.rglob("*")} == before
    assert committed_offsets(done.bootstrap, done.app_id, ["orders", "sku-demand", "orders-dlq"]) == offsets


def test_the_other_door_says_the_same(done: OrderJob, check: Verify) -> None:
    options = ("--json", "--data-dir", str(done.workers["w1"].data_dir))
    other = verify(*options, bootstrap=done.bootstrap, app_id=done.app_id, door=FAUST)
    assert (other.code, other.stdout) == (0, check().stdout), other.stderr


def test_a_pipe_gets_tab_separated_lines_and_the_verdict_last(done: OrderJob) -> None:
    found = verify("--only", "lag", bootstrap=done.bootstrap, app_id=done.app_id)
    *rows, last = [line.split("\t") for line in found.stdout.splitlines()]
    assert {tuple(row[:3]) for row in rows} == {("lag", "ok", "done"), ("lag", "ok", "empty")} or len(
        {row[3] for row in rows}
    ) == 21
    assert last == ["summary", f"{done.app_id}: looked at 21 source partitions: 0 findings, 0 not checked"]
    assert found.code == 0
