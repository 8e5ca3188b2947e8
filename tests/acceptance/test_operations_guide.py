"""Every command of docs/operations.md is one that can be typed: it is run beside a real worker, and ends as its exit codes promise.

The worker has priced orders and dead-lettered one; nothing is wrong with it, so what is asserted is that a command understands its options, finds the
app, the broker and the worker, and ends by itself. What commands say is their own tests' business.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree
from typing import Final, TypeAlias

import pytest

from streamapp.cli import main
from tests.support.documents import blocks, text_of
from tests.support.ledger import DEMAND, DLQ, ORDERS, TOPICS
from tests.support.orders import feed_all, order_of
from tests.support.topic_reader import app_topics, caught_up
from tests.support.topics import delete_topics
from tests.support.workers import ROOT, Workers

GUIDE: Final = "docs/operations.md"
APP: Final = "order-processor"
BIN: Final = Path(sys.executable).parent
ENDS: Final = {
    0: "well, or previewed",
    1: "findings",
    4: "nothing matched",
    5: "refused by a guard: the group is not empty",
}
"""How a command may end here. Not with 2, a wrong option or setting, nor with 3, no broker."""
Said: TypeAlias = subprocess.CompletedProcess[str]


def commands() -> list[str]:
    """Return what the guide's plain blocks have, each once."""
    typed = [
        line
        for block in blocks(text_of(GUIDE))
        if (block.language, block.name) == ("sh", None)
        for line in block.body.splitlines()
    ]
    return list(dict.fromkeys(typed))


def verb_of(command: str) -> str:
    words = command.split()
    assert words[0] == "streamapp", command
    return words[1]


def test_every_verb_of_the_guide_is_there() -> None:
    assert {verb_of(command) for command in commands()} - set(main.commands) == set()
    assert len(commands()) > 18


def test_no_command_of_the_guide_changes_anything() -> None:
    assert [command for command in commands() if "--execute" in command] == []


def test_what_is_not_run_is_no_command_of_ours() -> None:
    others = [block for block in blocks(text_of(GUIDE)) if block.name == "elsewhere"]
    assert {line.split()[0] for block in others for line in block.body.splitlines()} == {"docker", "kubectl"}
    assert {(block.language, block.name) for block in blocks(text_of(GUIDE))} == {("sh", None), ("sh", "elsewhere")}


@pytest.fixture(scope="module")
def terminal(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Said]]:
    """Somebody at a terminal beside a worker that has priced orders and dead-lettered one."""
    delete_topics(bootstrap, [*TOPICS, *app_topics(bootstrap, APP)])
    # The project's root is above this folder, as it is for who types in a checkout.
    folder = ROOT / "build" / f"operator-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    with Workers(bootstrap, tmp_path_factory.mktemp("workers"), STREAMAPP_APP_ID=APP) as workers:
        worker = workers.start("w-0", web=True)
        worker.ready()
        fine = [order_of("sku-1", order_id=f"o-{number}") for number in range(20)]
        feed_all(bootstrap, [*fine, fine[0]._replace(value=b"no order")])
        caught_up(bootstrap, APP, topics=(ORDERS, DEMAND, DLQ))
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_", "ORDER_"))}
        env = {
            **outside,
            "PATH": f"{BIN}:{outside['PATH']}",
            "PYTHONPATH": str(ROOT),
            "STREAMAPP_BROKER": bootstrap,
            "STREAMAPP_WEB_PORT": str(worker.web_port),
        }

        def run(command: str) -> Said:
            return subprocess.run(
                ["bash", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110,
                check=False,
            )  # fmt: skip

        yield run
        print(workers.tails())
    rmtree(folder)
    delete_topics(bootstrap, [*TOPICS, *app_topics(bootstrap, APP)])


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_guide_can_be_typed(terminal: Callable[[str], Said], command: str) -> None:
    ended = terminal(command)
    said = f"$ {command}\n{ended.stdout}{ended.stderr}"
    assert ended.returncode in ENDS, f"{said}\nexit {ended.returncode}"
    assert "Traceback" not in said
    # A doctor that finds nothing has no rows for a pipe.
    assert ended.stdout.strip() or ended.stderr.strip() or ">" in command or verb_of(command) == "doctor", (
        f"{said}\nit says nothing"
    )
