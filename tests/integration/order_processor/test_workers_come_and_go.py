"""Workers join a running one, one of three stops, one comes without its directory: the orders do not notice."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict

import pytest
from confluent_kafka.admin import AdminClient

from tests.support.ledger import DEMAND, ORDERS
from tests.support.order_jobs import OrderJob
from tests.support.topics import wait_until

SHORT_SESSION = {"STREAMAPP_SESSION_TIMEOUT": "6", "STREAMAPP_COMMIT_INTERVAL": "0.1"}
"""A stopped static member's partitions stay with it for the session timeout; the test waits for that."""


def shares(job: OrderJob, topic: str) -> dict[str, int]:
    """Return how many partitions of `topic` each worker has, as the group's coordinator says."""
    admin = AdminClient({"bootstrap.servers": job.bootstrap, "log_level": 0})
    group = admin.describe_consumer_groups([job.app_id], request_timeout=10)[job.app_id].result(15)
    found: dict[str, int] = defaultdict(int)
    for member in group.members:
        worker = str(member.group_instance_id).removeprefix(f"{job.app_id}-").split("-")[0]
        found[worker] += sum(part.topic == topic for part in member.assignment.topic_partitions)
    return {worker: count for worker, count in found.items() if count}


def wait_for_shares(job: OrderJob, topic: str, *counts: int) -> None:
    wait_until(
        lambda: sorted(shares(job, topic).values()) == sorted(counts),
        deadline=60,
        every=0.3,
        why=lambda: f"{topic} is shared as {shares(job, topic)}, not as {counts}\n{job.workers.tails()}",
    )


@pytest.mark.timeout(240)
def test_workers_join_leave_and_come_without_their_directory(job: OrderJob) -> None:
    # One works, two join it.
    job.start_ready("w1", **SHORT_SESSION)
    job.feed(800)
    for worker_id in ("w2", "w3"):
        job.workers.start(worker_id, web=True, **SHORT_SESSION)
    job.feed(800)
    wait_for_shares(job, ORDERS, 2, 3, 3)
    wait_for_shares(job, DEMAND, 1, 2, 2)
    job.feed(400)

    # One of three is told to stop.
    leaver = job.workers["w2"]
    began = time.monotonic()
    assert leaver.stop() == 0, leaver.tail()
    took = time.monotonic() - began
    assert took < 10, f"the clean stop took {took:.1f} s\n{leaver.tail()}"
    job.feed(400)
    wait_for_shares(job, ORDERS, 4, 4)

    # It comes back on another machine: same id, nothing on its disk.
    shutil.rmtree(leaver.data_dir)
    job.workers.start("w2", **SHORT_SESSION)  # type: ignore[arg-type]  # variables only
    job.feed(600)
    wait_for_shares(job, ORDERS, 2, 3, 3)
    job.finish()
    assert sum(job.restored(leaver, life=2).values()) > 0, "nothing was restored into the empty directory"
