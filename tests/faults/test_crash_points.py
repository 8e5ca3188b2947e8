"""The crash-point matrix: a worker dies at every named fault point, ten times each, alone and as one of three; nothing is lost or doubled.

One run for each point: ten lives of worker w1, each of which dies there, one after the other, while orders keep coming. What is
printed at the end is how many lives did; the contract is checked for the whole.

Ten deaths in a row at one step of the record path are what a record that kills its process looks like (OPERATIONS §1.8), so no partition
is made a suspect here. Alone, starts are not counted either, and deaths strike units of records; as one of three they are.
"""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass

import pytest

from streamapp.faults import FaultPoint
from tests.support.coordinator import open_transactions
from tests.support.evidence import Scenario, keep
from tests.support.fault_run import count_from_logs, transactional_id
from tests.support.order_jobs import READY, OrderJob
from tests.support.topics import wait_until
from tests.support.workers import Worker

LIVES = 10
SHORT_SESSION = {"STREAMAPP_SESSION_TIMEOUT": "6", "STREAMAPP_COMMIT_INTERVAL": "0.1"}
NEVER, COUNTED = {"STREAMAPP_ISOLATE_AFTER": "0"}, {"STREAMAPP_ISOLATE_AFTER": "100"}
ABORT = f"{FaultPoint.AFTER_FLUSH}:2=raise"
FENCE = f"{FaultPoint.AFTER_FLUSH}:2=fence"


@dataclass(frozen=True, slots=True)
class Death:
    """How a life is brought to a fault point."""

    crash_at: str
    loses_its_disk: bool = False
    is_told_to_stop: bool = False


DEATHS = {
    FaultPoint.AFTER_FIRST_PRODUCE: Death(f"{FaultPoint.AFTER_FIRST_PRODUCE}:2"),
    FaultPoint.BEFORE_PRODUCE: Death(f"{FaultPoint.BEFORE_PRODUCE}:2"),
    FaultPoint.AFTER_FLUSH: Death(f"{FaultPoint.AFTER_FLUSH}:2"),
    FaultPoint.AFTER_SEND_OFFSETS: Death(f"{FaultPoint.AFTER_SEND_OFFSETS}:2"),
    FaultPoint.AFTER_COMMIT: Death(f"{FaultPoint.AFTER_COMMIT}:2"),
    FaultPoint.MID_APPLY: Death(f"{FaultPoint.MID_APPLY}:2"),
    FaultPoint.AFTER_APPLY: Death(f"{FaultPoint.AFTER_APPLY}:2"),
    FaultPoint.IN_ASSIGN: Death(FaultPoint.IN_ASSIGN),
    FaultPoint.MID_RESTORE: Death(FaultPoint.MID_RESTORE, loses_its_disk=True),
    FaultPoint.IN_REVOKE_BEFORE_COMMIT: Death(FaultPoint.IN_REVOKE_BEFORE_COMMIT, is_told_to_stop=True),
    FaultPoint.IN_REVOKE_AFTER_COMMIT: Death(FaultPoint.IN_REVOKE_AFTER_COMMIT, is_told_to_stop=True),
    FaultPoint.ABORT_BEFORE_REWIND: Death(f"{ABORT},{FaultPoint.ABORT_BEFORE_REWIND}"),
    FaultPoint.ABORT_AFTER_REWIND: Death(f"{ABORT},{FaultPoint.ABORT_AFTER_REWIND}"),
    FaultPoint.IN_PRODUCER_REBUILD: Death(f"{FENCE},{FaultPoint.IN_PRODUCER_REBUILD}"),
}
UNREACHED_WITH_TRANSACTIONS = {FaultPoint.AFTER_CHANGELOG}
"""At least once only: see tests/integration/transactions/test_at_least_once_order.py."""
IN_A_REPLAY = {FaultPoint.REPLAY_BEFORE_COMMIT, FaultPoint.REPLAY_AFTER_COMMIT}
"""Reached by no worker: see tests/integration/dead_letter/test_a_replay_is_killed.py."""


def test_every_point_is_in_the_matrix() -> None:
    assert set(DEATHS) | UNREACHED_WITH_TRANSACTIONS | IN_A_REPLAY == set(FaultPoint)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("others", [0, 2], ids=["alone", "one of three"])
@pytest.mark.parametrize("point", list(DEATHS))
def test_ten_deaths_at_a_point_lose_and_double_nothing(job: OrderJob, point: FaultPoint, others: int) -> None:
    death = DEATHS[point]
    env = {**SHORT_SESSION, **(COUNTED if others else NEVER)}
    job.start_ready("w1", *(f"w{number + 2}" for number in range(others)), **env)
    # What a restore has to read: where it is to die in between, more than one batch of 2,000 for each partition.
    job.wait_processed(job.feed(40_000, customers=40_000) if death.loses_its_disk else job.feed(4_000))
    worker = job.workers["w1"]
    assert worker.stop() == 0, worker.tail()
    inside = died = 0
    for _ in range(LIVES):
        died += _die(job, worker, death, env)
        inside += len(open_transactions(job.bootstrap, [transactional_id(job, worker)]))
    job.start_ready("w1", **env)
    job.feed(300)
    verdict = job.finish()
    print(f"{point}, {others} others: {died} of {LIVES} lives ended there")
    scenario = Scenario(
        name=f"death at {point}, {'one of three' if others else 'alone'}",
        command=f".venv/bin/python -m pytest '{os.environ['PYTEST_CURRENT_TEST'].rpartition(' ')[0]}'",
        records=verdict.counts.orders,
        kills=died,
        faults=died,
        inside_a_transaction=inside,
    )
    count_from_logs(scenario, job.workers)
    keep(scenario)
    assert died == LIVES


def _die(job: OrderJob, worker: Worker, death: Death, env: dict[str, str]) -> bool:
    """Live until the fault point is met; orders keep coming."""
    if death.loses_its_disk:
        shutil.rmtree(worker.data_dir, ignore_errors=True)
    job.start("w1", crash_at=death.crash_at, **env)
    if death.is_told_to_stop:
        # What has no partitions gives none back.
        wait_until(
            lambda: not worker.alive or "partitions assigned" in worker.log_text().rpartition("--- w1")[2],
            deadline=READY,
            why=worker.tail,
        )
        job.feed(200)
        worker.send(signal.SIGTERM)
        return worker.wait(60) == -9
    for _ in range(60):
        if not worker.alive:
            break
        fed = job.feed(200)
        job.wait_for_progress(worker, beyond=fed - 1)
    return worker.wait(60) == -9
