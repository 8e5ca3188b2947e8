"""Real workers, one more than there are partitions: the spare says so at once and with the numbers, its status shows the other's partition, and
all of it is told from memory. A restart in another version is known as such."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest

from streamapp.monitor.status import STATUS_PATH, StatusDocument
from tests.support.own_project import OwnProject
from tests.support.topics import committed_offsets, end_offsets, wait_until
from tests.support.workers import Worker


def status(worker: Worker, query: str = "") -> StatusDocument:
    with urlopen(f"http://127.0.0.1:{worker.web_port}{STATUS_PATH}{query}", timeout=5) as answer:
        return msgspec.json.decode(answer.read(), type=StatusDocument)


@pytest.mark.timeout(240)
def test_the_second_worker_on_one_partition_is_told_and_shows_the_first(bootstrap: str, tmp_path: Path) -> None:
    env = {"STREAMAPP_LAG_SAMPLE_INTERVAL": "0.2", "STREAMAPP_APP_VERSION": "1.4", "STREAMAPP_SESSION_TIMEOUT": "120"}
    with OwnProject(bootstrap, tmp_path, "lone", **env) as project:  # type: ignore[arg-type]  # variables only
        owner = project.workers.start("w-0", web=True)
        owner.ready()
        spare = project.workers.start("w-1", web=True, STREAMAPP_WEB_PEERS=f"http://127.0.0.1:{owner.web_port}")
        spare.ready()
        project.feed("clicks", *range(20))

        line = "2 workers, 1 partition: 1 idle"
        wait_until(lambda: line in spare.log_text(), deadline=60, why=spare.tail)
        assert line not in owner.log_text()

        def is_level() -> bool:
            rows = status(spare).partitions
            return [(row.owner, row.lag, row.committed) for row in rows] == [("w-0", 0, 20)]

        wait_until(is_level, deadline=60, why=lambda: repr(status(spare)))
        shown = status(spare)
        assert (shown.only_this_worker, shown.unreachable, shown.group.workers) == (False, (), 2)
        assert status(spare, "?own=1").partitions == ()
        (row,) = status(owner, "?history=30m").partitions
        topic = project.topic("clicks")
        assert (row.committed, row.end) == (
            committed_offsets(bootstrap, project.app_id, [topic])[topic, 0],
            end_offsets(bootstrap, topic)[0],
        ), "as every other tool sees them"
        assert row.history

        assert owner.stop() == 0
        owner.start(STREAMAPP_APP_VERSION="1.5").ready()

        def is_marked() -> bool:
            return [mark.detail for row in status(owner).partitions for mark in row.marks if mark.change == "deployed"] == [
                "1.4 -> 1.5"
            ]

        wait_until(is_marked, deadline=60, why=lambda: repr(status(owner)))
        (row,) = status(owner, "?history=30m").partitions
        assert row.history
        assert min(point.at for point in row.history) < status(owner).worker.started, "what was before the restart is known"


@pytest.mark.timeout(240)
def test_a_ninth_worker_on_eight_partitions_is_told_at_once_and_by_the_doctor(bootstrap: str, tmp_path: Path) -> None:
    line = "9 workers, 8 partitions: 1 idle"
    with OwnProject(bootstrap, tmp_path, "lone", PARTITIONS="8", STREAMAPP_LAG_SAMPLE_INTERVAL="60") as project:
        eight = [project.workers.start(f"w-{number}", web=True) for number in range(8)]
        wait_until(
            lambda: all(held(worker) == 1 for worker in eight), deadline=120, why=lambda: repr([held(worker) for worker in eight])
        )
        ninth = project.workers.start("w-8", web=True)
        ninth.ready()
        wait_until(lambda: line in ninth.log_text(), deadline=60, why=ninth.tail)
        assert [held(worker) for worker in (*eight, ninth)] == [1] * 8 + [0]
        assert not [worker.id for worker in eight if line in worker.log_text()]

        told = project.faust("doctor", "--only", "G01", "--json")
        assert line in [json.loads(row)["line"] for row in told.stdout.splitlines()], told.stdout + told.stderr
        assert set(project.workers.stop().values()) == {0}


def held(worker: Worker) -> int:
    """Return how many partitions it has, as it says; 0 while nobody answers."""
    return int(worker.readiness().get("restored", 0))
