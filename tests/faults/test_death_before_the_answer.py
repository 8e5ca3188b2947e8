"""A worker that dies after the broker ended its transaction and before it heard so, ten times, alone and as one of three.

No fault point in Python lies between the two, so the proxy passes EndTxn on and keeps the answer, and there the worker is killed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.connection_scenarios import deaths_before_the_answer
from tests.support.proxied_broker import ProxiedBroker
from tests.support.proxied_run import ProxiedRun, scenario_of

LIVES = 10


@pytest.mark.timeout(900)
@pytest.mark.parametrize("others", [0, 2], ids=["alone", "one of three"])
def test_ten_deaths_before_the_answer_lose_and_double_nothing(line: ProxiedBroker, tmp_path: Path, others: int) -> None:
    among = "one of three workers" if others else "one worker"
    scenario = scenario_of(f"SIGKILL between EndTxn and its answer, {among}", "before_the_answer")
    with ProxiedRun(line, tmp_path, scenario, workers=1 + others) as run:
        deaths_before_the_answer(run, LIVES)
        run.finish()
    assert scenario.kills == LIVES
