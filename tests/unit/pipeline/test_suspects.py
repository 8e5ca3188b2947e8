"""What stands in the metadata of a committed offset says how often a life ended there, and which record it was that was tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.pipeline.suspects import (
    CLEAN_RECORDS,
    CLEAN_SECONDS,
    METADATA_MAX_BYTES,
    NOTHING,
    TRIES,
    TURN_RECORDS,
    TURN_SECONDS,
    UNSURE,
    Count,
    Life,
    Turn,
    count_at,
    life_of,
    read,
    without_own,
    written,
)

NAMES = st.just("") | st.from_regex(r"[0-9a-f]{8}\.[0-9a-f]{8}", fullmatch=True)
COUNTS = st.builds(
    Count,
    starts=st.integers(0, 999_999),
    tries=st.integers(0, 9),
    offset=st.none() | st.integers(0, 2**63 - 1),
    by=NAMES,
    tried=NAMES,
)


@given(COUNTS, st.text(max_size=200))
def test_a_count_comes_back_with_what_others_wrote_beside_it(count: Count, others: str) -> None:
    back, beside = read(written(count, others))
    assert (back, beside) == (count, others)
    assert count == NOTHING or (back.by, back.tried) == (count.by, count.tried)


@given(st.text(max_size=200))
def test_what_others_wrote_counts_as_0_and_stays_byte_for_byte(others: str) -> None:
    assert read(others) == (NOTHING, others)
    assert written(NOTHING, others) == others


@given(COUNTS, st.integers(METADATA_MAX_BYTES - 120, METADATA_MAX_BYTES), st.sampled_from("aé"))
def test_metadata_is_never_larger_than_a_broker_takes_and_what_others_wrote_is_never_cut(
    count: Count, size: int, letter: str
) -> None:
    others = letter * (size // len(letter.encode()))
    told = written(count, others)
    assert len(told.encode()) <= METADATA_MAX_BYTES
    assert told.endswith(others)


@pytest.mark.parametrize(
    "text", ["streamapp:starts=,tries=1", "streamapp:starts=-1,tries=0", "streamapp:starts=1", "starts=3,tries=2"]
)
def test_what_only_looks_like_ours_counts_as_0(text: str) -> None:
    assert read(text) == (NOTHING, text)


def test_a_count_inside_what_others_wrote_does_not_come_to_life_again() -> None:
    count, others = read("streamapp:starts=1,tries=0;streamapp:starts=9,tries=2@4;x")
    assert (count, others) == (Count(starts=1), "x")


# --- a life


def life(found: Count = NOTHING, *, base: int = 10, has_records: bool = True, isolate_after: int = 3) -> Life:
    return Life(base, found, has_records=has_records, isolate_after=isolate_after)


def test_a_life_counts_itself_where_there_is_something_to_handle() -> None:
    assert life(Count(1, 1, 12)).started() == Count(2, 1, 12)
    assert not life(Count(1)).is_counted
    assert life(has_records=False).is_counted
    assert life(isolate_after=0).is_counted


def test_two_lives_without_progress_make_a_suspect_of_the_third() -> None:
    assert [life(Count(starts)).is_suspect for starts in range(4)] == [False, False, True, True]
    assert not life(Count(9), has_records=False).is_suspect
    assert not life(Count(9), isolate_after=0).is_suspect


def test_a_partition_whose_record_was_tried_as_the_last_life_ended_stays_a_suspect() -> None:
    """Those before it in the turn advanced the offset, so few starts are counted there."""
    assert life(Count(0, 1, 11)).is_suspect
    assert not life(Count(0, 1, 11), isolate_after=0).is_suspect


def test_only_deaths_add_up_to_tries_however_often_one_life_hands_the_record_over() -> None:
    first = life(Count(2))
    assert first.trying(11, 10) == first.trying(11, 10) == Count(3, 1, 11)
    assert life(Count(3, 1, 11)).trying(11, 10) == Count(4, 2, 11)


def test_tries_of_one_record_are_not_another_records() -> None:
    """The one that was tried may be compacted, or deleted, meanwhile."""
    assert life(Count(3, 1, 11)).trying(12, 10) == Count(4, 1, 12)
    assert life(Count(0, 1, 11)).trying(12, 12) == Count(0, 1, 12)


def test_a_record_that_ended_two_lives_in_isolation_is_the_culprit() -> None:
    assert life(Count(3, 1, 11)).culprit is None
    assert life(Count(4, 2, 11)).culprit == 11


def test_a_try_that_was_not_made_is_no_death_but_the_partition_stays_a_suspect() -> None:
    found = Count(4, 2, 11, tried=BEFORE)
    after = Life(10, found, has_records=True, isolate_after=3, me=ME, was_in_hand=False)
    assert (after.culprit, after.tries, after.is_suspect) == (None, 1, True)
    assert [after.started(), after.resting(10), after.released(10)] == [Count(5, 1, 11), Count(4, 1, 11), Count(0, 1, 11)]
    assert after.trying(11, 10) == Count(5, 2, 11)
    assert Life(10, NOTHING, has_records=True, isolate_after=3, me=ME, was_in_hand=False).tries == 0


# --- lives of others, and of this one's own


ME, BEFORE, OTHER = life_of("w1"), life_of("w1"), life_of("w2")


def test_a_life_has_a_name_of_its_own_that_tells_its_workers_lives_from_others() -> None:
    assert ME != BEFORE
    assert ME.partition(".")[0] == BEFORE.partition(".")[0] != OTHER.partition(".")[0]


def test_what_this_very_life_wrote_is_no_end_of_it() -> None:
    """It lost its session and got the partition back: it lives."""
    found = Count(1, 1, 11, by=BEFORE, tried=BEFORE)
    mine = Life(10, found, has_records=True, isolate_after=3, me=ME).trying(11, 10)
    assert (mine.starts, mine.tries) == (2, 2)
    assert without_own(mine, 10, ME, (10, found)) == found
    assert without_own(mine, 12, ME, (10, found)) == NOTHING  # it advanced meanwhile
    assert without_own(mine, 10, ME, None) == NOTHING
    assert without_own(mine, 10, OTHER, None) == mine


def test_what_a_clean_revoke_forgot_stays_forgotten_when_the_partition_comes_back() -> None:
    released = Life(10, Count(2, 1, 11), has_records=True, isolate_after=3, me=ME).released(10)
    assert without_own(released, 10, ME, (10, Count(2, 1, 11))) == Count(0, 1, 11)


@pytest.mark.parametrize(
    ("tried", "enough"), [(BEFORE, TRIES), ("", TRIES), (OTHER, TRIES + UNSURE)], ids=["its own", "unknown", "another"]
)
def test_a_record_that_another_worker_tried_last_is_given_more_tries_as_that_one_may_be_alive(tried: str, enough: int) -> None:
    found = [Count(4, tries, 11, by=tried, tried=tried) for tries in range(enough + 1)]
    culprits = [Life(10, each, has_records=True, isolate_after=3, me=ME).culprit for each in found]
    assert culprits == [None] * enough + [11]


@pytest.mark.parametrize(("by", "enough"), [(BEFORE, 2), ("", 2), (OTHER, 2 + UNSURE)], ids=["its own", "unknown", "another"])
def test_a_partition_that_another_worker_began_last_is_a_suspect_later_as_that_one_may_be_alive(by: str, enough: int) -> None:
    lives = [Life(10, Count(starts, by=by), has_records=True, isolate_after=3, me=ME) for starts in range(enough + 1)]
    assert [each.is_suspect for each in lives] == [False] * enough + [True]


def test_tries_go_on_until_even_those_of_others_are_enough() -> None:
    tries = NOTHING
    for worker in ("w1", "w2", "w3", "w4"):
        tries = Life(10, tries, has_records=True, isolate_after=1, me=life_of(worker)).trying(11, 10)
    assert tries.tries == TRIES + UNSURE
    assert Life(10, tries, has_records=True, isolate_after=1, me=life_of("w5")).culprit == 11


# --- turns


def test_between_turns_nothing_stands_there_but_the_deaths() -> None:
    tried = life(Count(3, 1, 11))
    assert tried.resting(10) == Count(3, 1, 11)
    tried.is_counted = True
    assert tried.resting(10) == Count(4, 1, 11)
    assert tried.resting(11) == NOTHING


def test_a_clean_revoke_starts_afresh_but_forgets_no_death_of_a_tried_record() -> None:
    assert life(Count(3, 0)).released(10) == NOTHING
    assert life(Count(3, 1, 11)).released(10) == Count(0, 1, 11)
    assert life(Count(3, 1, 11)).released(12) == NOTHING


def test_a_start_whose_commit_may_have_happened_is_not_counted_twice() -> None:
    for offset, found, is_counted in ((10, Count(1), False), (10, Count(2), True), (11, NOTHING, True)):
        unknown = life(Count(1))
        unknown.read_again(offset, found)
        assert unknown.is_counted == is_counted


def test_a_suspicion_ends_after_so_many_records_or_so_many_seconds() -> None:
    suspect = life(Count(3))
    assert not suspect.is_cleared(1e9)  # it did not run yet
    suspect.opened(100.0)
    suspect.opened(150.0)  # rewound
    assert not suspect.is_cleared(100.0 + CLEAN_SECONDS - 0.1)
    assert suspect.is_cleared(100.0 + CLEAN_SECONDS)
    suspect.clean = CLEAN_RECORDS
    assert suspect.is_cleared(100.0)


# --- turns and commits


def test_a_turn_ends_after_so_many_records() -> None:
    turn = Turn(0.0)
    told = [turn.after(100 + n, 0.1) for n in range(TURN_RECORDS)]
    assert told[:-1] == [Count(0, 1, 100 + n) for n in range(TURN_RECORDS - 1)]
    assert told[-1] == NOTHING
    assert turn.is_over


@pytest.mark.parametrize(("upcoming", "now"), [(None, 0.1), (7, TURN_SECONDS)])
def test_a_turn_ends_when_nothing_is_left_or_its_time_is_over(upcoming: int | None, now: float) -> None:
    turn = Turn(0.0)
    assert turn.after(upcoming, now) == NOTHING
    assert turn.is_over


def test_a_commit_that_advances_the_offset_counts_nothing_and_any_other_what_was_there() -> None:
    present = Count(2, 1, 11)
    assert count_at(10, 10, present, None) == present
    assert count_at(11, 10, present, None) == NOTHING
    assert count_at(10, None, present, None) == NOTHING
    assert count_at(10, 10, present, (10, Count(3, 1, 11))) == Count(3, 1, 11)
    assert count_at(12, 10, present, (10, Count(3, 1, 11))) == NOTHING  # told before the lane advanced in the same unit
