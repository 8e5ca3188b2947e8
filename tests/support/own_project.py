"""A project of a test's own: an app module in a folder, its workers and commands as real processes, its topics read as an outsider.

The modules stand in tests/acceptance/apps; each runs under the name `shop` and makes its topics' names from APP_ID, which is new
for each test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.request import urlopen
from uuid import uuid4

from confluent_kafka import Producer

from tests.support.kafka_records import Lanes, Rec
from tests.support.topic_reader import read_topics
from tests.support.topics import PATIENCE, create_topic, wait_until
from tests.support.workers import FAUST, ROOT, Worker, Workers

APPS: Final = ROOT / "tests" / "acceptance" / "apps"
QUICK: Final = {
    "STREAMAPP_COMMIT_INTERVAL": "0.1",
    "STREAMAPP_RETRY_BASE": "0.01",
    "STREAMAPP_RETRY_CAP": "0.02",
    # A member hears with its next heartbeat that others join: 3 s each time, for an app of many topics.
    "STREAMAPP_HEARTBEAT_INTERVAL": "0.3",
    "STREAMAPP_SESSION_TIMEOUT": "6",
}


class OwnProject:
    """One app on one broker. A context manager: it ends every worker that it started."""

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        app: str | None,
        *,
        topics: Mapping[str, int] | None = None,
        without: Iterable[str] = (),
        **env: str,
    ) -> None:
        """`app`: the module of tests/acceptance/apps; None for a project that the test writes into `folder`. `topics`: those that exist before a worker starts, with their partitions.

        `without`: quick settings that the app makes itself.
        """
        self.bootstrap = bootstrap
        self.folder = folder
        self.app_id = f"shop-{uuid4().hex[:8]}"
        if app is not None:
            shutil.copy(APPS / f"{app}.py", folder / "shop.py")
        self.name = "shop" if app is not None else "streamapp"
        command = (str(FAUST), "-A", self.name, "worker", "-l", "info")
        self._env = {**QUICK, "APP_ID": self.app_id, **env}
        for name in without:
            del self._env[name]
        self.workers = Workers(bootstrap, folder / "workers", command=command, cwd=folder, **self._env)  # type: ignore[arg-type]  # variables only
        for name, partitions in (topics or {}).items():
            create_topic(bootstrap, self.topic(name), partitions)

    def topic(self, name: str) -> str:
        return f"{self.app_id}-{name}"

    # --- records

    def feed(self, name: str, *values: Any, key: str | None = None, partition: int = 0, **more: Any) -> None:
        """Write records and return when the broker has them. A value that is not bytes is written as JSON."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 0, "log_level": 0})
        for value in values:
            raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            producer.produce(self.topic(name), value=raw, key=key, partition=partition, **more)
        assert producer.flush(30) == 0, "not delivered"

    def read(self, name: str, *, committed_only: bool = True) -> list[Rec]:
        """Return what a `read_committed` reader sees, partition after partition."""
        topic = self.topic(name)
        return _in_order(read_topics(self.bootstrap, [topic], committed_only=committed_only)[topic])

    def lanes(self, topic: str) -> Lanes:
        """Return the records of a topic by its whole name, partition by partition."""
        return read_topics(self.bootstrap, [topic])[topic]

    def wait_for(self, name: str, count: int, *, deadline: float = PATIENCE) -> list[Rec]:
        """Return the topic's records once there are at least `count`."""
        return self.wait_for_all({name: count}, deadline=deadline)[name]

    def wait_for_all(self, counts: Mapping[str, int], *, deadline: float = PATIENCE) -> dict[str, list[Rec]]:
        """Return the records of several topics once each has at least as many as `counts` says."""
        found: dict[str, list[Rec]] = {}

        def there() -> bool:
            read = read_topics(self.bootstrap, [self.topic(name) for name in counts])
            found.update({name: _in_order(read[self.topic(name)]) for name in counts})
            return all(len(found[name]) >= count for name, count in counts.items())

        def why() -> str:
            few = {name: f"{len(found[name])} of {count}" for name, count in counts.items() if len(found[name]) < count}
            return f"records missing: {few}\n{self.workers.tails()}"

        wait_until(there, deadline=deadline, every=0.1, why=why)
        return found

    # --- processes

    def worker(self, worker_id: str = "w1", *, deadline: float = 60.0, **env: str) -> Worker:
        """Start a worker, and return when it is ready."""
        worker = self.workers.start(worker_id, web=True, **env)
        worker.ready(deadline)
        return worker

    def page(self, worker: Worker, path: str) -> Any:
        """Return the JSON that a worker's page answers."""
        with urlopen(f"http://127.0.0.1:{worker.web_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def faust(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `faust -A shop …`, or on the project."""
        return self.run([str(FAUST), "-A", self.name, *arguments], **env)

    def python(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `python …` beside the app's module."""
        return self.run([sys.executable, *arguments], **env)

    def run(self, command: Iterable[str], **env: str) -> subprocess.CompletedProcess[str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_", "F_"))}
        return subprocess.run(
            list(command),
            cwd=self.folder,
            env={**outside, "STREAMAPP_BROKER": self.bootstrap, "STREAMAPP_WEB_PORT": "0", **self._env, **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # --- life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.workers.close()
        if error is not None:
            print(self.workers.tails())


def _in_order(lanes: Lanes) -> list[Rec]:
    return [rec for number in sorted(lanes) for rec in lanes[number]]


def document(rec: Rec) -> Any:
    """Return a record's JSON value."""
    return None if rec.value is None else json.loads(rec.value)


def documents(records: Iterable[Rec]) -> list[Any]:
    return [document(rec) for rec in records]
