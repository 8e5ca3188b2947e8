"""A worker whose agent stands holds 64 MiB of fetched records at most, however large each is."""

from __future__ import annotations

from urllib.request import urlopen

from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from tests.support.topics import create_topic, wait_until
from tests.support.word_app import WordApp

RECORDS = 400
EACH = 512 * 1024
HELD = 64 * 1024 * 1024 // EACH
"""Records that the bound is."""
ONE_POLL = 2 * 16 * 1024 * 1024 // EACH
"""What a poll may bring beyond it: the client's own queue, and an answer on its way into that."""
AGENT = """

import asyncio


@app.agent(app.topic("{topic}", value_type=bytes))
async def stands(stream):
    async for _ in stream:
        await asyncio.Event().wait()
"""


def feed(bootstrap: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.kbytes": 1_000_000})
    for number in range(RECORDS):
        producer.produce(topic, b"%d" % number + bytes(EACH), partition=number % 2)
    assert producer.flush(60) == 0


def test_a_worker_does_not_fetch_more_than_it_may_hold(word_app: WordApp) -> None:
    topic = f"{word_app.app_id}-heavy"
    create_topic(word_app.bootstrap, topic, 2)
    create_topic(word_app.bootstrap, word_app.words, 2)
    feed(word_app.bootstrap, topic)
    word_app.declare(more=AGENT.format(topic=topic))
    worker = word_app.workers.start("w1", web=True, STREAMAPP_LAG_SAMPLE_INTERVAL="0.5")
    worker.ready()
    looks: list[float] = []

    def settled() -> bool:
        with urlopen(f"http://127.0.0.1:{worker.web_port}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        looks.append(
            sum(
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == "streamapp_consumer_inflight_records" and sample.labels["topic"] == topic
            )
        )
        return len(looks) > 8 and looks[-1] > 0 and len(set(looks[-8:])) == 1

    wait_until(settled, deadline=60, every=0.5, why=lambda: f"{looks}\n{word_app.workers.tails()}")
    assert HELD <= looks[-1] <= HELD + ONE_POLL, looks
