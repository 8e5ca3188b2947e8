"""What every TransactionalProducer means by its port, on the broker and in memory: visibility, markers, fencing, pending offsets."""

from __future__ import annotations

from random import Random

import pytest

from streamapp.errors import CommitRefused, DeadlinePassed, DeliveryFailed, OutcomeUnknown, ProducerUnusable, UnitAborted
from streamapp.records import Partition
from tests.support.kafka_records import murmur2
from tests.support.kafkas import TRANSACTION, AnyProducer, Kafka, Seen, member, record, settle, soon

LARGE = Random(1).randbytes(5000)
"""Bytes that no compression makes small."""


def deliver(producer: AnyProducer, topic: str, *values: bytes) -> None:
    """Have records in the open transaction, at the broker."""
    for value in values:
        assert producer.produce(record(topic, value))
    producer.flush(soon())


def transaction(producer: AnyProducer, topic: str, *values: bytes, commit: bool = True) -> None:
    producer.begin()
    deliver(producer, topic, *values)
    if commit:
        producer.commit(soon())
    else:
        producer.abort(soon())


def ended(kafka: Kafka, topic: str) -> int:
    """Return a partition's end once no transaction is open there: a coordinator answers before it has written its markers."""
    offsets, where = kafka.offsets(), Partition(topic, 0)
    settle(lambda: offsets.last_stable(where, soon()) == offsets.bounds(where, soon())[1])
    return offsets.bounds(where, soon())[1]


def values(kafka: Kafka, topic: str, *, committed_only: bool = True) -> list[bytes | None]:
    """Return what a reader sees once no transaction is open there."""
    ended(kafka, topic)
    return [seen.value for seen in kafka.seen(topic, committed_only=committed_only)]


def test_committed_records_are_seen_in_order_and_aborted_ones_never(kafka: Kafka) -> None:
    out = kafka.topic("out")
    producer = kafka.producer("p")
    transaction(producer, out, b"a", b"b")
    transaction(producer, out, b"c", commit=False)
    transaction(producer, out, b"d")
    assert values(kafka, out) == [b"a", b"b", b"d"]
    assert values(kafka, out, committed_only=False) == [b"a", b"b", b"c", b"d"]


def test_a_marker_takes_an_offset_whether_it_commits_or_aborts(kafka: Kafka) -> None:
    out = kafka.topic("out")
    producer = kafka.producer("p")
    transaction(producer, out, b"a")
    transaction(producer, out, b"b", commit=False)
    transaction(producer, out, b"c")
    assert ended(kafka, out) == 6
    assert kafka.seen(out) == [Seen(0, None, b"a"), Seen(4, None, b"c")]


def test_a_transaction_that_did_nothing_leaves_no_trace(kafka: Kafka) -> None:
    out = kafka.topic("out")
    producer = kafka.producer("p")
    for end in (producer.commit, producer.abort):
        producer.begin()
        end(soon())
    assert kafka.offsets().bounds(Partition(out, 0), soon()) == (0, 0)


def test_an_open_transaction_holds_the_last_stable_offset_below_the_high_watermark(kafka: Kafka) -> None:
    out = kafka.topic("out")
    where, offsets = Partition(out, 0), kafka.offsets()
    kafka.feed(out, 0, b"plain")
    producer = kafka.producer("p")
    producer.begin()
    deliver(producer, out, b"a")
    kafka.feed(out, 0, b"behind it")
    assert (offsets.last_stable(where, soon()), offsets.bounds(where, soon())) == (1, (0, 3))
    assert kafka.seen(out) == [Seen(0, None, b"plain")]
    producer.commit(soon())
    assert ended(kafka, out) == 4
    assert values(kafka, out) == [b"plain", b"a", b"behind it"]


