"""A worker's log is lines of JSON wherever no terminal reads along: on stderr and, with `-f`, in a file; text where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.topics import wait_until
from tests.support.word_app import WordApp
from tests.support.workers import Worker

LIFE = ["worker_started", "partitions_assigned", "worker_ready", "worker_stopping", "partitions_revoked", "worker_stopped"]


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the lines of the log; Faust's banner goes to stdout, and is none."""
    assert "[INFO]" not in text
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def in_order(lines: list[dict[str, Any]]) -> list[str]:
    """Return the events of a life, each where it came first."""
    return [event for event in dict.fromkeys(line["event"] for line in lines) if event in LIFE]


def run(app: WordApp, worker_id: str, **env: str) -> Worker:
    worker = app.workers.start(worker_id, web=True, **env)
    worker.ready()
    app.wait_until_done()
    assert worker.stop() == 0, worker.tail()
    return worker


def test_stderr_and_a_file_have_one_object_per_line(word_app: WordApp, tmp_path: Path) -> None:
    word_app.feed(["secretword"] * 3)
    lines = lines_of(run(word_app, "w1", STREAMAPP_LOG_FORMAT="auto", STREAMAPP_APP_VERSION="1.4.0").log_text())
    assert in_order(lines) == LIFE
    assert {(line["worker"], line["version"]) for line in lines[lines.index(_first(lines, "worker_started")) :]} == {
        ("w1", "1.4.0")
    }
    assert _first(lines, "worker_stopped")["counters"]["records"] == 3
    assert _first(lines, "partitions_revoked")["count"] == 2
    assert {"mode", "faust"} & {line["logger"].partition(".")[0] for line in lines if line["event"] == "log"}
    assert "secretword" not in json.dumps(lines)

    file = tmp_path / "worker.log"
    word_app.workers.command = (*word_app.workers.command, "-f", str(file))
    written = run(word_app, "w2", STREAMAPP_LOG_FORMAT="auto")
    whole = file.read_text().splitlines()
    assert in_order([json.loads(line) for line in whole]) == LIFE
    assert lines_of(written.log_text()) == []


def test_text_is_written_where_it_is_asked_for(word_app: WordApp) -> None:
    word_app.feed(["a"])
    worker = word_app.start("w1")  # the tests' workers ask for it
    wait_until(lambda: "partitions assigned: " in worker.log_text(), deadline=60, why=worker.tail)
    assert worker.stop() == 0
    assert not any(line.startswith("{") for line in worker.log_text().splitlines())
    assert "[INFO]" in worker.log_text()


def _first(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    return next(line for line in lines if line["event"] == event)
