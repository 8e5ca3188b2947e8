"""A small app of its own folder, run by the real command: it numbers words, so a lost, doubled or twice-counted one shows."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from tests.support.topic_reader import read_topics
from tests.support.topics import PATIENCE, create_topic, wait_until
from tests.support.workers import FAUST, ROOT, Worker, Workers

SOURCE: Final = """
from streamapp import StreamApp

app = StreamApp("{app_id}")
words = app.topic("{words}", value_type=str{declared})
numbered = app.topic("{numbered}", partitions=2)
counts = app.Table("counts", default=int)


@app.agent(words)
async def number(stream):
    async for word in stream:
        counts[word] += 1
        await numbered.send(key=word, value=[word, counts[word]])
"""
QUICK: Final = {"STREAMAPP_COMMIT_INTERVAL": "0.05", "STREAMAPP_SESSION_TIMEOUT": "10", "STREAMAPP_HEARTBEAT_INTERVAL": "0.3"}


class WordApp:
    """One app with topics and a folder of its own. A context manager: it ends every process that it started."""

    def __init__(self, bootstrap: str, home: Path, **env: str) -> None:
        self.bootstrap = bootstrap
        self.home = home
        self.app_id = f"words-{uuid4().hex[:8]}"
        self.words, self.numbered = f"{self.app_id}-in", f"{self.app_id}-out"
        self.changelog, self.dlq = f"{self.app_id}-counts-changelog", f"{self.words}-dlq"
        self.fed: Counter[str] = Counter()
        home.mkdir(parents=True, exist_ok=True)
        self.declare()
        command = (str(FAUST), "-A", "words", "worker", "-l", "info")
        own = {**QUICK, "PYTHONPATH": str(ROOT), **env}
        self.workers = Workers(bootstrap, home / "workers", command=command, cwd=home, **own)  # type: ignore[arg-type]

    def declare(self, declared: str = ", partitions=2", more: str = "") -> None:
        """Write the app. `declared`: further arguments of its source topic; `more`: further lines."""
        text = SOURCE.format(app_id=self.app_id, words=self.words, numbered=self.numbered, declared=declared)
        (self.home / "words.py").write_text(text + more)

    def start(self, worker_id: str = "w1", **env: str) -> Worker:
        return self.workers.start(worker_id, **env)  # type: ignore[arg-type]  # variables only

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a `faust` command of the app to its end."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_"))}
        own = {**QUICK, "STREAMAPP_BROKER": self.bootstrap, "STREAMAPP_WEB_PORT": "0", "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [str(FAUST), "-A", "words", *arguments],
            cwd=self.home, env={**outside, **own, **env}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def feed(self, words: Iterable[str], *, create: bool = True) -> None:
        """Have the words in the source topic, which is created with two partitions if need be."""
        if create:
            create_topic(self.bootstrap, self.words, 2)
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 1})
        for word in words:
            producer.produce(self.words, json.dumps(word).encode(), word.encode())
            self.fed[word] += 1
        assert producer.flush(PATIENCE) == 0

    def wrong(self) -> list[str]:
        """Say what a `read_committed` reader finds wrong: each word must have come out once for each time it was fed, numbered."""
        lanes = read_topics(self.bootstrap, [self.numbered])[self.numbered]
        seen: dict[str, list[int]] = {}
        for lane in lanes.values():
            for record in lane:
                word, count = json.loads(record.value or b"")
                seen.setdefault(word, []).append(count)
        due = {word: list(range(1, count + 1)) for word, count in self.fed.items()}
        return [f"{word}: {seen.get(word)}, not {due.get(word)}" for word in {*seen, *due} if seen.get(word) != due.get(word)]

    def wait_until_done(self, deadline: float = 60.0) -> None:
        """Wait until everything that was fed is out, once, in order."""
        wait_until(
            lambda: not self.wrong(), deadline=deadline, every=0.1, why=lambda: f"{self.wrong()[:5]}\n{self.workers.tails()}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.workers.close()
        if error is not None:
            print(self.workers.tails())


def wait_for_line(worker: Worker, *parts: str, times: int = 1, deadline: float = 60.0) -> None:
    """Wait until the worker's log has `times` lines with all of these parts."""

    def there() -> bool:
        return sum(all(part in line for part in parts) for line in worker.log_text().splitlines()) >= times

    wait_until(there, deadline=deadline, every=0.1, why=lambda: f"no {times} lines with {parts}\n{worker.tail()}")


def said(text: str) -> list[str]:
    """Return the lines that a process ended with, and see that there was no traceback."""
    assert "Traceback" not in text, text
    return [line for line in text.splitlines() if line.startswith("streamapp: ")]


@pytest.fixture
def word_app(bootstrap: str, tmp_path: Path) -> Iterator[WordApp]:
    """The app on the shared broker."""
    with WordApp(bootstrap, tmp_path / "words") as made:
        yield made
