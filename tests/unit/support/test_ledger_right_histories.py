"""What a right engine writes is green, whatever the orders were."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ledger import check
from tests.unit.support.histories import DAY, NOW, Sent, bury, poison, run

headers = st.lists(
    st.tuples(st.sampled_from(["a", "b", "traceparent", "streamapp.x"]), st.none() | st.binary(max_size=3)), max_size=3
).map(tuple)
orders = st.builds(
    Sent,
    order_id=st.sampled_from([f"o-{n}" for n in range(12)]),
    customer=st.sampled_from(["ann", "bob", "zoë", "\U0001f600" * 64, "nul\0"]),
    sku=st.sampled_from(["tea", "milk", "Ω"]),
    quantity=st.integers(1, 10_000),
    price=st.integers(0, 100_000_000),
    at=st.integers(NOW - 20 * DAY, NOW),
    headers=headers,
    lane=st.none() | st.integers(0, 7),
)
poisons = st.builds(poison, st.sampled_from([None, b"", b"{", b"[]", b"\xff"]), headers=headers)


@settings(max_examples=150)
@given(st.lists(orders | poisons, max_size=40))
def test_a_right_history_is_green(sent: list[Sent]) -> None:
    verdict = check(run(sent).history()).require_ok()
    counts = verdict.counts
    assert counts.orders == len(sent)
    assert counts.priced + counts.duplicates + counts.dead_letters == len(sent)


def test_counts_and_tops_are_what_a_person_would_count() -> None:
    sent = [
        Sent("o-1", "ann", "tea", 2, 150),
        Sent("o-2", "bob", "milk", 10, 90),
        Sent("o-1", "ann", "tea", 2, 150),
        poison(b"nonsense"),
        Sent("o-3", "ann", "milk", 1, 1),
    ]
    counts = check(run(sent).history()).require_ok().counts
    assert (counts.orders, counts.priced, counts.duplicates, counts.dead_letters) == (5, 3, 1, 1)
    assert counts.top_customers == [("bob", 1, 900), ("ann", 2, 301)]
    assert counts.top_skus == [("milk", 11), ("tea", 2)]
    assert dict(counts.dead_letters_by_error) == {("streamapp.errors.DecodeFailed", "decode"): 1}


def test_a_duplicate_exactly_seven_days_later_is_an_order_again_and_one_a_millisecond_earlier_is_not() -> None:
    first = Sent(at=NOW - 7 * DAY)
    assert check(run([first, replace(first, at=NOW)]).history()).require_ok().counts.priced == 2
    early = check(run([first, replace(first, at=NOW - 1)]).history()).require_ok().counts
    assert (early.priced, early.duplicates) == (1, 1)


def test_a_duplicate_does_not_refresh_the_mark() -> None:
    sent = [Sent(at=NOW - 7 * DAY), Sent(at=NOW - 1), Sent(at=NOW)]
    counts = check(run(sent).history()).require_ok().counts
    assert (counts.priced, counts.duplicates) == (2, 1)


def test_one_id_in_two_partitions_is_priced_in_both() -> None:
    history = run([Sent(customer="ann", lane=1), Sent(customer="ann", lane=2)]).history()
    assert check(history).require_ok().counts.priced == 2


def test_an_order_of_a_failing_sku_has_to_be_dead_lettered_and_leaves_no_mark() -> None:
    from tests.support.ledger import Rules

    built = run([Sent("o-1"), Sent("o-9", sku="tea")])
    failing = Sent("o-2", sku="bad")
    for _ in range(2):
        source = built.put("orders", b"ann", failing.value, NOW, ())
        bury(built, source, stage=b"handler", exception_type=b"builtins.RuntimeError")
    rules = Rules(failing_skus=frozenset({"bad"}))
    assert check(built.history(), rules).require_ok().counts.dead_letters == 2


def test_a_replayed_record_that_fails_again_keeps_the_id_of_its_first_failure() -> None:
    built = run([])
    first = built.put("orders", b"ann", b"nonsense", NOW, ())
    buried = bury(built, first)
    again = built.put("orders", b"ann", b"nonsense", NOW, buried.headers)
    came = dict(buried.headers)
    bury(
        built,
        again._replace(headers=()),
        id=came["streamapp.dlq.id"],
        source_offset=came["streamapp.dlq.source.offset"],
        position=again.place.encode(),
    )
    assert check(built.history()).require_ok().counts.dead_letters == 2
