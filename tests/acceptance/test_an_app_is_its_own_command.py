"""`python shop.py worker` runs an app's worker by `app.main()`, and Faust's names of settings work in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.own_project import OwnProject, documents
from tests.support.topics import committed_offsets, wait_until, watermarks

INTERVAL = 2.0
"""broker_commit_interval in apps/aliases.py, seconds."""


@pytest.fixture(scope="module")
def project(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnProject]:
    folder = tmp_path_factory.mktemp("aliases")
    with OwnProject(bootstrap, folder, "aliases", topics={"in": 1, "out": 1}, without=["STREAMAPP_COMMIT_INTERVAL"]) as made:
        made.workers.command = [sys.executable, "shop.py", "worker", "-l", "info"]
        made.feed("in", "before the start")
        worker = made.worker()
        wait_until(
            lambda: (made.topic("in"), 0) in committed_offsets(made.bootstrap, made.app_id, [made.topic("in")]), why=worker.tail
        )
        yield made


def test_faust_names_of_settings_act(project: OwnProject) -> None:
    started, count = time.monotonic(), 20
    for number in range(count):
        project.feed("in", number)
        time.sleep(0.05)  # no wait: records come over a time in which the default interval would commit five times
    # consumer_auto_offset_reset="latest": what was there before the start is not read.
    assert documents(project.wait_for("out", count)) == list(range(count))
    elapsed = time.monotonic() - started
    (_, high) = watermarks(project.bootstrap, [project.topic("out")])[project.topic("out"), 0]
    commits = high - count
    assert 1 <= commits <= elapsed / INTERVAL + 1, f"{commits} commits in {elapsed:.1f} s"


def test_the_worker_stops_cleanly(project: OwnProject) -> None:
    assert project.workers["w1"].stop() == 0, project.workers["w1"].tail()
