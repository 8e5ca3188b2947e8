"""A rolling restart of three static members: no rebalance for the others, no abort, nothing lost or doubled."""

from __future__ import annotations

import pytest

from tests.support.fault_run import BACK, FaultRun, life_of
from tests.support.ledger import DEMAND, DLQ, ORDERS
from tests.support.order_jobs import OrderJob
from tests.support.topics import wait_until

ROUNDS = 4
"""Restarts of each of the three."""
RATE = 1_500.0
AT_MOST = 400_000
IDS = ("w1", "w2", "w3")
SHARED = {ORDERS: [2, 3, 3], DEMAND: [1, 2, 2], DLQ: [2, 3, 3]}
MOVES = ("partitions given back", "partitions assigned", "partitions lost")


@pytest.mark.timeout(1800)
def test_a_rolling_restart_moves_nothing_and_aborts_nothing(faulty: OrderJob) -> None:
    faulty.start_ready(*IDS)
    wait_until(
        lambda: {topic: shares(faulty, topic) for topic in SHARED} == SHARED,
        deadline=BACK,
        why=lambda: f"partitions are not shared out\n{faulty.workers.tails()}",
    )
    mine = {each: held(faulty, each, ORDERS) for each in IDS}
    before = {each: moves(faulty, each) for each in IDS}
    formed = {each: len(aborted(faulty, each)) for each in IDS}  # the joins of a group that forms may cost one
    with FaultRun(faulty, "rolling restart by SIGTERM, three static members", rate=RATE, at_most=AT_MOST) as run:
        for _ in range(ROUNDS):
            for each in IDS:
                run.pause_between_faults(0.5, 1.5)
                worker = faulty.workers[each]
                run.scenario.faults += 1
                assert worker.stop() == 0, worker.tail()
                run.start(worker)
                run.wait_until_back(worker)
                assert held(faulty, each, ORDERS) == mine[each], "the share of a static member changed"
                before[each] = moves(faulty, each)
                assert {other: moves(faulty, other) for other in IDS} == before, "a rebalance\n" + faulty.workers.tails()
        run.scenario.inside_a_transaction = None
        run.settle()
    since = [line for each in IDS for line in aborted(faulty, each)[formed[each] :]]
    assert since == []


def aborted(job: OrderJob, worker_id: str) -> list[str]:
    return [line for line in job.workers[worker_id].log_text().splitlines() if "unit dropped" in line]


def shares(job: OrderJob, topic: str) -> list[int]:
    return sorted(len(held(job, each, topic)) for each in IDS)


def held(job: OrderJob, worker_id: str, topic: str) -> set[int]:
    """Return the partitions of a topic that a worker's last life has: what it was given, less what it gave back."""
    worker = job.workers[worker_id]
    mine: set[int] = set()
    for line in life_of(worker, worker.lives).splitlines():
        names = {int(name.partition("/")[2]) for name in _names(line) if name.startswith(f"{topic}/")}
        if MOVES[1] in line:
            mine |= names
        elif MOVES[0] in line or MOVES[2] in line:
            mine -= names
    return mine


def _names(line: str) -> list[str]:
    return [name.strip().rstrip(";") for name in line.replace(":", ",").replace(";", ",").split(",")]


def moves(job: OrderJob, worker_id: str) -> int:
    """Count what a worker's last life said of partitions that came or went."""
    worker = job.workers[worker_id]
    text = life_of(worker, worker.lives)
    return sum(text.count(move) for move in MOVES)
