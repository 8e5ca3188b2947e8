"""docs/dead-letters.md takes its reader from a warning to letters that are resolved: every command on it is run, and says what is shown.

On the real broker, with a real worker, in the order of the page. What the page would have to show instead is left in build/docs/.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient

from tests.support.console import Step, Terminal, body_of, difference, steps
from tests.support.documents import Block, blocks, text_of
from tests.support.ledger import DEMAND, DLQ, ORDERS, TOPICS
from tests.support.topic_reader import caught_up
from tests.support.topics import delete_topics, wait_until
from tests.support.workers import ROOT, Worker, Workers

PAGE: Final = "docs/dead-letters.md"
APP: Final = "order-processor"
BIN: Final = Path(sys.executable).parent
STARTS_A_BROKER: Final = "streamapp broker start\n"


class Reader:
    """Does what a page says, block by block."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.folder = folder
        self.wrong: list[str] = []
        self.page = ""
        """The page as it would be right."""
        self._bootstrap = bootstrap
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_", "ORDER_"))}
        # The page's operator, on the page's folder: the project's root is above this one, and on the reader's path.
        env = {"PATH": f"{BIN}:{outside['PATH']}", "PYTHONPATH": str(ROOT), "USER": "ops", "LOGNAME": "ops"}
        self._terminal = Terminal(folder, {**outside, **env, "STREAMAPP_BROKER": bootstrap})
        self._worker: Worker | None = None
        self._is_at_rest = False
        self.workers = Workers(bootstrap, folder / "workers", STREAMAPP_APP_ID=APP)

    def follow(self, page: str) -> None:
        self.page = page
        for block in blocks(page):
            self._do(block)

    def _do(self, block: Block) -> None:
        match block.language, block.name:
            case "sh", "worker":
                self._start(block.body)
            case "sh", None:
                assert block.body == STARTS_A_BROKER, "the tests have a broker already"
            case "console", None:
                self._type(block.body)
            case "text", "log":
                self._look_at_the_log(block.body.splitlines())
            case "python", str(name):
                (self.folder / name).write_text(block.body)
            case other:
                raise AssertionError(f"{PAGE} has a block of a kind that nobody runs: {other}")

    def _start(self, command: str) -> None:
        """Start the page's worker, in place of the one that runs."""
        words = shlex.split(command)
        env = dict(word.split("=", 1) for word in words if "=" in word)
        assert words[len(env) :] == ["faust", "-A", "streamapp", "worker", "-l", "info"], command
        worker_id = env.pop("STREAMAPP_WORKER_ID")
        if self._worker is not None:
            assert self._worker.stop() == 0, self._worker.tail()
        self._worker = self.workers.start(worker_id, web=True, **env)
        self._worker.ready()
        self._is_at_rest = False

    def _type(self, body: str) -> None:
        done = []
        for step in steps(body):
            self._come_to_rest()
            said = self._terminal.run(step.command)
            if (told := difference(step, said)) is None:
                done.append(step)
            else:
                self.wrong.append(told)
                done.append(Step(step.command, said.lines, said.exit_code))
            self._is_at_rest = "streamapp dlq" in step.command and "--execute" not in step.command
        self.page = self.page.replace(f"```console\n{body}```", f"```console\n{body_of(done)}```", 1)

    def _come_to_rest(self) -> None:
        """Wait, as a reader does without noticing, until the worker has nothing left to do: what is found then is always the same."""
        if self._worker is None or self._is_at_rest:
            return
        try:
            caught_up(self._bootstrap, APP, topics=(ORDERS, DEMAND, DLQ))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.workers.tails()}") from None

    def _look_at_the_log(self, lines: list[str]) -> None:
        worker = self._worker
        assert worker is not None
        for line in lines:
            wait_until(lambda line=line: line in worker.log_text(), deadline=60, why=lambda line=line: f"no line {line}\n{worker.tail()}")  # type: ignore[misc]  # bound now  # fmt: skip


def topics_of_the_app(bootstrap: str) -> list[str]:
    there = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=10).topics
    return [*TOPICS, *(name for name in there if name.startswith(f"{APP}-"))]


@pytest.fixture
def reader(bootstrap: str) -> Iterator[Reader]:
    """A reader in a folder of the project, on a broker where the app has never run."""
    delete_topics(bootstrap, topics_of_the_app(bootstrap))
    (ROOT / "build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="reader-", dir=ROOT / "build"))
    made = Reader(bootstrap, folder)
    try:
        yield made
    finally:
        made.workers.close()
        print(made.workers.tails())
        rmtree(folder)
        delete_topics(bootstrap, topics_of_the_app(bootstrap))


@pytest.mark.timeout(300)
def test_the_page_is_followed_from_the_warning_to_the_end(reader: Reader) -> None:
    reader.follow(text_of(PAGE))
    if reader.wrong:
        kept = ROOT / "build" / "docs" / Path(PAGE).name
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(reader.page)
        pytest.fail("\n\n".join([*reader.wrong, f"the page as it would be right today: {kept.relative_to(ROOT)}"]))
