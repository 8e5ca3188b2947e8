"""What waits behind a dead letter survives the worker and its disk, and comes in order once the letter was replayed.

A real worker on apps/blocking.py, killed while a key is blocked; its successor has the failure mended and no data directory.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from streamapp.pipeline.held import read_blocked, read_name
from tests.support.own_project import OwnProject, documents


def test_a_replayed_head_lets_the_records_go_that_waited_through_a_kill(bootstrap: str, tmp_path: Path) -> None:
    with OwnProject(bootstrap, tmp_path, "blocking", STREAMAPP_RETRY_UNKNOWN_ATTEMPTS="1") as project:
        worker = project.worker()
        project.feed(
            "in", "poison", "second", "third", key="ann", partition=1, timestamp=1_700_000_000_000, headers=[("h", b"\xff")]
        )
        project.feed("in", "other", key="bob", partition=1)
        found = project.wait_for_all({"done": 1, "in-dlq": 1})
        assert documents(found["done"]) == [["other", 1]]
        (letter,) = found["in-dlq"]
        facts = dict(letter.headers)
        assert facts["streamapp.dlq.order"] == b"held"
        rows = {rec.key: rec.value for rec in project.lanes(f"{project.app_id}-careful-dlq-held-changelog")[1]}
        kinds = {read_name(key or b"")[1]: value for key, value in rows.items() if (key or b"").startswith(b"[")}
        assert read_blocked(kinds[b"ann"] or b"").offsets == [1, 2]
        worker.kill()
        shutil.rmtree(worker.data_dir)

        project.worker(MENDED="1")
        project.feed("in", "fourth", key="ann", partition=1)
        replayed = [("streamapp.dlq.replay-of", facts["streamapp.dlq.id"])]
        project.feed("in", "poison", key="ann", partition=1, headers=replayed)
        came = project.wait_for("done", 5)
        assert documents(came)[1:] == [["poison", 1], ["second", 2], ["third", 3], ["fourth", 4]]
        second = next(rec for rec in came if b"second" in (rec.value or b""))
        assert (second.timestamp, list(second.headers)) == (1_700_000_000_000, [("h", b"\xff")])
