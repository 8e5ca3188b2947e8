"""`/metrics` of real workers agrees with Kafka and with what was fed: offsets, lag, counters; what a worker does not own it does not tell."""

from __future__ import annotations

from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.support.topics import committed_offsets, wait_until
from tests.support.word_app import WordApp
from tests.support.workers import Worker


def scraped(worker: Worker) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urlopen(f"http://127.0.0.1:{worker.web_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix("streamapp_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_two_workers_tell_what_is_theirs(word_app: WordApp) -> None:
    words = [f"word{number % 7}" for number in range(60)]
    word_app.feed(words)
    started = [word_app.workers.start(name, web=True, STREAMAPP_LAG_SAMPLE_INTERVAL="0.5") for name in ("w1", "w2")]
    for worker in started:
        worker.ready()
    word_app.wait_until_done()
    committed = {
        str(number): offset
        for (_, number), offset in committed_offsets(word_app.bootstrap, word_app.app_id, [word_app.words]).items()
    }

    def figures(name: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for worker in started:
            for (each, labels), value in scraped(worker).items():
                if each == name:
                    partition = dict(labels)["partition"]
                    assert partition not in found, "two workers tell of one partition"
                    found[partition] = value
        return found

    wait_until(
        lambda: figures("consumer_committed_offset") == committed and figures("consumer_lag_records") == {"0": 0.0, "1": 0.0},
        deadline=60,
        every=0.3,
        why=lambda: (
            f"{committed} {figures('consumer_committed_offset')} {figures('consumer_lag_records')}\n{word_app.workers.tails()}"
        ),
    )
    whole = [scraped(worker) for worker in started]
    assert sum(each["records_processed_total", frozenset({("agent", "words.number")})] for each in whole) == len(words), [
        key for key in whole[0] if key[0].startswith("records_processed")
    ]
    for each in whole:
        committed_ones = each["transactions_total", frozenset({("outcome", "committed")})]
        assert each["transaction_records_count", frozenset()] == committed_ones
        assert any(name == "build_info" for name, _ in each)
        assert each["loop_lag_seconds", frozenset()] < 5
        assert (
            0 < each["rocksdb_memory_bytes", frozenset()] < each["rocksdb_memory_limit_bytes", frozenset()] == 128 * 1024 * 1024
        )
