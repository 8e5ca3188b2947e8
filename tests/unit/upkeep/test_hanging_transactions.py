"""Which open transactions hang, by what partition and coordinator tell; which may be ended, how, and which only by force."""

from __future__ import annotations

import pytest

from streamapp.kafka.transactions import CoordinatedTransaction, Marker, OpenProducer
from streamapp.records import Partition
from streamapp.upkeep.open_transactions import Marking, OpenTransaction, Wish, endings, judged, offsets_partition, waits_for

HERE = Partition("orders", 3)
NOW = 1_000_000.0
PRODUCER = OpenProducer(producer_id=7, epoch=2, start=40, last_timestamp_ms=round((NOW - 5) * 1000), coordinator_epoch=4)


def told(
    state: str = "Ongoing", *, epoch: int = 2, age: float = 5.0, partitions: tuple[Partition, ...] = (HERE,)
) -> CoordinatedTransaction:
    return CoordinatedTransaction(
        "shop-w1", 7, epoch, state, 30_000, round((NOW - age) * 1000), frozenset(partitions), ("b1", 9092)
    )


def one(of: CoordinatedTransaction | None, *, is_complete: bool = True) -> OpenTransaction:
    return judged(HERE, PRODUCER, of, is_complete=is_complete, now=NOW)


@pytest.mark.parametrize(
    ("of", "hanging", "ends_by", "why"),
    [
        (None, True, "abort", "no coordinator knows its producer"),
        (told(), False, "abort", "its coordinator ends it within 40 s"),
        (told(age=39), False, "abort", "within 40 s"),
        (told(age=41), True, "abort", "open for 41 s; the broker should have ended it after 40 s"),
        (told("CompleteAbort"), True, "abort", "calls it CompleteAbort"),
        (told("CompleteCommit"), True, "commit", "lacks a commit marker"),
        (told("CompleteCommit", epoch=3), True, "abort", "calls it CompleteCommit"),
        (told("Empty"), True, "abort", "calls it Empty"),
        (told("PrepareCommit"), False, "abort", "within 40 s"),
        (told("PrepareCommit", age=60), True, "commit", "open for 60 s"),
        (told(epoch=3), True, "abort", "its coordinator is at epoch 3"),
        (told(partitions=(Partition("orders", 4),)), True, "abort", "another transaction open"),
    ],
)
def test_it_hangs_when_its_coordinator_will_not_end_it(
    of: CoordinatedTransaction | None, hanging: bool, ends_by: str, why: str
) -> None:
    verdict = one(of)
    assert (verdict.hanging, str(verdict.ends_by)) == (hanging, ends_by)
    assert why in verdict.why


def test_where_a_broker_is_silent_an_unknown_producer_proves_nothing() -> None:
    verdict = one(None, is_complete=False)
    assert not verdict.hanging
    assert verdict.age == 5.0, "by its last record's time"
    assert endings([verdict], Wish(), commits=False, force=False).ended == ()


def test_its_age_is_told_by_its_coordinator_only_while_it_is_open_there() -> None:
    assert one(told(age=20)).age == 20
    assert one(told("CompleteAbort", age=2_000)).age == 5.0


def test_a_marker_carries_the_epochs_of_the_partition() -> None:
    assert one(None).marker == Marker(HERE, 7, 2, 4, commits=False)
    unknown = judged(HERE, OpenProducer(7, 2, 40, -1), None, is_complete=True, now=NOW)
    assert (unknown.marker.coordinator_epoch, unknown.age) == (0, None)


def test_a_live_one_is_ended_by_force_only() -> None:
    live = one(told())
    (refused,) = endings([live], Wish(), commits=False, force=False).refused
    assert "abort --transactional-id shop-w1 ends it cleanly" in refused[1]
    assert endings([live], Wish(), commits=False, force=True).ended == (live,)


def test_a_committed_one_is_committed_when_asked_and_aborted_by_force_only() -> None:
    committed = one(told("CompleteCommit"))
    chosen = endings([committed], Wish(hanging=True), commits=False, force=False)
    assert chosen.ended == () and "--commit" in chosen.refused[0][1]
    assert [each.marker.commits for each in endings([committed], Wish(), commits=True, force=False).ended] == [True]
    assert [each.ends_by for each in endings([committed], Wish(), commits=False, force=True).ended] == [Marking.ABORT]


@pytest.mark.parametrize(
    ("wish", "meant"),
    [
        (Wish(), True),
        (Wish(topics=frozenset({"orders"}), partition=3, start=40), True),
        (Wish(start=41), False),
        (Wish(partition=4), False),
        (Wish(topics=frozenset({"sales"})), False),
        (Wish(producer_id=7), True),
        (Wish(producer_id=8), False),
        (Wish(hanging=True), False),
    ],
)
def test_a_wish_means_what_all_of_it_says(wish: Wish, meant: bool) -> None:
    assert wish.means(one(told())) is meant


def test_what_waits_is_told_by_the_topics_role() -> None:
    assert waits_for(HERE, "source", "shop", 120) == ("group shop reads orders/3: 120 records wait",)
    assert waits_for(HERE, "changelog", "shop", None) == ("restores of orders/3: what follows waits",)
    assert waits_for(Partition("__consumer_offsets", 3), None, "shop", 2) == (
        "committed offsets of group shop: its restores and restarts wait",
    )
    assert waits_for(HERE, None, "shop", 1) == ()


@pytest.mark.parametrize(
    ("group", "hash_code"),
    [("", 0), ("a", 97), ("hello", 99_162_322), ("polygenelubricants", -(2**31)), ("order-processor", -1129616173)],
)
def test_a_groups_offsets_lie_where_javas_hash_puts_them(group: str, hash_code: int) -> None:
    assert offsets_partition(group, 50).number == (0 if hash_code == -(2**31) else abs(hash_code)) % 50
