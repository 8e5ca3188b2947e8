"""A worker looks over what it starts on, says each finding once, and remembers what the next start compares with."""

from __future__ import annotations

from streamapp.worker.meta import TopicRow, decode, topic_key
from streamapp.worker.restarts import read_restarts
from tests.support.topic_reader import read_topics
from tests.support.topics import wait_until
from tests.support.word_app import WordApp, said


def test_a_start_tells_its_findings_once_and_writes_down_what_it_saw(word_app: WordApp) -> None:
    first = word_app.start(STREAMAPP_PRODUCER_LINGER="0")
    word_app.feed(["a", "b", "a"])
    word_app.wait_until_done()
    assert first.stop() == 0
    assert said(first.log_text()) == []
    findings = [line for line in first.log_text().splitlines() if "T01: 1 replica on 1 broker" in line]
    assert len(findings) == 1, first.log_text()
    (lane,) = read_topics(word_app.bootstrap, [f"{word_app.app_id}-meta"])[f"{word_app.app_id}-meta"].values()
    rows = {record.key: decode(TopicRow, record.value) for record in lane}
    row = rows[topic_key(word_app.words)]
    assert row is not None
    assert (row.partitions, row.grown_to) == (2, None)
    again = word_app.start()
    wait_until(lambda: len(read_restarts(again.data_dir)) == 1, deadline=60.0, why=again.tail)
    assert again.stop() == 0
    (away,) = read_restarts(again.data_dir)
    assert away >= 0