def test_of_two_open_transactions_the_older_holds_the_last_stable_offset(kafka: Kafka) -> None:
    out = kafka.topic("out")
    where, offsets = Partition(out, 0), kafka.offsets()
    first, second = kafka.producer("p1"), kafka.producer("p2")
    for producer, value in ((first, b"a"), (second, b"b")):
        producer.begin()
        deliver(producer, out, value)
    second.commit(soon())
    assert (offsets.last_stable(where, soon()), kafka.seen(out)) == (0, [])
    first.abort(soon())
    assert ended(kafka, out) == 4
    assert values(kafka, out) == [b"b"]


def test_one_transaction_ends_in_all_partitions_together(kafka: Kafka) -> None:
    out, log = kafka.topic("out", 2), kafka.topic("log")
    producer = kafka.producer("p")
    producer.begin()
    producer.produce(record(out, b"a"))
    producer.produce(record(out, b"b", partition=1))
    ends: list[int] = []
    producer.produce_changelog(Partition(log, 0), {b"k": b"1", b"gone": None}, ends.append, soon())
    producer.flush(soon())
    assert (kafka.seen(out), kafka.seen(out, 1), kafka.seen(log)) == ([], [], [])
    producer.commit(soon())
    settle(lambda: len(kafka.seen(out) + kafka.seen(out, 1) + kafka.seen(log)) == 4)
    assert (kafka.seen(out), kafka.seen(out, 1)) == ([Seen(0, None, b"a")], [Seen(0, None, b"b")])
    assert (kafka.seen(log), ends) == ([Seen(0, b"k", b"1"), Seen(1, b"gone", None)], [1])


def test_a_delivery_tells_the_record_its_offset(kafka: Kafka) -> None:
    out = kafka.topic("out")
    told: list[int] = []
    producer = kafka.producer("p")
    transaction(producer, out, b"a")
    producer.begin()
    producer.produce(record(out, b"b"), told.append)
    producer.flush(soon())
    producer.commit(soon())
    assert told == [2]


def test_a_key_goes_to_the_partition_that_murmur2_names(kafka: Kafka) -> None:
    out = kafka.topic("out", 3)
    keys = [b"ann", b"bob", b"cid"]
    producer = kafka.producer("p")
    producer.begin()
    for key in keys:
        producer.produce((out, b"", key, -1, 0, []))
    producer.commit(soon())
    settle(lambda: sum(len(kafka.seen(out, number)) for number in range(3)) == len(keys))
    for number in range(3):
        wanted = [key for key in keys if (murmur2(key) & 0x7FFFFFFF) % 3 == number]
        assert [seen.key for seen in kafka.seen(out, number)] == wanted


# --- fencing


def test_an_init_fences_the_older_producer_and_aborts_what_it_left_open(kafka: Kafka) -> None:
    out = kafka.topic("out")
    old = kafka.producer("p")
    old.begin()
    deliver(old, out, b"a")
    new = kafka.producer("p")
    assert ended(kafka, out) == 2
    with pytest.raises(OutcomeUnknown) as refused:
        old.commit(soon())
    assert refused.value.fenced
    transaction(new, out, b"b")
    assert values(kafka, out) == [b"b"]


def test_a_fenced_producer_can_do_nothing_more(kafka: Kafka) -> None:
    out = kafka.topic("out")
    old = kafka.producer("p")
    kafka.producer("p")
    old.begin()
    old.produce(record(out, b"a"))
    with pytest.raises(ProducerUnusable):
        old.flush(soon())
    with pytest.raises(ProducerUnusable):
        old.produce(record(out, b"b"))
    with pytest.raises(ProducerUnusable):
        old.abort(soon())
    assert values(kafka, out, committed_only=False) == []


def test_a_producer_that_was_closed_leaves_its_transaction_open_for_its_successor(kafka: Kafka) -> None:
    out = kafka.topic("out")
    where, offsets = Partition(out, 0), kafka.offsets()
    old = kafka.producer("p")
    old.begin()
    deliver(old, out, b"a")
    old.close()
    with pytest.raises(UnitAborted):
        old.produce(record(out, b"b"))
    assert offsets.last_stable(where, soon()) == 0
    kafka.producer("p")
    assert ended(kafka, out) == 2
    assert values(kafka, out) == []


