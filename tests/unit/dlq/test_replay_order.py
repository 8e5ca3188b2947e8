"""Dead letters are sent again in source order, and what a later record of the key has overtaken is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from streamapp.dlq.candidate import Candidate
from streamapp.dlq.order import Overtaken, in_order, latest_per_key
from streamapp.records import Headers, Partition
from streamapp.testing.memory_kafka import MemoryKafka
from tests.support.replay_jobs import SOURCE, letter

Record: TypeAlias = "tuple[bytes | None, Headers | None]"


def overtaken(letters: Sequence[Candidate], buried: Sequence[Candidate] = (), **records: Record) -> set[str]:
    """Return the offsets of letters overtaken by a log of 9 records of other keys and then `records`, as (key, headers)."""
    kafka = MemoryKafka({SOURCE: 1})
    kafka.feed(SOURCE, 0, *[b"{}"] * 9, key=b"others")
    for key, headers in records.values():
        kafka.feed(SOURCE, 0, b"{}", key=key, headers=headers)
    search = Overtaken(letters, buried)
    for record in kafka.records(SOURCE, 0):
        if record.offset() >= search.starts.get(Partition(SOURCE, 0), 0):
            search.see(record)
    return {each.split("@")[0].rpartition("/")[2] for each in search.ids}


def test_each_source_partition_is_sent_in_offset_order_and_none_waits_for_the_end_of_another() -> None:
    letters = [letter(9, partition=1), letter(5), letter(2, partition=1), letter(3), letter(4)]
    assert [(each.source.number, each.facts.source.offset) for each in in_order(letters)] == [
        (0, 3),
        (1, 2),
        (0, 4),
        (1, 9),
        (0, 5),
    ]


def test_only_the_latest_letter_of_a_key_is_kept() -> None:
    letters = [letter(1), letter(2), letter(3, b"bob"), letter(4, None), letter(5, None), letter(6, partition=1)]
    kept, superseded = latest_per_key(letters)
    assert {each.facts.source.offset for each in kept} == {2, 3, 4, 5, 6}
    assert [each.facts.source.offset for each in superseded] == [1]


def test_letters_of_two_agents_do_not_supersede_each_other() -> None:
    kept, superseded = latest_per_key([letter(1), letter(2, agent="another")])
    assert (len(kept), superseded) == (2, [])


def test_a_later_record_of_the_key_overtakes() -> None:
    assert overtaken([letter(3), letter(4, b"bob")], later=(b"ann", None)) == {"3"}


def test_an_earlier_record_of_the_key_does_not() -> None:
    assert overtaken([letter(20)], earlier=(b"ann", None)) == set()


def test_a_later_record_that_is_a_dead_letter_itself_does_not() -> None:
    assert overtaken([letter(3)], buried=[letter(3), letter(9)], later=(b"ann", None)) == set()


def test_a_letters_own_copy_does_not_and_the_copy_of_another_does() -> None:
    own: Headers = [("streamapp.dlq.replay-of", letter(3).id.encode())]
    assert overtaken([letter(3), letter(4)], copy=(b"ann", own)) == {"4"}


def test_what_has_no_key_or_is_held_is_never_overtaken() -> None:
    assert overtaken([letter(3, None), letter(4, order="held")], later=(b"ann", None), other=(None, None)) == set()


def test_what_was_not_read_to_the_end_is_told() -> None:
    search = Overtaken([letter(3), letter(4, None)])
    assert search.give_up([Partition(SOURCE, 0)]) == {letter(3).id}
