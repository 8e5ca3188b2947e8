"""Whatever happens to a worker's stores and changelogs, its tables are again what the changelogs say, and nothing is lost or doubled.

A test's orders are processed, a fault strikes, the same orders come again (known from the tables alone) and then new ones. The seed
is STREAMAPP_TEST_FAULT_SEED's, and printed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamapp.state.identity import Identity
from streamapp.state.rocksdb import RocksStores
from tests.support import damage
from tests.support.changelogs import (
    ForeignTransaction,
    changelog,
    make_anew_from_a_copy,
    truncate_behind_a_copy,
)
from tests.support.damage import store_of
from tests.support.ledger import ORDERS
from tests.support.order_jobs import OrderJob
from tests.support.orders import OrderPlan
from tests.support.store_faults import StoreRun, settled, store_run
from tests.support.topics import wait_until, watermarks

SIZE = 8_000
"""Orders before a fault; half as many new ones come after it, beside the same again."""
SEED = int(os.environ.get("STREAMAPP_TEST_FAULT_SEED", "41"))
DISK_BYTES = 64 * 1024 * 1024
TABLES = ("processed_orders", "customer_totals")
PARTITIONS = range(8)


def stores(run: StoreRun) -> list[Path]:
    return [store_of(run.worker.data_dir, table, number) for table in TABLES for number in PARTITIONS]


def each(harm: Callable[[Path], object]) -> Callable[[StoreRun], None]:
    def strike(run: StoreRun) -> None:
        for store in stores(run):
            harm(store)

    return strike


def swap_pairs(run: StoreRun) -> None:
    for one, other in zip(stores(run)[::2], stores(run)[1::2], strict=True):
        damage.swap(one, other)


def offset_beyond_the_end(run: StoreRun) -> None:
    """As after a broker that lost the end of its log: the stores are current to offsets that are not there."""
    kind = RocksStores(run.worker.data_dir)
    for table in TABLES:
        topic = changelog(run.job.app_id, table)
        for number in PARTITIONS:
            identity = Identity(
                app_id=run.job.app_id, table=table, partition=number, changelog_id=_topic_id(run.job.bootstrap, topic)
            )
            store = kind.open(identity)
            store.apply({b'"never committed"': b"[0,0,0]" if table == TABLES[0] else b"{}"}, 10_000_000)
            store.close()


def truncated(run: StoreRun) -> None:
    for table in TABLES:
        truncate_behind_a_copy(run.job.bootstrap, changelog(run.job.app_id, table))


def made_anew(run: StoreRun) -> None:
    for table in TABLES:
        make_anew_from_a_copy(run.job.bootstrap, changelog(run.job.app_id, table))


def _topic_id(bootstrap: str, topic: str) -> str:
    from streamapp.clock import Deadline
    from streamapp.kafka.admin import KafkaAdmin

    return KafkaAdmin({"bootstrap.servers": bootstrap}).topic_ids([topic], Deadline.after(30))[topic]


@dataclass(frozen=True, slots=True)
class Fault:
    strike: Callable[[StoreRun], None]
    reason: str | None
    """What the log says of each wiped store; None where there is nothing to wipe."""


FAULTS = {
    "data directory deleted": Fault(lambda run: damage.delete(run.worker.data_dir), None),
    "blocks of SST files flipped": Fault(each(damage.damage_blocks), "cannot be trusted"),
    "SST files cut in half": Fault(each(damage.truncate), "cannot be trusted"),
    "CURRENT removed": Fault(each(damage.lose_current), "cannot be trusted"),
    "stores of two partitions exchanged": Fault(swap_pairs, "belongs to another: partition"),
    "stored offset beyond the end of the changelog": Fault(offset_beyond_the_end, "lies beyond the changelog's end"),
    "changelog truncated past the stored offset": Fault(truncated, "lies before the changelog's start"),
    "changelog topic deleted and made again": Fault(made_anew, "belongs to another: changelog_id"),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", FAULTS)
def test_what_happens_to_stores_and_changelogs_while_a_worker_is_down(job: OrderJob, name: str) -> None:
    fault = FAULTS[name]
    print(f"{name}, seed {SEED}")
    with store_run(job, SIZE, SEED) as run:
        run.stop()
        fault.strike(run)
        run.start()
        run.feed_again()
        run.finish(name)
    if fault.reason is None:
        assert run.wiped == {}
    else:
        assert len(run.wiped) == len(TABLES) * len(PARTITIONS), run.wiped
        assert all(fault.reason in reason for reason in run.wiped.values()), run.wiped


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own for worker w1, of some megabytes."""
    where = tmp_path / "workers" / "w1"
    where.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", where], check=False, capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip(f"this system lets a test mount no file system: {made.stderr.strip()}")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def fill(disk: Path) -> Path:
    """Take what is left of it; delete the file that is returned to have it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


@pytest.mark.timeout(400)
def test_a_disk_that_is_full_for_a_while(small_disk: Path, job: OrderJob) -> None:
    print(f"full disk, seed {SEED}")
    with store_run(job, SIZE, SEED) as run:
        filler = fill(small_disk)
        run.feed_again()
        told = ("the disk refused it", "cannot be restored, trying again")
        wait_until(lambda: all(each in run.worker.log_text() for each in told), deadline=120, why=run.worker.tail)
        assert run.worker.alive
        filler.unlink()
        run.took("seconds from the end of the fault until caught up", job.caught_up())
        assert run.worker.lives == 1
        run.finish(
            "disk full for a while", **{"batches that the disk refused": run.worker.log_text().count("the disk refused it")}
        )
    assert run.wiped == {}


@pytest.mark.timeout(400)
def test_a_restart_on_a_full_disk_waits_for_room_and_says_so(small_disk: Path, job: OrderJob) -> None:
    print(f"restart on a full disk, seed {SEED}")
    with store_run(job, SIZE, SEED) as run:
        run.worker.kill()
        run.kills = 1
        filler = fill(small_disk)
        job.workers.start("w1", web=True)

        def stands() -> bool:
            stuck = [each for each in run.worker.readiness().get("restoring", []) if "No space left" in str(each["trouble"])]
            return len(stuck) >= len(PARTITIONS)

        wait_until(stands, deadline=90, why=run.worker.tail)
        filler.unlink()
        run.took("seconds from the end of the fault until restored", run.worker.ready())
        run.feed_again()
        run.finish("killed, and restarted on a full disk")


@pytest.mark.timeout(400)
def test_a_foreign_open_transaction_on_a_changelog(job: OrderJob) -> None:
    print(f"foreign transaction on a changelog, seed {SEED}")
    with store_run(job, SIZE, SEED) as run:
        run.stop()
        topic = changelog(job.app_id, "processed_orders")
        foreign = ForeignTransaction(job.bootstrap)
        for number in PARTITIONS:
            foreign.produce(topic, number, b'"foreign"', b"[0,0,0]")
        job.workers.start("w1", web=True)

        def all_wait() -> bool:
            waits = [each for each in run.worker.readiness().get("restoring", []) if each["state"] == "waiting"]
            return {each["partition"] for each in waits} == set(PARTITIONS)

        wait_until(all_wait, deadline=90, why=run.worker.tail)
        wait_until(lambda: "waiting for an open transaction at offset " in run.worker.log_text(), why=run.worker.tail)
        foreign.abort()
        run.took("seconds from the end of the fault until restored", run.worker.ready())
        run.feed_again()
        run.finish("foreign open transaction on a changelog")


@pytest.mark.timeout(400)
def test_a_foreign_open_transaction_on_a_source(job: OrderJob) -> None:
    print(f"foreign transaction on a source, seed {SEED}")
    with store_run(job, SIZE, SEED) as run:
        before = watermarks(job.bootstrap, [ORDERS])[ORDERS, 0][1]
        foreign = ForeignTransaction(job.bootstrap)
        extra = [each for each in OrderPlan(count=80, seed=SEED + 1, first_id=5_000_000).records() if each.partition == 0]
        for each in extra:
            foreign.produce(ORDERS, 0, each.key, each.value, each.timestamp)
        run.feed_again()
        here = watermarks(job.bootstrap, [ORDERS])
        others = sum(high for (_, number), (_, high) in here.items() if number != 0)
        settled(run, others + before)
        assert job.processed() == others + before, "nothing at or behind the open transaction is done"
        foreign.commit()
        job._fed += len(extra)
        run.took("seconds from the end of the fault until caught up", job.caught_up())
        run.finish(
            "foreign open transaction on a source",
            **{"undecided records": len(extra), "records behind them": here[ORDERS, 0][1] - before - len(extra)},
        )
