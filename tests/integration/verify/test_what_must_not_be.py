"""Each thing that `streamapp verify` looks for is found where a test makes it, named by its place, and ends it with exit code 1."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer, TopicPartition

from tests.integration.verify.conftest import Verify
from tests.support.order_jobs import OrderJob
from tests.support.topic_reader import read_history
from tests.support.topics import bare_consumer, wait_until, watermarks
from tests.support.verifying import Verified, tamper, verify


@contextmanager
def open_transaction(bootstrap: str, topic: str, number: int) -> Iterator[str]:
    """Hold a transaction of a stranger open in a partition, with two records; yields its id."""
    name = f"stranger-{uuid4().hex[:8]}"
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": 60_000, "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(2):
        producer.produce(topic, key=b'"x"', value=b"1", partition=number)
    assert producer.flush(30) == 0
    try:
        yield name
    finally:
        producer.abort_transaction(30)

        def settled() -> bool:
            stable, high = watermarks(bootstrap, [topic])[topic, number]
            return stable == high

        wait_until(settled, why=lambda: f"{topic}/{number} is held up")


def test_a_transaction_of_a_stranger_is_shown_with_its_owner_and_hangs_after_the_time_given(
    done: OrderJob, check: Verify
) -> None:
    with open_transaction(done.bootstrap, "orders-priced", 3) as name:
        young = check("--only", "transactions")
        old = check("--only", "transactions", "--hanging-after", "0")
    (row,) = young.rows("transaction")
    assert (young.code, row["verdict"], row["status"]) == (0, "note", "open"), young.stdout
    assert (row["topic"], row["partition"], row["role"], row["transactional_id"]) == ("orders-priced", 3, "output", name)
    assert (row["records_behind"], row["stuck_at"]) == (2, row["high_watermark"] - 2)
    assert (row["state"], row["hangs_after"]) == ("Ongoing", 70.0)
    assert row["age"] >= 0 and row["producer_id"] >= 0
    (row,) = old.rows("transaction")
    assert (old.code, row["verdict"], row["status"], row["hangs_after"]) == (1, "finding", "hanging", 0.0)
    assert check("--only", "transactions").rows("transaction") == []


def test_a_transaction_of_a_stranger_on_a_changelog_is_a_finding_at_once(done: OrderJob, check: Verify) -> None:
    changelog = f"{done.app_id}-sku_totals-changelog"
    with open_transaction(done.bootstrap, changelog, 1) as name:
        found = check("--only", "transactions")
    (row,) = found.bad()
    assert (found.code, row["status"], row["transactional_id"]) == (1, "foreign", name)
    assert (row["topic"], row["partition"], row["role"]) == (changelog, 1, "changelog")


@pytest.fixture
def copy(done: OrderJob, tmp_path: Path) -> Path:
    """A copy of the worker's data directory, to break."""
    return Path(shutil.copytree(done.workers["w1"].data_dir, tmp_path / "copy"))


def verified(done: OrderJob, data_dir: Path, *options: str) -> Verified:
    where = ("--json", "--only", "tables", "--data-dir", str(data_dir))
    return verify(*where, *options, bootstrap=done.bootstrap, app_id=done.app_id)


def test_a_store_that_was_tampered_with_is_named_with_the_keys_that_differ(done: OrderJob, copy: Path) -> None:
    changed = tamper(done.bootstrap, done.app_id, copy, "customer_totals", 2)
    found = verified(done, copy)
    (row,) = found.bad()
    assert (found.code, row["status"], row["table"], row["partition"]) == (1, "different", "customer_totals", 2)
    assert row["digest"] != row["changelog_digest"]
    assert row["detail"] == "1 keys differ, 1 are missing from the table, 1 from the changelog"
    assert row["differences"][0] == f"{changed}: another value"
    assert row["differences"][-1] == '"~": not in the changelog'
    assert len(found.rows("table", status="equal")) == 28
    hidden = verified(done, copy, "--no-values")
    assert changed not in hidden.stdout


def test_a_store_that_cannot_be_read_or_belongs_to_another_changelog_is_a_finding(done: OrderJob, copy: Path) -> None:
    broken = [store for store in (copy / "tables" / "customer_totals").iterdir() if list(store.glob("*.sst"))]
    for file in broken[0].glob("*.sst"):
        file.write_bytes(b"not what it was")
    shutil.rmtree(copy / "tables" / "sku_totals" / "4")
    shutil.copytree(copy / "tables" / "sku_totals" / "3", copy / "tables" / "sku_totals" / "4")
    found = verified(done, copy)
    assert {(row["table"], row["partition"], row["status"]) for row in found.bad()} == {
        ("customer_totals", int(broken[0].name), "unusable"),
        ("sku_totals", 4, "unusable"),
    }


def test_a_duplicate_in_an_output_is_named_with_both_places(done: OrderJob, check: Verify) -> None:
    history = read_history(done.bootstrap, done.app_id)
    number, lane = next((number, lane) for number, lane in history.totals.items() if lane)
    first = lane[0]
    told: list[int | None] = []
    producer = Producer({"bootstrap.servers": done.bootstrap, "log_level": 0})
    producer.produce(
        "sku-totals", key=first.key, value=first.value, partition=number, on_delivery=lambda _, sent: told.append(sent.offset())
    )
    assert producer.flush(30) == 0
    found = check("--only", "duplicates", "--duplicates", "sku-totals", "--by", "json:order_id", "--per-partition")
    (row,) = found.rows("duplicate")
    assert (found.code, row["topic"], row["partition"], row["offset"]) == (1, "sku-totals", number, told[0])
    assert (row["first_partition"], row["first_offset"]) == (number, first.offset)
    assert row["id"].encode() in (first.value or b"")
    (total,) = found.rows("duplicates")
    assert (total["verdict"], total["duplicates"]) == ("finding", 1)


def test_a_group_that_is_behind_is_a_finding_unless_it_may_be(done: OrderJob) -> None:
    group = f"behind-{uuid4().hex[:8]}"
    stable, _ = watermarks(done.bootstrap, ["orders"])["orders", 0]
    ends = watermarks(done.bootstrap, ["orders", "sku-demand", "orders-dlq"])
    consumer = bare_consumer(done.bootstrap, group=group)
    rows = [TopicPartition(topic, number, end) for (topic, number), (end, _) in ends.items()]
    consumer.commit(offsets=[row for row in rows if (row.topic, row.partition) != ("orders", 0)], asynchronous=False)
    consumer.commit(offsets=[TopicPartition("orders", 0, stable - 3)], asynchronous=False)
    consumer.close()
    found = verify("--json", "--only", "lag", bootstrap=done.bootstrap, app_id=group)
    (row,) = found.bad()
    assert (found.code, row["status"], row["topic"], row["partition"]) == (1, "behind", "orders", 0)
    assert (row["lag"], row["exact"], row["committed"], row["end"]) == (3, True, stable - 3, stable)
    assert verify("--json", "--only", "lag", "--max-lag", "3", bootstrap=done.bootstrap, app_id=group).code == 0


def test_a_group_that_never_read_has_all_before_it(done: OrderJob) -> None:
    found = verify("--json", "--only", "lag", bootstrap=done.bootstrap, app_id=f"never-{uuid4().hex[:8]}")
    assert found.code == 1
    orders = found.rows("lag", topic="orders")
    assert {row["status"] for row in orders} <= {"never read", "empty"}
    assert sum(row["lag"] for row in orders) == 600
