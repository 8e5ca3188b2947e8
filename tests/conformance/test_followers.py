"""What every TopicFollower means by its port, on the broker and in memory: committed records only, ends told, and on behind them."""

from __future__ import annotations

from collections.abc import Callable

from streamapp.ports import Followed, TopicFollower
from streamapp.records import Partition
from tests.support.kafkas import Kafka, soon
from tests.support.topics import PATIENCE, wait_until


def follow(follower: TopicFollower, partition: Partition, until: Callable[[Followed], bool]) -> Followed:
    """Read on until what came of `partition` in all is enough."""
    whole = Followed([], -1, at_end=False)

    def enough() -> bool:
        batch = follower.read(0.2).get(partition)
        if batch is not None:
            whole.records += batch.records
            whole.position, whole.at_end = batch.position, batch.at_end
        return batch is not None and until(whole)

    wait_until(enough, deadline=PATIENCE, why=lambda: f"{partition}: {whole}")
    return whole


def values(batch: Followed) -> list[bytes | None]:
    return [record.value() for record in batch.records]


def test_it_brings_what_is_committed_tells_the_end_and_goes_on_behind_it(kafka: Kafka) -> None:
    where = Partition(kafka.topic("letters"), 0)
    kafka.feed(where.topic, 0, b"1", b"2", key=b"k")
    follower = kafka.follower()
    follower.open(where, None)
    first = follow(follower, where, lambda batch: batch.at_end)
    assert (values(first), first.position) == ([b"1", b"2"], 2)
    producer = kafka.producer("p")
    for value, commit in ((b"3", False), (b"4", True)):
        producer.begin()
        producer.produce((where.topic, value, b"k", 0, 0, [("h", value)]))
        producer.flush(soon())
        if commit:
            producer.commit(soon())
        else:
            producer.abort(soon())
    more = follow(follower, where, lambda batch: batch.at_end and batch.position == 6)
    assert [(record.offset(), record.key(), record.headers()) for record in more.records] == [(4, b"k", [("h", b"4")])]


def test_one_begins_where_it_is_told_and_anew_while_others_go_on(kafka: Kafka) -> None:
    topic = kafka.topic("letters", 2)
    one, other = Partition(topic, 0), Partition(topic, 1)
    kafka.feed(topic, 0, b"1", b"2", b"3")
    kafka.feed(topic, 1, b"a")
    follower = kafka.follower()
    follower.open(one, 2)
    assert values(follow(follower, one, lambda batch: batch.at_end)) == [b"3"]
    follower.open(other, None)
    assert values(follow(follower, other, lambda batch: batch.at_end)) == [b"a"]
    follower.open(one, None)
    assert values(follow(follower, one, lambda batch: batch.at_end)) == [b"1", b"2", b"3"]
    follower.shut(one)
    follower.shut(one)
    kafka.feed(topic, 0, b"4")
    kafka.feed(topic, 1, b"b")
    seen: set[Partition] = set()

    def came() -> bool:
        batches = follower.read(0.2)
        seen.update(batches)
        return any(b"b" in values(batch) for batch in batches.values())

    wait_until(came, deadline=PATIENCE, why=lambda: "nothing of the other partition")
    assert seen == {other}


def test_what_the_log_has_no_more_is_left_out_and_its_start_is_told(kafka: Kafka) -> None:
    where = Partition(kafka.topic("letters"), 0)
    kafka.feed(where.topic, 0, b"1", b"2", b"3")
    kafka.delete_records(where.topic, 0, 2)
    follower = kafka.follower()
    assert follower.start_of(where, 10) == 2
    for offset in (None, 0, 9):
        follower.open(where, offset)
        assert values(follow(follower, where, lambda batch: batch.at_end)) == [b"3"]
