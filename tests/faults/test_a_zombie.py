"""A worker stopped for longer than its session and then continued makes nothing visible, and works on without a restart.

A SIGSTOP past the transaction timeout alone is the other half: the process blocks whole, its thread that commits included; the broker
ends its transaction, the group keeps it.
"""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.fault_run import BACK, FaultRun, life_of
from tests.support.order_jobs import OrderJob, held
from tests.support.topics import wait_until
from tests.support.workers import Worker

ROUNDS = 4
RATE = 1_000.0
AT_MOST = 400_000
SESSION = 6.0
STOPPED = 1.5 * SESSION
PROTOCOLS = {
    "classic": {"STREAMAPP_SESSION_TIMEOUT": f"{SESSION:g}"},
    "consumer": {"STREAMAPP_GROUP_PROTOCOL": "consumer"},
}
SHORT_TRANSACTIONS = {"STREAMAPP_TRANSACTION_TIMEOUT": "4", "STREAMAPP_SESSION_TIMEOUT": "45"}
STOPPED_IN_SESSION = 8.0
"""Seconds: past the transaction timeout and the broker's look for such, which comes every second in tests, and far inside the session."""


def freeze(run: FaultRun, worker: Worker, seconds: float) -> float:
    """Stop the process for that long; return when it went on."""
    run.strike(worker, signal.SIGSTOP)
    time.sleep(seconds)  # the fault itself
    worker.resume()
    return time.time()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_a_zombie_makes_nothing_visible_and_heals_without_a_restart(faulty: OrderJob, protocol: str) -> None:
    faulty.start_ready("w1", "w2", **PROTOCOLS[protocol])
    zombie = faulty.workers["w1"]
    name = f"SIGSTOP of 1.5 sessions, then SIGCONT, {protocol} protocol"
    with FaultRun(faulty, name, rate=RATE, at_most=AT_MOST) as run:
        for _ in range(ROUNDS):
            run.pause_between_faults(1.0, 3.0)
            # The stop falls into a transaction where it can: that is the one that must not become visible.
            given = len(run.assigned(zombie, 1))
            went_on = freeze(run, zombie, STOPPED)
            wait_until(
                lambda given=given: len(run.assigned(zombie, 1)) > given,  # type: ignore[misc]  # bound now
                deadline=BACK,
                why=lambda: f"the zombie got no partitions again\n{faulty.workers.tails()}",
            )
            anew = run.assigned(zombie, 1)[given]
            wait_until(
                lambda anew=anew: run.watch.first_after(*anew) is not None,  # type: ignore[misc]  # bound now
                deadline=BACK,
                why=lambda: f"the zombie commits nothing\n{faulty.workers.tails()}",
            )
            back = run.watch.first_after(*anew)
            assert back is not None
            run.extra_recoveries.append(back - went_on)
        run.settle()
    assert zombie.lives == 1, "the zombie was started again"
    assert "partitions lost" in life_of(zombie, 1)


@pytest.mark.timeout(1200)
def test_a_process_stopped_past_its_transaction_timeout_replaces_its_producer_and_goes_on(faulty: OrderJob) -> None:
    faulty.start_ready("w1", "w2", **SHORT_TRANSACTIONS)
    stalled = faulty.workers["w1"]
    places = held(stalled)
    assigned = FaultRun.assigned(stalled, 1)
    with FaultRun(faulty, "SIGSTOP past the transaction timeout, inside the session", rate=RATE, at_most=AT_MOST) as run:
        for _ in range(ROUNDS):
            run.pause_between_faults(1.0, 3.0)
            went_on = freeze(run, stalled, STOPPED_IN_SESSION)
            wait_until(
                lambda went_on=went_on: run.watch.first_after(went_on, places) is not None,  # type: ignore[misc]  # bound now
                deadline=BACK,
                why=lambda: f"no commit after SIGCONT\n{faulty.workers.tails()}",
            )
            back = run.watch.first_after(went_on, places)
            assert back is not None
            run.extra_recoveries.append(back - went_on)
        run.settle()
    assert stalled.lives == 1
    assert run.assigned(stalled, 1) == assigned, "the group took its partitions away"