def test_a_transaction_that_timed_out_is_aborted_and_its_producer_fenced(kafka: Kafka) -> None:
    out = kafka.topic("out")
    producer = kafka.producer("p", timeout=TRANSACTION)
    producer.begin()
    deliver(producer, out, b"a")
    kafka.time_out(out)
    with pytest.raises(OutcomeUnknown) as refused:
        producer.commit(soon())
    assert refused.value.fenced
    transaction(kafka.producer("p"), out, b"b")
    assert values(kafka, out) == [b"b"]


# --- the states of one producer


def test_a_record_outside_a_transaction_is_refused_and_so_is_a_begin_inside_one(kafka: Kafka) -> None:
    out = kafka.topic("out")
    producer = kafka.producer("p")
    with pytest.raises(ProducerUnusable):
        producer.produce(record(out, b"a"))
    producer.begin()
    with pytest.raises(ProducerUnusable):
        producer.begin()


def test_an_abort_outside_a_transaction_does_nothing(kafka: Kafka) -> None:
    producer = kafka.producer("p")
    producer.abort(soon())
    producer.begin()
    producer.abort(soon())
    producer.abort(soon())
    assert not producer.suspect


def test_a_commit_flushes_what_was_not_flushed_and_an_abort_throws_it_away(kafka: Kafka) -> None:
    out = kafka.topic("out")
    producer = kafka.producer("p")
    producer.begin()
    producer.produce(record(out, b"a"))
    producer.commit(soon())
    producer.begin()
    producer.produce(record(out, b"b"))
    producer.abort(soon())
    transaction(producer, out, b"c")
    assert values(kafka, out) == [b"a", b"c"]


def test_a_record_that_is_too_large_spoils_its_transaction_and_the_next_one_there(kafka: Kafka) -> None:
    out, other = kafka.topic("out", max_message_bytes="2000"), kafka.topic("other")
    told: list[int] = []
    producer = kafka.producer("p")
    producer.begin()
    producer.produce(record(out, LARGE), told.append)
    with pytest.raises(DeliveryFailed) as refused:
        producer.flush(soon())
    assert refused.value.too_large
    producer.abort(soon())
    transaction(producer, other, b"elsewhere")
    # The refused batch had used up a sequence number, which the broker never saw.
    with pytest.raises(OutcomeUnknown):
        transaction(producer, out, b"small")
    transaction(kafka.producer("p"), out, b"smaller")
    assert (values(kafka, out), values(kafka, other), told) == ([b"smaller"], [b"elsewhere"], [])


def test_a_refused_record_that_asked_for_no_report_is_told_by_the_end_of_the_transaction(kafka: Kafka) -> None:
    out, source = kafka.topic("out", max_message_bytes="2000"), kafka.topic("in")
    producer = kafka.producer("p")
    with member(kafka, "w1", source) as (consumer, _):
        producer.begin()
        producer.produce(record(out, LARGE))
        producer.flush(soon())
        with pytest.raises(DeliveryFailed) as refused:
            producer.send_offsets({Partition(source, 0): (3, "")}, consumer.group_metadata().result(10), soon())
    assert refused.value.too_large
    producer.abort(soon())
    assert values(kafka, out) == []


def test_a_record_of_an_idempotent_producer_is_seen_once_it_is_flushed(kafka: Kafka) -> None:
    out = kafka.topic("out", max_message_bytes="2000")
    producer = kafka.idempotent("p")
    producer.begin()
    deliver(producer, out, b"a")
    producer.produce(record(out, LARGE))
    with pytest.raises(DeliveryFailed):
        producer.flush(soon())
    deliver(producer, out, b"b")
    assert values(kafka, out) == [b"a", b"b"]


# --- offsets in the transaction


