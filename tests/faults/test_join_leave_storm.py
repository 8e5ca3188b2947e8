"""A storm of workers with new ids that come and go every second or two: no loss, and who stays never restores from zero again."""

from __future__ import annotations

import re
import signal

import pytest

from tests.support.fault_run import FaultRun
from tests.support.order_jobs import OrderJob
from tests.support.topics import Countdown
from tests.support.workers import Worker

LASTS = 120.0
"""Seconds of storm."""
SHORTEST, LONGEST = 1.0, 2.0
"""Seconds between two who come or go."""
CROWD = 3
"""How many may be there at once besides the two who stay."""
RATE = 800.0
AT_MOST = 200_000
STAY = ("w1", "w2")
PROTOCOLS = {
    "classic": {"STREAMAPP_SESSION_TIMEOUT": "6"},
    "consumer": {"STREAMAPP_GROUP_PROTOCOL": "consumer"},
}
_RESTORED = re.compile(r"Restored (\S+-changelog/\d+) up to (\d+): (\d+) records")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_a_storm_loses_nothing_and_restores_no_table_twice(faulty: OrderJob, protocol: str) -> None:
    env = PROTOCOLS[protocol]
    faulty.start_ready(*STAY, **env)
    name = f"join/leave storm, {LASTS:.0f} s, {protocol} protocol"
    with FaultRun(faulty, name, rate=RATE, at_most=AT_MOST) as run:
        countdown, there, came = Countdown(LASTS), list[Worker](), 0
        while not countdown.over:
            run.pause_between_faults(SHORTEST, LONGEST)
            if there and (len(there) >= CROWD or run.rng.random() < 0.4):
                leaver = there.pop(run.rng.randrange(len(there)))
                if run.rng.random() < 0.5:
                    run.strike(leaver, signal.SIGKILL)
                else:
                    run.scenario.faults += 1
                    leaver.send(signal.SIGTERM)
            else:
                came += 1
                there.append(faulty.start(f"s{came}", **env))
        run.scenario.figures["workers that came"] = came
        run.settle()
    for worker_id in STAY:
        assert_restores_go_on(faulty.workers[worker_id])


def assert_restores_go_on(worker: Worker) -> None:
    """A partition that comes back is read from where its store stood."""
    text = worker.log_text()
    assert "wiped" not in text, worker.tail()
    stood: dict[str, int] = {}
    for match in _RESTORED.finditer(text):
        upto, read = int(match[2]), int(match[3])
        assert read <= upto - stood.get(match[1], 0), f"{match[0]}, though its store stood at {stood[match[1]]}"
        stood[match[1]] = upto
