"""After a fix 10 000 dead letters are sent again by a job that is killed midway: each is resolved once, and running totals agree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from streamapp.pipeline.resolution import Job, Resolution, decode, status_topic
from tests.support.evidence import Scenario, keep
from tests.support.ledger import Rules
from tests.support.order_jobs import OrderJob
from tests.support.orders import order_of
from tests.support.topic_reader import read_topics
from tests.support.workers import ROOT

LETTERS: Final = 10_000
GOOD: Final = 5_000
SKU: Final = "broken"
CRASH_AT: Final = "replay-before-commit:50"
STREAMAPP: Final = Path(sys.executable).with_name("streamapp")
FAILING: Final = {
    "ORDER_PROCESSOR_FAIL_SKU": SKU,
    "STREAMAPP_BREAKER_ENABLED": "false",
    "STREAMAPP_RETRY_UNKNOWN_ATTEMPTS": "1",
}
"""As an agent with a bug, whose breaker would stop it after fifty."""


@pytest.mark.timeout(900)
def test_each_letter_is_resolved_once_though_the_job_is_killed(faulty: OrderJob) -> None:
    faulty.start_ready("w1", **FAILING)
    faulty.feed(GOOD, poison=0.0)
    orders = [order_of(SKU, order_id=f"late-{number}", customer=f"c{number % 97}") for number in range(LETTERS)]
    fed = faulty.feed_these(orders)
    faulty.wait_processed(fed, deadline=300.0)
    assert faulty.workers["w1"].stop() == 0
    faulty.start_ready("w1")

    killed = replay(faulty, "--all", "--stale-ok", STREAMAPP_TEST_CRASH_AT=CRASH_AT)
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    (job,) = {name for name, row in rows(faulty).items() if isinstance(row, Job)}
    resumed = replay(faulty, "--resume", job)
    assert resumed.returncode == 0, resumed.stdout

    settled = Counter((str(row.status), row.outcome, row.replays) for row in rows(faulty).values() if isinstance(row, Resolution))
    assert settled == {("resolved", "processed", 1): LETTERS}
    faulty.count_fed(LETTERS)  # the copies
    verdict = faulty.finish(Rules(tolerated_skus=frozenset({SKU})), deadline=300.0)
    assert (verdict.counts.dead_letters, verdict.counts.priced) == (LETTERS, GOOD + LETTERS - verdict.counts.duplicates)
    keep(
        Scenario(
            name="10,000 dead letters replayed, the job killed midway",
            command=f"pytest {Path(__file__).relative_to(ROOT)}",
            records=verdict.counts.orders,
            faults=1,
            kills=1,
            figures={"resolved": LETTERS},
        )
    )


def replay(job: OrderJob, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `streamapp dlq replay … --execute` at full speed, to its end."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_"))}
    here = {"STREAMAPP_BROKER": job.bootstrap, "STREAMAPP_APP_ID": job.app_id, "STREAMAPP_WEB_PORT": "0"}
    return subprocess.run(
        [STREAMAPP, "dlq", "replay", *arguments, "--rate", "none", "--execute"],
        cwd=ROOT, env={**outside, **here, **env}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400, check=False,
    )  # fmt: skip


def rows(job: OrderJob) -> dict[str, object]:
    """Return the last row of each name."""
    topic = status_topic(job.app_id)
    found: dict[str, object] = {}
    for record in read_topics(job.bootstrap, [topic])[topic].get(0, []):
        entry = decode(record.key, record.value)
        if entry is not None:
            found[entry.name] = entry.row
    return found