def test_offsets_and_their_metadata_count_with_the_commit_and_never_after_an_abort(kafka: Kafka) -> None:
    source = kafka.topic("in", 2)
    where, other = Partition(source, 0), Partition(source, 1)
    producer, offsets = kafka.producer("p"), kafka.offsets()
    with member(kafka, "w1", source, partitions=2) as (consumer, _):
        for offset, commit in ((3, True), (7, False)):
            producer.begin()
            producer.send_offsets({where: (offset, "mine")}, consumer.group_metadata().result(10), soon())
            if commit:
                producer.commit(soon())
            else:
                producer.abort(soon())
        committed = offsets.committed([where, other], soon())
    assert (committed[where].offset, committed[where].metadata) == (3, "mine")
    assert (committed[other].offset, committed[other].metadata) == (None, "")


def test_committed_waits_for_the_offsets_of_an_open_transaction(kafka: Kafka) -> None:
    source = kafka.topic("in", 2)
    where, other = Partition(source, 0), Partition(source, 1)
    producer, offsets = kafka.producer("p"), kafka.offsets()
    with member(kafka, "w1", source, partitions=2) as (consumer, _):
        producer.begin()
        producer.send_offsets({where: (3, "")}, consumer.group_metadata().result(10), soon())
        with pytest.raises(DeadlinePassed):
            offsets.committed([where], soon(0.5))
        assert offsets.committed([other], soon())[other].offset is None
        producer.commit(soon())
        assert offsets.committed([where], soon())[where].offset == 3


def test_offsets_of_a_transaction_that_its_successor_aborted_are_gone(kafka: Kafka) -> None:
    source = kafka.topic("in")
    where = Partition(source, 0)
    offsets = kafka.offsets()
    with member(kafka, "w1", source) as (consumer, _):
        old = kafka.producer("p")
        old.begin()
        old.send_offsets({where: (3, "")}, consumer.group_metadata().result(10), soon())
        kafka.producer("p")
        assert offsets.committed([where], soon())[where].offset is None
        with pytest.raises(OutcomeUnknown):
            old.commit(soon())
        assert offsets.committed([where], soon())[where].offset is None


def test_metadata_of_an_older_generation_is_refused_and_the_transaction_can_be_aborted(kafka: Kafka) -> None:
    source = kafka.topic("in", 2)
    where = Partition(source, 0)
    producer, offsets = kafka.producer("p"), kafka.offsets()
    with member(kafka, "w1", source, partitions=2) as (consumer, heard):
        stale = consumer.group_metadata().result(10)
        with member(kafka, "w2", source):
            # All, then what it keeps, then the same: behind that the generation turns no more.
            settle(lambda: heard.shares == 3, heard)
            producer.begin()
            with pytest.raises(CommitRefused):
                producer.send_offsets({where: (3, "")}, stale, soon())
            producer.abort(soon())
            # The offsets' group is part of the transaction, though it refused them.
            settle(lambda: not kafka.left_open("p"))
            producer.begin()
            producer.send_offsets({where: (4, "")}, consumer.group_metadata().result(10), soon())
            producer.commit(soon())
    assert offsets.committed([where], soon())[where].offset == 4


def test_metadata_of_a_static_member_that_was_replaced_is_refused(kafka: Kafka) -> None:
    source = kafka.topic("in")
    producer = kafka.producer("p")
    with member(kafka, "w1", source) as (consumer, _):
        stale = consumer.group_metadata().result(10)
    with member(kafka, "w1", source):
        producer.begin()
        with pytest.raises(CommitRefused):
            producer.send_offsets({Partition(source, 0): (3, "")}, stale, soon())
        producer.abort(soon())


def test_metadata_of_a_member_that_the_group_does_not_know_is_refused(kafka: Kafka) -> None:
    source = kafka.topic("in")
    producer = kafka.producer("p")
    with member(kafka, "w1", source) as (consumer, _):
        stale = consumer.group_metadata().result(10)
    with member(kafka, "w2", source, partitions=0) as (_, heard):
        kafka.expire_session("w1")
        settle(lambda: heard.holding == {0}, heard)
    producer.begin()
    with pytest.raises(CommitRefused):
        producer.send_offsets({Partition(source, 0): (3, "")}, stale, soon())
