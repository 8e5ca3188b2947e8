"""A partition's unresolved dead letters: distinct ids less those that the last row settles, in whatever order letters and rows are read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamapp.pipeline.dead_letter_counts import DeadLetterCounts, Letter, Unresolved
from streamapp.records import Partition

DLQ = Partition("letters", 0)
OTHER = Partition("letters", 1)


def owning(*partitions: Partition, unresolved_bound: int = 1000, settled_bound: int = 1000) -> DeadLetterCounts:
    counts = DeadLetterCounts(unresolved_bound=unresolved_bound, settled_bound=settled_bound)
    counts.own(partitions or (DLQ,))
    return counts


def write(counts: DeadLetterCounts, *ids: str, at_ms: int = 5_000, offset: int = 0, partition: Partition = DLQ) -> None:
    counts.letters(partition, [Letter(id_, at_ms, offset + number) for number, id_ in enumerate(ids)])


def only(counts: DeadLetterCounts) -> Unresolved:
    [found] = counts.unresolved()
    return found


def test_an_id_counts_once_until_a_row_settles_it() -> None:
    counts = owning()
    write(counts, "a", "b", "a", "c")
    assert only(counts) == Unresolved(partition=DLQ, count=3, is_lower_bound=False, oldest=5.0, is_read=False)
    counts.read_to_end(DLQ)
    counts.row("b", is_settled=False)
    counts.row("a", is_settled=True)
    assert (only(counts).count, only(counts).is_read) == (2, True)
    assert (counts.settled("a"), counts.settled("b"), counts.settled("never")) == (True, False, False)


def test_a_row_that_is_read_before_its_letter_counts() -> None:
    counts = owning()
    counts.row("a", is_settled=True)
    write(counts, "a", "b")
    assert only(counts).count == 1


def test_a_reopened_one_counts_again_with_its_first_age_whichever_of_letter_and_row_comes_first() -> None:
    for letter_first in (True, False):
        counts = owning()
        write(counts, "a", at_ms=1_000)
        counts.row("a", is_settled=True)
        assert (only(counts).count, only(counts).oldest) == (0, None)
        if letter_first:
            write(counts, "a", at_ms=9_000, offset=7)
            assert only(counts).count == 0, "the row that belongs to it is yet to come"
            counts.row("a", is_settled=False)
        else:
            counts.row("a", is_settled=False)
            write(counts, "a", at_ms=9_000, offset=7)
        assert (only(counts).count, only(counts).oldest) == (1, 1.0)
        assert not counts.settled("a")


def test_each_owned_partition_has_its_own_and_one_that_went_and_came_back_begins_anew() -> None:
    counts = owning(DLQ, OTHER)
    write(counts, "a", "b")
    write(counts, "c", partition=OTHER)
    assert [(each.partition, each.count) for each in counts.unresolved()] == [(DLQ, 2), (OTHER, 1)]
    counts.own([OTHER])
    write(counts, "d")
    assert [(each.partition, each.count) for each in counts.unresolved()] == [(OTHER, 1)]
    counts.own([DLQ, OTHER])
    assert [(each.count, each.is_read) for each in counts.unresolved()] == [(0, False), (1, False)]


def test_beyond_its_bound_the_count_is_a_lower_bound_until_there_is_room_again() -> None:
    counts = owning(unresolved_bound=4)
    write(counts, "a", "b", "c", "d")
    assert not only(counts).is_lower_bound
    write(counts, "a", "e")
    assert (only(counts).count, only(counts).is_lower_bound) == (4, True)
    assert counts.roomy() == []
    for id_ in ("a", "b", "e"):
        counts.row(id_, is_settled=True)
    assert (only(counts).count, only(counts).is_lower_bound) == (2, True)
    assert counts.roomy() == [DLQ]
    write(counts, "a", "b", "c", "d", "a", "e")
    counts.read_to_end(DLQ)
    assert (only(counts).count, only(counts).is_lower_bound) == (2, False)


def test_letters_that_retention_took_count_no_more_unless_a_later_one_of_their_id_is_left() -> None:
    counts = owning()
    write(counts, "a", "b", "c", "a")
    counts.log_starts(DLQ, 2)
    assert only(counts).count == 2
    counts.log_starts(DLQ, 4)
    assert only(counts).count == 0


def test_what_was_forgotten_is_looked_up_and_told_to_who_asked() -> None:
    counts = owning(settled_bound=1)
    counts.row("a", is_settled=True)
    counts.row("b", is_settled=True)
    assert not counts.look_up()
    assert (counts.settled("a"), counts.settled("b"), counts.settled("never")) == (False, True, False)
    assert counts.look_up()
    for id_ in ("a", "b"):
        counts.recall(id_, is_settled=True)
    assert counts.recalled() == ["a"]
    assert not counts.look_up(), "each is looked up once"


def test_a_partition_that_comes_after_rows_were_forgotten_is_read_only_when_they_are_looked_up() -> None:
    counts = owning(settled_bound=1)
    counts.row("a", is_settled=True)
    counts.row("b", is_settled=True)
    write(counts, "a", "b", "c")
    counts.read_to_end(DLQ)
    assert (only(counts).count, only(counts).is_read) == (2, False)
    assert counts.look_up()
    counts.recall("a", is_settled=True)
    counts.recall("b", is_settled=True)
    assert counts.recalled() == []
    assert (only(counts).count, only(counts).is_read) == (1, True)


def test_one_that_was_reopened_behind_what_was_forgotten_is_looked_up_too() -> None:
    counts = owning(settled_bound=1)
    write(counts, "a")
    counts.row("a", is_settled=True)
    counts.row("b", is_settled=True)
    counts.row("a", is_settled=False)
    counts.read_to_end(DLQ)
    assert counts.look_up()
    for id_, is_settled in (("a", True), ("b", True), ("a", False)):
        counts.recall(id_, is_settled=is_settled)
    counts.recalled()
    assert (only(counts).count, only(counts).is_read) == (1, True)


IDS = st.sampled_from("abcdef")


@given(
    before=st.lists(st.tuples(IDS, st.sampled_from(["letter", "settled", "other"])), max_size=30),
    after=st.lists(st.tuples(IDS, st.sampled_from(["letter", "settled", "other"])), max_size=30),
    order=st.randoms(use_true_random=False),
    settled_bound=st.integers(1, 8),
)
def test_once_all_is_read_the_count_is_what_the_topics_say(
    before: list[tuple[str, str]], after: list[tuple[str, str]], order: object, settled_bound: int
) -> None:
    """`before` is there when the partition comes: its letters and rows are read in any order of the one against the other."""
    counts = owning(settled_bound=settled_bound)
    letters = [id_ for id_, what in before if what == "letter"]
    rows = [(id_, what == "settled") for id_, what in before if what != "letter"]
    turns = [True] * len(letters) + [False] * len(rows)
    order.shuffle(turns)  # type: ignore[attr-defined]  # a Random
    unread, untold = iter(letters), iter(rows)
    for is_letter in turns:
        if is_letter:
            write(counts, next(unread))
        else:
            id_, is_settled = next(untold)
            counts.row(id_, is_settled=is_settled)
    counts.read_to_end(DLQ)
    if counts.look_up():
        for id_, is_settled in rows:
            counts.recall(id_, is_settled=is_settled)
        counts.recalled()
    written, status = set(letters), dict(rows)
    assert only(counts).is_read
    assert only(counts).count == len({id_ for id_ in written if not status.get(id_, False)})
    if settled_bound < len("abcdef"):
        return  # beyond its bound only the letter, not another row, tells of an id that was settled once and is not any more
    for id_, what in after:
        if what == "letter":
            if status.pop(id_, False):
                counts.row(id_, is_settled=False)  # it was replayed, and failed again
            written.add(id_)
            write(counts, id_)
        else:
            status[id_] = what == "settled"
            counts.row(id_, is_settled=what == "settled")
    assert only(counts).count == len({id_ for id_ in written if not status.get(id_, False)})
