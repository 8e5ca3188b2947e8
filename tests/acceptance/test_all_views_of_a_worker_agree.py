"""Command, page, metrics, status document and Kafka tell the same offsets, lag and status of a partition that stands with records unread."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any, Final
from urllib.request import urlopen

from confluent_kafka import Producer

from tests.acceptance.test_metrics_of_a_worker import scraped
from tests.support.topics import committed_offsets, wait_until, watermarks
from tests.support.word_app import WordApp
from tests.support.workers import Worker

MORE: Final = """
from streamapp import Permanent

stuck = app.topic("{topic}", value_type=str, partitions=1)


@app.agent(stuck, on_error="stop")
async def halt(stream):
    async for word in stream:
        if word == "stop":
            raise Permanent("here")
"""
UNREAD: Final = ["stop", "c", "d", "e"]


class _Rows(HTMLParser):
    """Collects the texts of a page's table cells, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self._is_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.rows[-1][-1] += data


def answer(worker: Worker, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{worker.web_port}{path}", timeout=10) as told:
        text: str = told.read().decode()
    return text


def of_the_page(worker: Worker, where: str) -> list[str]:
    reader = _Rows()
    reader.feed(answer(worker, "/"))
    (row,) = [row for row in reader.rows if row and row[0].strip() == where and len(row) > 8]
    return [cell.strip() for cell in row]


def of_status(worker: Worker, topic: str) -> dict[str, Any]:
    told = json.loads(answer(worker, "/streamapp/status.json"))
    (row,) = [each for each in told["partitions"] if each["topic"] == topic]
    return dict(row)


def test_a_stopped_partition_looks_the_same_from_everywhere(word_app: WordApp) -> None:
    topic = f"{word_app.app_id}-stuck"
    word_app.declare(more=MORE.format(topic=topic))
    word_app.feed(["w"])
    worker = word_app.workers.start("w1", web=True, STREAMAPP_LAG_SAMPLE_INTERVAL="0.3")
    worker.ready()
    producer = Producer({"bootstrap.servers": word_app.bootstrap})
    for word in ["a", "b", *UNREAD]:
        producer.produce(topic, json.dumps(word).encode())
    assert producer.flush(30) == 0
    wait_until(
        lambda: of_status(worker, topic)["lag"] == len(UNREAD) and of_status(worker, topic)["standing"],
        deadline=60, every=0.2, why=lambda: f"{of_status(worker, topic)}\n{worker.tail()}",
    )  # fmt: skip
    status = of_status(worker, topic)
    kafka = committed_offsets(word_app.bootstrap, word_app.app_id, [topic])[topic, 0]
    stable, high = watermarks(word_app.bootstrap, [topic])[topic, 0]
    assert (status["committed"], status["end"], status["high_watermark"], status["raw_lag"]) == (
        kafka,
        stable,
        high,
        high - kafka,
    )
    assert [each["kind"] for each in status["standing"]] == ["stopped"]

    metrics = scraped(worker)
    labels = frozenset({("group", word_app.app_id), ("topic", topic), ("partition", "0")})
    assert metrics["consumer_lag_records", labels] == status["lag"]
    assert metrics["consumer_committed_offset", labels] == kafka
    assert metrics["consumer_log_end_offset", labels] == stable
    assert metrics["consumer_status", labels | {("status", status["status"])}] == 1

    asked = word_app.run("lag", "--json", "--from", f"http://127.0.0.1:{worker.web_port}")
    assert asked.returncode == 0, asked.stderr
    rows = [json.loads(line) for line in asked.stdout.splitlines()]
    (row,) = [each for each in rows if each.get("topic") == topic]
    assert (row["committed"], row["lag"], row["status"], row["worker"]) == (kafka, status["lag"], status["status"], "w1")

    shown = of_the_page(worker, f"{topic}/0")
    assert str(len(UNREAD)) in shown, shown
    assert "w1" in shown[-1]
