"""Partitions added to a source with tables: workers go on with those that they had, take no new one and say why; a restart is refused."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from tests.support.fault_run import FaultRun
from tests.support.ledger import ORDERS
from tests.support.order_jobs import OrderJob
from tests.support.topics import wait_until

RATE = 1_500.0
AT_MOST = 200_000
MORE = 12
SAID = "added to a topic that had 8 partitions"


@pytest.mark.timeout(600)
def test_added_partitions_are_left_alone_and_a_restart_is_refused(faulty: OrderJob) -> None:
    faulty.start_ready("w1", "w2")
    with FaultRun(faulty, "partitions added to a source while running", rate=RATE, at_most=AT_MOST) as run:
        run.pause_between_faults(1.0, 2.0)
        admin = AdminClient({"bootstrap.servers": faulty.bootstrap, "log_level": 0})
        admin.create_partitions([NewPartitions(ORDERS, MORE)])[ORDERS].result(30)
        run.scenario.faults += 1
        run.scenario.inside_a_transaction = None
        # Each new partition has been given to somebody, and is named.
        wait_until(
            lambda: all(f"{ORDERS}/{number}: {SAID}" in said(faulty) for number in range(8, MORE)),
            deadline=120,
            why=lambda: f"the new partitions are not named\n{faulty.workers.tails()}",
        )
        done = faulty.processed()
        faulty.wait_processed(done + 5_000)
        run.settle()
    refused = faulty.start("w1")
    assert refused.wait(60) == 2
    assert "keys have moved" in refused.tail()


def said(job: OrderJob) -> str:
    return "".join(worker.log_text() for worker in job.workers.all.values())
