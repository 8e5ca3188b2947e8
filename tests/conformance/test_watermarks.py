"""What every Watermarks means by its port, on the broker and in memory: ends with and without open transactions, starts, the unknown."""

from __future__ import annotations

from streamapp.ports import LogEnds
from streamapp.records import Partition
from tests.support.kafkas import Kafka, record, settle, soon


def test_many_partitions_are_told_at_once_each_with_its_own_ends_and_start(kafka: Kafka) -> None:
    topics = [kafka.topic("a", 3), kafka.topic("b", 2)]
    where = [Partition(topic, number) for topic, count in zip(topics, (3, 2), strict=True) for number in range(count)]
    for length, partition in enumerate(where):
        kafka.feed(partition.topic, partition.number, *[b"x"] * length)
    kafka.delete_records(topics[1], 1, 3)
    watermarks = kafka.watermarks()
    assert watermarks.ends(where, soon()) == {partition: LogEnds(n, n) for n, partition in enumerate(where)}
    assert watermarks.starts(where, soon()) == {**dict.fromkeys(where, 0), where[4]: 3}


def test_an_open_transaction_holds_the_stable_end_back_until_it_ends(kafka: Kafka) -> None:
    topic = kafka.topic("log")
    where = Partition(topic, 0)
    kafka.feed(topic, 0, b"1")
    producer = kafka.producer("p")
    producer.begin()
    producer.produce(record(topic, b"2", partition=0))
    producer.flush(soon())
    watermarks = kafka.watermarks()
    assert watermarks.ends([where], soon()) == {where: LogEnds(1, 2)}
    producer.commit(soon())
    settle(lambda: watermarks.ends([where], soon()) == {where: LogEnds(3, 3)})


def test_a_partition_that_is_not_there_is_absent_and_costs_the_others_nothing(kafka: Kafka) -> None:
    topic = kafka.topic("log")
    there, not_there = Partition(topic, 0), Partition(f"{topic}-never", 0)
    kafka.feed(topic, 0, b"1")
    watermarks = kafka.watermarks()
    assert watermarks.ends([not_there, there], soon(0.5)) == {there: LogEnds(1, 1)}
    assert watermarks.starts([not_there, there], soon(0.5)) == {there: 0}
    assert watermarks.ends([], soon()) == {}
