"""What every PartitionSource means by its port, on the broker and in memory: callbacks in order, lane numbers, static members, ends."""

from __future__ import annotations

import pytest

from streamapp.clock import Deadline
from streamapp.errors import CommitRefused
from streamapp.records import Partition
from tests.support.kafkas import Heard, Kafka, member, record, settle, soon


def test_a_member_gets_every_partition_paused_and_reads_from_where_it_is_opened(kafka: Kafka) -> None:
    topic = kafka.topic("in", 2)
    kafka.feed(topic, 0, b"a", b"b", b"c")
    kafka.feed(topic, 1, b"x")
    with member(kafka, "w1", topic, partitions=2) as (source, heard):
        told = source.open({Partition(topic, 0): 1}).result(10)
        settle(lambda: heard.values() == [b"b", b"c"], heard)
        assert heard.records.get(1) is None, "a partition that nobody opened stays paused"
        assert told == {Partition(topic, 0): heard.numbers[0][-1]}
        assert heard.under[0] == [heard.numbers[0][-1]] * 2


def test_each_open_gives_a_new_lane_number_and_begins_at_its_offset(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    where = Partition(topic, 0)
    kafka.feed(topic, 0, b"a", b"b")
    with member(kafka, "w1", topic) as (source, heard):
        source.open({where: 0}).result(10)
        settle(lambda: heard.values() == [b"a", b"b"], heard)
        source.open({where: 1}).result(10)
        settle(lambda: heard.values() == [b"a", b"b", b"b"], heard)
        assert len(heard.numbers[0]) == 3
        assert heard.numbers[0] == sorted(set(heard.numbers[0]))
        assert heard.under[0] == [heard.numbers[0][1]] * 2 + [heard.numbers[0][2]]


def test_a_partition_that_is_not_assigned_is_left_out_of_the_answer_to_open(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    with member(kafka, "w1", topic) as (source, _):
        assert source.open({Partition(topic, 7): 0}).result(10) == {}


def test_the_end_is_told_behind_the_markers(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    producer = kafka.producer("p")
    with member(kafka, "w1", topic) as (source, heard):
        source.open({Partition(topic, 0): 0}).result(10)
        settle(lambda: heard.ends.get(0, [])[-1:] == [0], heard)
        producer.begin()
        producer.produce(record(topic, b"a"))
        producer.commit(soon())
        settle(lambda: heard.ends[0][-1] == 2, heard)
        producer.begin()
        producer.produce(record(topic, b"dropped"))
        producer.flush(soon())
        producer.abort(soon())
        settle(lambda: heard.ends[0][-1] == 4, heard)
        assert heard.values() == [b"a"]


def test_behind_an_open_transaction_nothing_comes_and_the_end_is_its_first_offset(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    kafka.feed(topic, 0, b"a")
    producer = kafka.producer("p")
    producer.begin()
    producer.produce(record(topic, b"b"))
    producer.flush(soon())
    kafka.feed(topic, 0, b"c")
    with member(kafka, "w1", topic) as (source, heard):
        source.open({Partition(topic, 0): 0}).result(10)
        settle(lambda: heard.ends.get(0) == [1], heard)
        assert heard.values() == [b"a"]
        producer.commit(soon())
        settle(lambda: heard.ends[0][-1] == 4, heard)
        assert heard.values() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("offset", [1, 50])
def test_a_position_that_the_log_does_not_have_is_told_and_a_new_open_heals_it(kafka: Kafka, offset: int) -> None:
    topic = kafka.topic("in")
    kafka.feed(topic, 0, b"a", b"b", b"c", b"d")
    kafka.delete_records(topic, 0, 3)
    with member(kafka, "w1", topic) as (source, heard):
        source.open({Partition(topic, 0): offset}).result(10)
        settle(lambda: heard.strays == [0], heard)
        source.open({Partition(topic, 0): 3}).result(10)
        settle(lambda: heard.values() == [b"d"], heard)


# --- rebalances


def test_what_moves_is_given_back_before_its_new_owner_has_it_and_what_stays_is_not_touched(kafka: Kafka) -> None:
    topic = kafka.topic("in", 4)
    with member(kafka, "w1", topic, partitions=4) as (source, first):
        source.open({Partition(topic, number): 0 for number in range(4)}).result(10)
        kept_numbers = {number: list(numbers) for number, numbers in first.numbers.items()}
        first.holds = True
        second = Heard()
        other = kafka.source("w2", [topic], second)
        other.start()
        settle(lambda: first.held, first)
        settle(lambda: second.told, second)
        assert second.told == [("assigned", [])], "nobody has what is not given back yet"
        first.holds = False
        first.held.pop().set_result(None)
        settle(lambda: len(second.holding) == 2, second)
        gone = sorted(second.holding)
        assert first.told[1:4] == [("revoking", gone), ("revoked", gone), ("assigned", [])]
        kept = first.holding
        assert kept | second.holding == {0, 1, 2, 3}
        for number in kept:
            kafka.feed(topic, number, b"still here")
        settle(lambda: all(first.values(number) == [b"still here"] for number in kept), first)
        assert {number: first.numbers[number] for number in kept} == {number: kept_numbers[number] for number in kept}


def test_metadata_can_be_had_while_a_member_gives_back(kafka: Kafka) -> None:
    topic = kafka.topic("in", 2)
    where = Partition(topic, 0)
    producer = kafka.producer("p")
    with member(kafka, "w1", topic, partitions=2) as (source, first):
        first.holds = True
        other = kafka.source("w2", [topic], Heard())
        other.start()
        settle(lambda: first.held, first)
        producer.begin()
        producer.send_offsets({where: (5, "")}, source.group_metadata().result(10), soon())
        producer.commit(soon())
        first.holds = False
        first.held.pop().set_result(None)
        settle(lambda: len(first.holding) == 1, first)
    assert kafka.offsets().committed([where], soon())[where].offset == 5


def test_an_eager_member_gives_all_back_and_gets_its_share_anew(kafka: Kafka) -> None:
    topics = [kafka.topic("a", 2), kafka.topic("b", 2)]
    first, second = Heard(), Heard()
    kafka.source("w1", topics, first, is_eager=True).start()
    settle(lambda: first.told and first.told[-1] == ("assigned", [0, 0, 1, 1]), first)
    kafka.source("w2", topics, second, is_eager=True).start()
    settle(lambda: second.told and second.told[-1][1] in ([0, 0], [1, 1]), second)
    settle(lambda: first.told[-1][1] in ([0, 0], [1, 1]), first)
    assert first.told[1:3] == [("revoking", [0, 0, 1, 1]), ("revoked", [0, 0, 1, 1])]
    assert first.told[-1][1] + second.told[-1][1] in ([0, 0, 1, 1], [1, 1, 0, 0]), "one number of all topics on one worker"


def test_a_static_member_is_back_in_its_place_and_nobody_else_notices(kafka: Kafka) -> None:
    topic = kafka.topic("in", 2)
    with member(kafka, "w1", topic, partitions=2) as (_, first):
        with member(kafka, "w2", topic) as (_, second):
            settle(lambda: len(first.holding) == 1, first)
            held = second.holding
        assert second.told[-1] == ("revoked", sorted(held)), "closing gives back, without leaving"
        # At first all; in the first round of the rebalance what it keeps; in the second the same.
        settle(lambda: first.shares == 3, first)
        before = list(first.told)
        with member(kafka, "w2", topic) as (_, again):
            assert again.holding == held
            assert first.told == before


def test_a_member_whose_session_ended_leaves_its_partitions_to_others(kafka: Kafka) -> None:
    topic = kafka.topic("in", 2)
    with member(kafka, "w1", topic, partitions=2):
        pass
    with member(kafka, "w2", topic, partitions=0) as (_, heard):
        kafka.expire_session("w1")
        settle(lambda: heard.holding == {0, 1}, heard)


def test_a_static_member_with_a_live_rival_is_fenced_and_told_so(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    with member(kafka, "w1", topic) as (_, first):
        rival = Heard()
        kafka.source("w1", [topic], rival).start()
        settle(lambda: ("lost", [0]) in first.told + rival.told, first)
        # Each takes the place back from the other until one has been fenced twice.
        settle(lambda: first.failures or rival.failures, first)


# --- metadata and offsets


def test_there_is_no_metadata_before_the_join_nor_after_the_end(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    source = kafka.source("w1", [topic], Heard())
    heard = Heard()
    joined = kafka.source("w2", [topic], heard)
    joined.start()
    settle(lambda: heard.holding == {0}, heard)
    joined.stop(Deadline.after(10.0))
    joined.stop(Deadline.after(10.0))
    with pytest.raises(CommitRefused):
        joined.group_metadata().result(10)
    source.stop(Deadline.after(1.0))


def test_offsets_committed_without_a_transaction_count_at_once(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    where = Partition(topic, 0)
    with member(kafka, "w1", topic) as (source, _):
        source.commit({where: (4, "said")}).result(10)
        answer = kafka.offsets().committed([where], soon())[where]
    assert (answer.offset, answer.metadata) == (4, "said")
