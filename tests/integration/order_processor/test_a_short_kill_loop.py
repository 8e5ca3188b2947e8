"""Five kills of one of two workers under load, at times drawn from a fixed seed: nothing is lost or doubled. `make faults` has hundreds."""

from __future__ import annotations

import pytest

from tests.support.fault_run import FaultRun
from tests.support.order_jobs import OrderJob

KILLS = 5
RATE = 600.0
AT_MOST = 20_000
SEED = 20
OPEN_FOR_LONG = {"STREAMAPP_COMMIT_INTERVAL": "0.5"}
"""So that most kills meet an open transaction."""
SHORTEST, LONGEST = 0.5, 2.5


@pytest.mark.timeout(240)
def test_kills_of_one_of_two_workers_lose_and_double_nothing(job: OrderJob) -> None:
    job.start_ready("w1", "w2", **OPEN_FOR_LONG)
    with FaultRun(job, "short kill loop", rate=RATE, at_most=AT_MOST, seed=SEED, kept=False) as run:
        for _ in range(KILLS):
            run.pause_between_faults(SHORTEST, LONGEST)
            run.kill_one_of(["w1"], **OPEN_FOR_LONG)
        verdict = run.settle()
    assert run.scenario.kills == KILLS
    assert run.scenario.inside_a_transaction, "no kill met an open transaction"
    assert verdict.counts.priced > 0
