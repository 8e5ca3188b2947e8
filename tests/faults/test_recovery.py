"""A worker that was killed commits again within seconds of its restart, with tables of 100 000 keys, and the others do not notice.

The times are a claim of ours, so this one asserts them; `make faults` runs it after all else, alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.evidence import percentile
from tests.support.fault_run import FaultRun, life_of
from tests.support.order_jobs import OrderJob, held
from tests.support.own_project import OwnProject

KILLS = 30
KEYS = 100_000
"""Orders priced before the first kill: as many dedupe marks, and a total for each customer among them."""
RATE = 1_000.0
AT_MOST = 300_000
COMMIT_INTERVAL = 0.2
RECOVERS_WITHIN = 3.0
"""Seconds that 95 of 100 restarts may take to their next commit."""
SHORTEST, LONGEST = 0.5, 1.5
Window = tuple[float, float]
"""Begin and end, seconds since 1970."""
MOVES = ("partitions given back", "partitions lost", "partitions assigned")


@pytest.mark.timeout(1800)
def test_a_killed_worker_is_back_soon_and_the_others_go_on(faulty: OrderJob, tmp_path: Path) -> None:
    faulty.start_ready("w1", "w2")
    faulty.wait_processed(faulty.feed(KEYS, poison=0.0, resent=0.0, customers=KEYS), deadline=300)
    faulty.caught_up(300)
    killed, other = faulty.workers["w1"], faulty.workers["w2"]
    others = held(other)
    moved = sum(life_of(other, 1).count(move) for move in MOVES)
    folder = tmp_path / "stranger"
    folder.mkdir()
    away: list[Window] = []
    beside: list[Window] = []
    with (
        FaultRun(faulty, "recovery after SIGKILL, 100 000 keys", rate=RATE, at_most=AT_MOST, poison=0.001) as run,
        OwnProject(faulty.bootstrap, folder, "lone") as stranger,
    ):
        run.pause_between_faults(5.0, 5.0)
        quiet = run.watch.longest_pause(time.time() - 4.0, time.time(), others)
        for _ in range(KILLS):
            run.pause_between_faults(SHORTEST, LONGEST)
            back = run.kill_and_restart(killed)
            run.wait_until_back(killed)
            took = run.recovery(back) or 0.0
            away.append((back.at, back.at + took))
            # What a start costs the others on two cores, if it has nothing to do with their group: the same for as long.
            run.pause_between_faults(SHORTEST, LONGEST)
            at = time.time()
            starting = stranger.workers.start("s1")
            run.pause_between_faults(took, took)
            starting.kill()
            beside.append((at, at + took))
        run.pause_between_faults(LONGEST, LONGEST)
        pauses, strangers = (
            [pause for window in windows if (pause := run.watch.longest_pause(*window, others)) is not None]
            for windows in (away, beside)
        )
        figures = run.scenario.figures
        figures["commit interval (s)"] = COMMIT_INTERVAL
        figures["longest time between two commits of a partition of the other worker, no fault (s)"] = _rounded(quiet)
        figures["the same while a worker was away, p50 (s)"] = _rounded(percentile(pauses, 0.5))
        figures["the same, p95 (s)"] = _rounded(percentile(pauses, 0.95))
        figures["the same while a worker of another app started instead, p50 (s)"] = _rounded(percentile(strangers, 0.5))
        figures["this, p95 (s)"] = _rounded(percentile(strangers, 0.95))
        figures["load average of the machine, runnable processes"] = round(os.getloadavg()[1], 1)
        assert sum(life_of(other, 1).count(move) for move in MOVES) == moved, "a rebalance\n" + other.tail()
        run.settle()
    p95 = percentile(run.scenario.recoveries, 0.95)
    assert p95 is not None
    assert p95 < RECOVERS_WITHIN, sorted(run.scenario.recoveries)
    paused, would = percentile(pauses, 0.95), percentile(strangers, 0.95)
    assert paused is not None
    assert would is not None
    assert paused <= would + COMMIT_INTERVAL, f"while away {sorted(pauses)}, beside a stranger's start {sorted(strangers)}"


def _rounded(seconds: float | None) -> float | str:
    return "unknown" if seconds is None else round(seconds, 2)
