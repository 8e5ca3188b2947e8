"""A worker that dies while it takes, restores or gives back partitions, aborts or replaces its producer: no order notices."""

from __future__ import annotations

import shutil
import signal

import pytest

from streamapp.faults import FaultPoint
from tests.support.order_jobs import OrderJob
from tests.support.workers import Worker

ABORT = f"{FaultPoint.AFTER_FLUSH}:2=raise"
WHILE_IT_WORKS = (
    f"{FaultPoint.BEFORE_PRODUCE}:2",
    f"{FaultPoint.AFTER_APPLY}:2",
    f"{ABORT},{FaultPoint.ABORT_BEFORE_REWIND}",
    f"{ABORT},{FaultPoint.ABORT_AFTER_REWIND}",
    f"{FaultPoint.AFTER_FLUSH}:2=fence,{FaultPoint.IN_PRODUCER_REBUILD}",
)


def feed_until_death(job: OrderJob, worker: Worker) -> None:
    while worker.alive:
        fed = job.feed(300)
        job.wait_for_progress(worker, beyond=fed - 1)
    assert worker.wait() == -9, worker.tail()


@pytest.mark.timeout(240)
def test_deaths_before_after_and_instead_of_a_commit(job: OrderJob) -> None:
    for crash_at in WHILE_IT_WORKS:
        feed_until_death(job, job.start("w1", crash_at=crash_at))
    job.start("w1")
    job.feed(300)
    job.finish()


@pytest.mark.timeout(240)
def test_deaths_in_assign_in_restore_and_in_revoke(job: OrderJob) -> None:
    worker = job.start("w1")
    job.wait_processed(job.feed(4_000))
    assert worker.stop() == 0

    job.start("w1", crash_at=FaultPoint.IN_ASSIGN)
    assert worker.wait(60) == -9, worker.tail()
    shutil.rmtree(worker.data_dir)
    job.start("w1", crash_at=FaultPoint.MID_RESTORE)
    assert worker.wait(60) == -9, worker.tail()

    for point in (FaultPoint.IN_REVOKE_BEFORE_COMMIT, FaultPoint.IN_REVOKE_AFTER_COMMIT):
        job.start("w1", crash_at=point)
        job.wait_processed(job.feed(300))
        job.feed(300)
        worker.send(signal.SIGTERM)  # a stop gives the partitions back
        assert worker.wait(60) == -9, worker.tail()
    job.start("w1")
    job.finish()
