"""A contender that stands still is charged for each record that was due meanwhile, not only for the one at which it stood."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.contenders import FLOOR, Contender
from tests.benchmarks.jobs import DEDUPE
from tests.benchmarks.latency import WARM_LOAD, WARM_UP, latencies
from tests.benchmarks.measure import Plan
from tests.support.tampered_copy import STALL

RATE = 1_000.0
LOAD = 0.1
SECONDS = 2.5


def test_a_standstill_shows_in_every_record_that_was_due_meanwhile(bootstrap: str, tmp_path: Path) -> None:
    early = round(RATE * WARM_LOAD * WARM_UP) + round(RATE * LOAD * SECONDS * 0.1)
    command = (sys.executable, "-m", "tests.support.tampered_copy", "stalls", str(early))
    contender = Contender(FLOOR, command, DEDUPE, dedupes=False)
    plan = Plan(bootstrap=bootstrap, home=tmp_path, records=1_000, resent=0.0, warm_up=100, commit_interval=0.05)
    (found,) = latencies(contender, plan, RATE, seconds=SECONDS, loads=[LOAD])
    assert found.records == RATE * LOAD * SECONDS
    # 60 % of the records were due while it stood: half of them waited longer than half of it, so 30 % of all.
    assert found.p95 > STALL * 0.75
    assert found.commit_p50 is not None and found.commit_p99 is not None
    assert found.commit_p99 > STALL * 0.75
    assert found.p50 <= found.p95 <= found.p99
