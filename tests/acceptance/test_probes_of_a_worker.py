"""`/livez` of a real worker stays 200 through a rebalance and a broker's stop, and is 503 with a blocked loop; the other probes and `/metrics`
are served meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer

from streamapp.broker import Broker
from tests.support.broker import QUICK_RETURN
from tests.support.topics import PATIENCE, wait_until
from tests.support.word_app import WordApp
from tests.support.workers import Worker

BLOCKING = """
import time

blocks = app.topic("{app_id}-blocks", value_type=str, partitions=1)


@app.agent(blocks)
async def block(stream):
    async for word in stream:
        time.sleep(13)
"""


def ask(worker: Worker, path: str) -> tuple[int, bytes]:
    """Return status and body; a worker that does not answer within 5 s is one that a supervisor restarts."""
    try:
        with urlopen(f"http://127.0.0.1:{worker.web_port}{path}", timeout=5) as answer:
            return int(answer.status), answer.read()
    except HTTPError as error:
        return error.code, error.read()


def told(worker: Worker, path: str) -> tuple[int, dict[str, Any]]:
    status, body = ask(worker, path)
    return status, json.loads(body)


def readiness(worker: Worker) -> dict[str, Any]:
    return told(worker, "/readyz")[1]


class Watching:
    """Asks `/livez` ten times a second until the end of the block, and keeps every answer."""

    def __init__(self, worker: Worker) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self._worker = worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.answers.append(told(self._worker, "/livez"))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)


@pytest.mark.timeout(300)  # a broker of its own that comes back, and a loop blocked for 13 s
def test_livez_of_a_worker(new_broker: Callable[..., Broker], tmp_path: Path) -> None:
    node = new_broker(properties=QUICK_RETURN)
    with WordApp(node.address, tmp_path / "words") as app:
        app.declare(more=BLOCKING.format(app_id=app.app_id))
        app.feed(["a", "b"] * 20)
        worker = app.workers.start("w1", web=True)
        worker.ready()
        with Watching(worker) as watching:
            second = app.workers.start("w2", web=True)
            second.ready()
            wait_until(lambda: readiness(worker).get("assigned") == 2, deadline=60, why=worker.tail)
            app.wait_until_done()
            node.stop()
            assert ask(worker, "/metrics")[0] == 200
            assert told(worker, "/startupz")[1]["started"] is True
            checks = {each["check"]: each["ok"] for each in told(worker, "/healthz?verbose")[1]["checks"]}
            assert checks["loop"] and checks["progress"] and checks["startup"]
            node.start()
            app.feed(["c"] * 5, create=False)
            app.wait_until_done()
        assert len(watching.answers) > 20
        assert {status for status, _ in watching.answers} == {200}
        blocked(app, worker)


def blocked(app: WordApp, worker: Worker) -> None:
    producer = Producer({"bootstrap.servers": app.bootstrap})
    producer.produce(f"{app.app_id}-blocks", b'"x"')
    assert producer.flush(PATIENCE) == 0
    last: dict[str, Any] = {}

    def is_dead() -> bool:
        status, body = told(worker, "/livez")
        last.update(body)
        return status == 503

    wait_until(is_dead, deadline=60, every=0.2, why=lambda: f"{last}\n{worker.tail()}")
    assert last["failing"] == "loop"
    wait_until(lambda: told(worker, "/livez")[0] == 200, deadline=60, every=0.2, why=worker.tail)
