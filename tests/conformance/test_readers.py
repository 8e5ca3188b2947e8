"""What every ChangelogReader and Admin means by its port, on the broker and in memory: bounds, ends behind markers, compaction, ids."""

from __future__ import annotations

import pytest

from streamapp.errors import BrokerUnreachable
from streamapp.ports import ChangelogBounds
from streamapp.records import Partition
from tests.support.kafkas import Kafka, read_until, record, settle, soon


def test_a_read_brings_the_last_value_of_each_key_and_its_position_behind_the_markers(kafka: Kafka) -> None:
    log = kafka.topic("log", cleanup_policy="compact")
    where = Partition(log, 0)
    producer = kafka.producer("p")
    for writes, commit in (({b"a": b"1", b"b": b"1"}, True), ({b"a": b"9"}, False), ({b"a": b"2", b"b": None}, True)):
        producer.begin()
        producer.produce_changelog(where, writes, lambda offset: None, soon())
        producer.flush(soon())
        if commit:
            producer.commit(soon())
        else:
            producer.abort(soon())
    reader = kafka.changelogs()
    assert reader.bounds(where, 10) in (ChangelogBounds(0, 8), ChangelogBounds(0, 7)), "the last marker may be on its way"
    reader.open(where, 0)
    whole = read_until(reader, where, lambda batch: batch.at_end and batch.position == 8)
    assert (whole.writes, whole.records) == ({b"a": b"2", b"b": None}, 4)


def test_bounds_cover_an_open_transaction_and_a_read_stops_before_it_until_it_ends(kafka: Kafka) -> None:
    log = kafka.topic("log")
    where = Partition(log, 0)
    kafka.feed(log, 0, b"1", key=b"a")
    producer = kafka.producer("p")
    producer.begin()
    producer.produce_changelog(where, {b"a": b"2"}, lambda offset: None, soon())
    producer.flush(soon())
    reader = kafka.changelogs()
    assert reader.bounds(where, 10) == ChangelogBounds(0, 2)
    reader.open(where, 0)
    before = read_until(reader, where, lambda batch: batch.at_end)
    assert (before.writes, before.position) == ({b"a": b"1"}, 1)
    producer.commit(soon())
    after = read_until(reader, where, lambda batch: batch.position == 3)
    assert after.writes == {b"a": b"2"}


@pytest.mark.parametrize("offset", [1, 9])
def test_an_offset_outside_the_log_is_told_as_truncated(kafka: Kafka, offset: int) -> None:
    log = kafka.topic("log")
    where = Partition(log, 0)
    kafka.feed(log, 0, b"1", b"2", b"3", key=b"a")
    kafka.delete_records(log, 0, 2)
    reader = kafka.changelogs()
    assert reader.bounds(where, 10) == ChangelogBounds(2, 3)
    reader.open(where, offset)
    assert read_until(reader, where, lambda batch: batch.truncated).records == 0
    reader.open(where, 2)
    assert read_until(reader, where, lambda batch: batch.at_end).writes == {b"a": b"3"}


def test_nothing_comes_of_a_partition_that_was_shut_and_others_go_on(kafka: Kafka) -> None:
    log = kafka.topic("log", 2)
    shut, other = Partition(log, 0), Partition(log, 1)
    reader = kafka.changelogs()
    for where in (shut, other):
        reader.open(where, 0)
    reader.shut(shut)
    reader.shut(shut)
    kafka.feed(log, 0, b"1", key=b"a")
    kafka.feed(log, 1, b"1", key=b"a")
    batches = {}
    settle(lambda: batches.update(reader.read(0.1)) or (batches.get(other) and batches[other].records))
    assert shut not in batches


def test_compaction_keeps_the_last_value_of_each_key_tombstones_included(kafka: Kafka) -> None:
    log = kafka.topic(
        "log", cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01", delete_retention_ms="86400000"
    )
    where = Partition(log, 0)
    producer = kafka.producer("p")
    for value in (b"1", b"2", None):
        producer.begin()
        producer.produce(record(log, value, b"gone"))
        producer.produce(record(log, b"kept", b"stays"))
        producer.flush(soon())
        producer.commit(soon())
    kafka.compact(log, lambda: len([seen for seen in kafka.seen(log) if seen.key in (b"gone", b"stays")]) == 2)
    found = [seen for seen in kafka.seen(log) if seen.key in (b"gone", b"stays")]
    assert [(seen.offset, seen.key, seen.value) for seen in found] == [(6, b"gone", None), (7, b"stays", b"kept")]
    reader = kafka.changelogs()
    bounds = reader.bounds(where, 10)
    assert bounds.start == 0, "compaction leaves the start where it is"
    reader.open(where, 0)
    whole = read_until(reader, where, lambda batch: batch.at_end)
    assert whole.writes == {b"gone": None, b"stays": b"kept", b"roll": b""}
    assert whole.position == bounds.high_watermark


def test_an_admin_tells_counts_settings_and_an_id_that_a_topic_made_again_does_not_share(kafka: Kafka) -> None:
    admin = kafka.admin()
    name = kafka.topic("made", 3, cleanup_policy="compact")
    assert admin.partition_counts([name, f"{name}-not-there"], soon()) == {name: 3}
    assert admin.topic_configs([name], soon())[name]["cleanup.policy"] == "compact"
    assert admin.topic_configs([name], soon())[name]["delete.retention.ms"] == "86400000"
    first = admin.topic_ids([name], soon())[name]
    assert admin.topic_ids([name], soon())[name] == first
    assert not admin.create(name, 1, {}, -1, soon())
    kafka.drop_topic(name)
    assert admin.create(name, 1, {}, -1, soon())
    settle(lambda: admin.partition_counts([name], soon()) == {name: 1})
    assert admin.topic_ids([name], soon())[name] != first


def test_an_admin_gives_up_on_a_topic_that_does_not_appear(kafka: Kafka) -> None:
    with pytest.raises(BrokerUnreachable):
        kafka.admin().topic_ids([f"{kafka.group}-never"], soon(0.5))
