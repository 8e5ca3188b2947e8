"""A worker whose stores were damaged, lost and exchanged while it was down goes on as if nothing had been, and says what it wiped."""

from __future__ import annotations

import re

from tests.support import damage
from tests.support.changelogs import ForeignTransaction, changelog
from tests.support.damage import store_of
from tests.support.order_jobs import OrderJob
from tests.support.orders import OrderPlan
from tests.support.store_faults import store_run
from tests.support.topics import wait_until

ORDERS = 1_600
"""Some 190 marks a partition: a few blocks, so that damage in the middle is met by a read and not by the open."""


def test_each_kind_of_damage_at_once(job: OrderJob) -> None:
    with store_run(job, ORDERS, seed=41) as run:
        run.stop()
        marks = [store_of(run.worker.data_dir, "processed_orders", number) for number in range(8)]
        damage.delete(marks[0])
        damage.damage_blocks(marks[1])
        damage.truncate(marks[2])
        damage.lose_current(marks[3])
        damage.swap(marks[4], marks[5])
        run.start()
        run.feed_again()
        run.finish()
    wiped = run.wiped
    assert set(wiped) == {f"processed_orders/{number}" for number in (1, 2, 3, 4, 5)}
    # In a small file the middle may be a block of the data or the file's own properties.
    assert "Corruption" in wiped["processed_orders/1"]
    assert all("cannot be trusted" in wiped[f"processed_orders/{number}"] for number in (2, 3))
    assert "partition 5 for 4" in wiped["processed_orders/4"]
    assert "partition 4 for 5" in wiped["processed_orders/5"]


def test_readyz_names_the_open_transaction_that_a_restore_waits_for(job: OrderJob) -> None:
    [worker] = job.start_ready("w1")
    job.feed_these(list(OrderPlan(count=200, seed=42).records()))
    job.caught_up()
    assert worker.stop() == 0, worker.tail()
    foreign = ForeignTransaction(job.bootstrap)
    foreign.produce(changelog(job.app_id, "customer_totals"), 3, b'"nobody"', b'{"orders":9,"cents":9}')
    worker = job.workers.start("w1", web=True)
    answer: dict[str, object] = {}

    def named() -> bool:
        answer.update(worker.readiness())
        waits = [each for each in worker.readiness().get("restoring", []) if each["state"] == "waiting"]
        return [(each["table"], each["partition"]) for each in waits] == [("customer_totals", 3)] and bool(
            re.fullmatch(r"waiting for an open transaction at offset \d+ of \d+, \d+ s", waits[0]["trouble"])
        )

    wait_until(named, deadline=60, why=lambda: f"{answer}\n{worker.tail()}")
    assert (answer["ready"], answer["failing"]) == (False, "restoring")
    before = job.processed()
    fed = job.feed(200, poison=0)
    # The other partitions do not wait for that one.
    wait_until(lambda: job.processed() > before, deadline=60, why=worker.tail)
    assert job.processed() < fed
    foreign.abort()
    worker.ready()
    job.finish()
