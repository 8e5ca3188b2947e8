"""A store that was left behind, as by a worker that died, equals its changelog at its own offset: what came since is no difference."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.order_jobs import OrderJob
from tests.support.verifying import verify


def test_what_came_since_is_no_difference(job: OrderJob, tmp_path: Path) -> None:
    worker = job.start("w1")
    job.feed(200)
    job.caught_up()
    assert worker.stop() == 0
    left = Path(shutil.copytree(worker.data_dir, tmp_path / "left"))
    job.start("w1")
    job.feed(200)
    job.caught_up()
    assert worker.stop() == 0
    places = ("--data-dir", str(left), "--data-dir", str(worker.data_dir))
    found = verify("--json", "--only", "tables", *places, bootstrap=job.bootstrap, app_id=job.app_id)
    assert (found.code, found.bad()) == (0, []), found.stderr

    def rows_of(place: Path) -> int:
        return sum(row["keys"] for row in found.rows("table", status="equal", table="processed_orders", place=str(place)))

    assert 0 < rows_of(left) < rows_of(worker.data_dir)
