"""SIGKILL at random: three workers under load, killed and started again with the same id at once; nothing is lost or doubled."""

from __future__ import annotations

import pytest

from tests.support.fault_run import FaultRun
from tests.support.order_jobs import OrderJob

KILLS = {"classic": 100, "consumer": 40}
"""Fewer where a killed member's partitions wait for the broker's session to end."""
RATE = 1_000.0
"""Orders a second."""
AT_MOST = 400_000
SHORTEST, LONGEST = 0.2, 2.0
"""Seconds between a kill and the next, besides the wait for a victim that is at work."""
IDS = ("w1", "w2", "w3")
PROTOCOLS = {
    "classic": {"STREAMAPP_SESSION_TIMEOUT": "45"},
    "consumer": {"STREAMAPP_GROUP_PROTOCOL": "consumer"},
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_kills_lose_and_double_nothing(faulty: OrderJob, protocol: str) -> None:
    env = PROTOCOLS[protocol]
    faulty.start_ready(*IDS, **env)
    with FaultRun(faulty, f"SIGKILL at random, three workers, {protocol} protocol", rate=RATE, at_most=AT_MOST) as run:
        for _ in range(KILLS[protocol]):
            run.pause_between_faults(SHORTEST, LONGEST)
            run.kill_one_of(IDS, **env)
        run.settle()
    assert run.scenario.inside_a_transaction, "no kill met an open transaction"
