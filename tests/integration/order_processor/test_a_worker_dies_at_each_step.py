"""A worker that dies at each step of a commit, one life after the other: every record comes out once all the same."""

from __future__ import annotations

import pytest

from streamapp.faults import FaultPoint
from tests.support.order_jobs import OrderJob

STEPS = (
    FaultPoint.AFTER_FIRST_PRODUCE,
    FaultPoint.AFTER_FLUSH,
    FaultPoint.AFTER_SEND_OFFSETS,
    FaultPoint.AFTER_COMMIT,
    FaultPoint.MID_APPLY,
)


@pytest.mark.timeout(240)
def test_deaths_at_every_step_of_a_commit_lose_and_double_nothing(job: OrderJob) -> None:
    job.start("w1")
    fed = job.feed(4_000)
    job.wait_processed(fed)
    assert job.workers.stop() == {"w1": 0}
    for life, point in enumerate(STEPS, start=2):
        worker = job.start("w1", crash_at=f"{point}:2")
        # Each feed takes at least one commit; the second of this life kills it.
        while worker.alive:
            fed = job.feed(400)
            job.wait_for_progress(worker, beyond=fed - 1)
        assert worker.wait(90) == -9, f"{point}: {worker.tail()}"
        assert worker.lives == life

    worker = job.start("w1")
    fed = job.feed(300)
    verdict = job.finish()
    assert verdict.counts.orders == fed

    # Committed and not applied: only that came back from the changelog. The table holds far more.
    healed = job.restored(worker, life=len(STEPS) + 2)
    assert 0 < sum(healed.values()) < verdict.counts.priced / 2, healed
