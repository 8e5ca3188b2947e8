"""The README's first agent works as it is written: its blocks are copied out, run as typed on the real broker, and show what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.documents import blocks, section
from tests.support.topics import delete_topics, wait_until
from tests.support.workers import Worker, Workers

BLOCKS = blocks(section("README.md", "A first agent of your own"))
BIN = Path(sys.executable).parent
STARTS_A_BROKER = "streamapp broker start\n"
STARTS_A_WORKER = "faust -A streamapp worker -l info\n"
TOPICS = ["visits", "visits-dlq", "visit-counts", "visit-counts-dlq"]


def commands() -> list[str]:
    return [block.body for block in BLOCKS if block.language == "sh"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's project, made by the README's commands and files."""
    subprocess.run(["bash", "-ec", commands()[0]], cwd=tmp_path, check=True)
    (project,) = tmp_path.iterdir()
    for block in BLOCKS:
        if block.name is not None:
            (project / block.name).write_text(block.body)
    return project


@pytest.fixture
def terminal(bootstrap: str) -> Iterator[dict[str, str]]:
    """The reader's environment: the install on PATH, and the tests' broker, where the app is one of many, in place of port 9092."""
    app = f"shop-{uuid4().hex[:8]}"
    delete_topics(bootstrap, TOPICS)
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_"))}
    yield {**outside, "PATH": f"{BIN}:{outside['PATH']}", "STREAMAPP_BROKER": bootstrap, "STREAMAPP_APP_ID": app}
    delete_topics(bootstrap, [*TOPICS, f"{app}-visited-changelog"])


def typed(command: str, folder: Path, terminal: dict[str, str]) -> str:
    """Run a block as its reader would, and return what it said."""
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=terminal, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shown_by(worker: Worker) -> list[str]:
    """Return the log's lines as the README shows them, without times."""
    return [line.split("] ", 2)[-1].rstrip() for line in worker.log_text().splitlines()]


def test_the_first_agent_is_typed_in_fed_and_seen(bootstrap: str, folder: Path, terminal: dict[str, str], tmp_path: Path) -> None:
    _, *rest = commands()
    assert rest[:2] == [STARTS_A_BROKER, STARTS_A_WORKER], "the blocks come in the order that the test runs them"
    feeds, tries = rest[2], rest[3]
    (promised,) = (block.body.splitlines() for block in BLOCKS if block.language == "text")

    command = [BIN / "faust", *STARTS_A_WORKER.split()[1:]]
    app = terminal["STREAMAPP_APP_ID"]
    home = tmp_path / "workers"
    with Workers(bootstrap, home, command=[str(part) for part in command], cwd=folder, STREAMAPP_APP_ID=app) as workers:
        worker = workers.start("reader", web=True)
        worker.ready()
        typed(feeds, folder, terminal)
        wait_until(lambda: set(promised) <= set(shown_by(worker)), deadline=60, why=worker.tail)
        worker.send(signal.SIGINT)
        assert worker.wait(30) == 0, worker.tail()

        worker = workers.start("reader")
        worker.ready()
        typed(feeds.splitlines()[0], folder, terminal)
        wait_until(lambda: "[WARNING] home: 3" in shown_by(worker), deadline=60, why=worker.tail)
        assert worker.stop() == 0, worker.tail()
    assert "1 passed" in typed(tries, folder, terminal)
