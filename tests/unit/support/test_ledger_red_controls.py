"""Each way to be wrong turns the checker red, with the class of its own: one that cannot go red proves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.kafka_records import Rec
from tests.support.ledger import History, Rules, check
from tests.support.verdict import Kind
from tests.unit.support.histories import DAY, NOW, Built, Sent, bury, poison, run

TRACE = (("trace", b"1"), ("trace", None), ("odd", b"\xff\x00"))
SENT = [
    Sent("o-1", "ann", "tea", 1, 100, headers=TRACE),
    Sent("o-2", "ann", "milk", 2, 100),
    Sent("o-3", "bob", "tea", 3, 100),
    poison(b"{", customer="ann", headers=TRACE),
    Sent("o-4", "ann", "tea", 4, 100),
    Sent("o-2", "ann", "milk", 2, 100),
    Sent("o-5", "bob", "milk", 5, 100),
]

Break = Callable[[Built], None]


def lane(built: Built, topic: str, key: bytes) -> list[Rec]:
    return next(lane for lane in built.lanes[topic].values() if any(rec.key == key for rec in lane))


def drop(topic: str, key: bytes, at: int = -1) -> Break:
    return lambda built: lane(built, topic, key).pop(at) and None


def again(topic: str, key: bytes) -> Break:
    def double(built: Built) -> None:
        there = lane(built, topic, key)
        there.append(there[-1]._replace(offset=there[-1].offset + 1))

    return double


def change(topic: str, key: bytes, edit: Callable[[Rec], Rec], at: int = 0) -> Break:
    def edited(built: Built) -> None:
        there = lane(built, topic, key)
        there[at] = edit(there[at])

    return edited


def fields(**changes: object) -> Callable[[Rec], Rec]:
    def edit(rec: Rec) -> Rec:
        document = json.loads(rec.value or b"{}")
        return rec._replace(value=json.dumps({name: v for name, v in (document | changes).items() if v is not None}).encode())

    return edit


def move(topic: str, key: bytes, at: int = -1) -> Break:
    def moved(built: Built) -> None:
        there = lane(built, topic, key)
        rec = there.pop(at)
        number = (rec.partition + 1) % len(built.lanes[topic])
        target = built.lanes[topic][number]
        target.append(rec._replace(partition=number, offset=target[-1].offset + 1 if target else 0))

    return moved


def swap(built: Built) -> None:
    """Exchange two orders of one customer, each with the sums that fit where it stands."""
    there = [rec for rec in lane(built, "orders-priced", b"ann") if rec.key == b"ann"]
    one, two = there[0], there[1]
    first, second = json.loads(one.value or b""), json.loads(two.value or b"")
    sums = ("customer_order_count", "customer_total_cents")
    early = second | {sums[0]: 1, sums[1]: second["total_cents"]}
    late = first | {name: second[name] for name in sums}
    whole = lane(built, "orders-priced", b"ann")
    for rec, document, other in ((one, early, two), (two, late, one)):
        whole[whole.index(rec)] = rec._replace(value=json.dumps(document).encode(), headers=other.headers)


def price_duplicate(built: Built) -> None:
    from tests.unit.support.histories import demand, price

    twice = Sent("o-2", "ann", "milk", 2, 100)
    price(built, twice, [4, 900])
    demand(built, twice)
    built.put("sku-totals", b"milk", {"order_id": "o-2", "sku": "milk", "total_quantity": 9}, NOW, ())


def without(name: str) -> Callable[[Rec], Rec]:
    return lambda rec: rec._replace(headers=tuple(header for header in rec.headers if header[0] != name))


def bury_an_order(built: Built) -> None:
    bury(built, built.lanes["orders"][lane(built, "orders", b"bob")[0].partition][0], stage=b"handler")


def bury_what_never_was(built: Built) -> None:
    bury(built, Rec("orders", 3, 10_000, b"k", b"v", (), NOW))


def foreign(rec: Rec) -> Rec:
    return rec._replace(value=b'{"order_id":"x"}')


DLQ_FIELDS = ("id", "source.topic", "source.partition", "source.offset", "stage", "agent", "exception.type")
CONTROLS: dict[str, tuple[Kind, Break]] = {
    "a priced order lost": (Kind.LOST, drop("orders-priced", b"ann")),
    "a dead letter lost": (Kind.LOST, drop("orders-dlq", b"ann")),
    "a priced order doubled": (Kind.DOUBLED, again("orders-priced", b"ann")),
    "a demand doubled": (Kind.DOUBLED, again("sku-demand", b"tea")),
    "a total doubled": (Kind.DOUBLED, again("sku-totals", b"tea")),
    "a dead letter doubled": (Kind.DOUBLED, again("orders-dlq", b"ann")),
    "a duplicate priced": (Kind.DOUBLED, price_duplicate),
    "an order of nobody": (Kind.INVENTED, change("orders-priced", b"ann", fields(order_id="o-77"))),
    "a dead letter of nothing": (Kind.INVENTED, bury_what_never_was),
    "a demand torn off": (Kind.TORN, drop("sku-demand", b"milk")),
    "a demand without its order": (Kind.TORN, drop("orders-priced", b"bob")),
    "a total torn off": (Kind.TORN, drop("sku-totals", b"milk")),
    "two orders exchanged": (Kind.MISORDERED, swap),
    "a wrong sum": (Kind.MISSUMMED, change("orders-priced", b"ann", fields(customer_total_cents=7))),
    "a wrong count": (Kind.MISSUMMED, change("orders-priced", b"bob", fields(customer_order_count=3), at=-1)),
    "a wrong sku total": (Kind.MISSUMMED, change("sku-totals", b"milk", fields(total_quantity=1), at=-1)),
    "a wrong price": (Kind.WRONG_CONTENT, change("orders-priced", b"ann", fields(total_cents=7))),
    "a wrong demand": (Kind.WRONG_CONTENT, change("sku-demand", b"tea", fields(quantity=7))),
    "a field too many": (Kind.WRONG_FIELDS, change("orders-priced", b"ann", fields(unit_price_cents=7))),
    "a field too few": (Kind.WRONG_FIELDS, change("sku-totals", b"tea", fields(total_quantity=None))),
    "a number as text": (Kind.WRONG_FIELDS, change("sku-demand", b"tea", fields(quantity="1"))),
    "a foreign demand": (Kind.WRONG_FIELDS, change("sku-demand", b"tea", foreign)),
    "a quoted key": (Kind.WRONG_KEY, change("orders-priced", b"ann", lambda rec: rec._replace(key=b'"ann"'))),
    "an order in a wrong partition": (Kind.WRONG_PARTITION, move("orders-priced", b"ann")),
    "a total in a wrong partition": (Kind.WRONG_PARTITION, move("sku-totals", b"tea")),
    "a dead letter in a wrong partition": (Kind.WRONG_PARTITION, move("orders-dlq", b"ann")),
    "a timestamp of now": (Kind.WRONG_TIMESTAMP, change("orders-priced", b"ann", lambda rec: rec._replace(timestamp=NOW + 5))),
    "a demand's timestamp": (Kind.WRONG_TIMESTAMP, change("sku-demand", b"tea", lambda rec: rec._replace(timestamp=1))),
    "a header dropped": (Kind.HEADERS_CHANGED, change("orders-priced", b"ann", without("odd"))),
    "headers turned round": (
        Kind.HEADERS_CHANGED,
        change("sku-totals", b"tea", lambda rec: rec._replace(headers=rec.headers[::-1])),
    ),
    "a dead letter's own header dropped": (Kind.HEADERS_CHANGED, change("orders-dlq", b"ann", without("odd"))),
    "a dead letter's value re-encoded": (
        Kind.DEAD_LETTER_CHANGED,
        change("orders-dlq", b"ann", lambda rec: rec._replace(value=b'"{"')),
    ),
    "an order dead-lettered": (Kind.WRONGLY_DEAD_LETTERED, bury_an_order),
} | {
    f"a dead letter without {name}": (Kind.DEAD_LETTER_HEADERS, change("orders-dlq", b"ann", without(f"streamapp.dlq.{name}")))
    for name in DLQ_FIELDS
}


@pytest.mark.parametrize("name", CONTROLS)
def test_it_turns_red_on(name: str) -> None:
    kind, spoil = CONTROLS[name]
    built = run(SENT)
    assert check(built.history()).ok
    spoil(built)
    verdict = check(built.history())
    assert kind in verdict.kinds, verdict.report()


CONTROLLED_BELOW = {Kind.OPEN_TRANSACTION, Kind.UNPROCESSED, Kind.CHANGELOG_MISMATCH}
CONTROLLED_ELSEWHERE = {Kind.NOT_A_PREFIX}
"""See test_concurrent_reader.py."""


def test_every_class_of_violation_has_a_control() -> None:
    assert {kind for kind, _ in CONTROLS.values()} | CONTROLLED_BELOW | CONTROLLED_ELSEWHERE == set(Kind)


def test_a_lost_order_is_nothing_else_than_lost_where_nothing_else_is_wrong() -> None:
    built = run(SENT)
    lane(built, "orders-dlq", b"ann").clear()
    assert check(built.history()).kinds == {Kind.LOST}


def test_exchanged_orders_are_nothing_else_than_misordered() -> None:
    built = run(SENT)
    swap(built)
    history = replace(built.history(), changelogs={})
    assert check(history).kinds == {Kind.MISORDERED}


def test_one_wrong_sum_is_one_violation_where_the_later_ones_go_on_from_it() -> None:
    built = run([Sent(f"o-{n}", quantity=1, price=1) for n in range(5)])
    there = lane(built, "orders-priced", b"ann")
    for at in range(2, 5):
        there[at] = fields(customer_total_cents=at + 101)(there[at])
    assert len(check(replace(built.history(), changelogs={})).violations) == 1


def test_a_poison_record_priced_is_invented() -> None:
    built = run([poison(b"{")])
    lane(built, "orders-dlq", b"ann").clear()
    from tests.unit.support.histories import price

    price(built, Sent("o-9"), [1, 300])
    assert {Kind.LOST, Kind.INVENTED} <= check(built.history()).kinds


def test_a_duplicate_dropped_at_exactly_seven_days_is_a_lost_order() -> None:
    built = run([Sent(at=NOW - 7 * DAY)])
    built.put("orders", b"ann", Sent().value, NOW, ())
    assert Kind.LOST in check(built.history()).kinds


def test_a_duplicate_priced_a_millisecond_before_seven_days_is_doubled() -> None:
    built = run([Sent(at=NOW - 7 * DAY), Sent(at=NOW)])
    source = lane(built, "orders", b"ann")
    source[-1] = source[-1]._replace(timestamp=NOW - 1)
    assert Kind.DOUBLED in check(built.history()).kinds


def test_an_order_that_must_fail_and_has_no_dead_letter_is_lost() -> None:
    verdict = check(run(SENT).history(), Rules(failing_skus=frozenset({"milk"})))
    assert Kind.LOST in verdict.kinds


def test_an_open_transaction_is_seen() -> None:
    history = run(SENT).history()
    opened = replace(history, watermarks={**history.watermarks, ("sku-totals", 2): (5, 6)})
    assert check(opened).kinds == {Kind.OPEN_TRANSACTION}


def test_an_order_above_the_committed_offset_is_unprocessed_and_nothing_is_demanded_of_it() -> None:
    built = run(SENT)
    source = built.put("orders", b"ann", Sent("o-6").value, NOW, ())
    history = built.history()
    committed = {**history.committed, ("orders", source.partition): source.offset}
    behind: History = replace(history, committed=committed)
    assert check(behind).kinds == {Kind.UNPROCESSED}
    assert check(behind, Rules(everything_processed=False)).ok


def test_a_group_that_never_committed_has_processed_nothing() -> None:
    assert Kind.UNPROCESSED in check(replace(run(SENT).history(), committed={})).kinds


@pytest.mark.parametrize("table", ["customer_totals", "sku_totals", "processed_orders"])
def test_a_table_that_differs_from_the_outputs_is_seen(table: str) -> None:
    for spoil in (_lose, _distort, _invent):
        built = run([replace(one, at=4_000_000_000_000) for one in SENT])
        spoil(built, table)
        assert check(built.history()).kinds == {Kind.CHANGELOG_MISMATCH}


def _lose(built: Built, table: str) -> None:
    next(lane for lane in built.lanes[table].values() if lane).pop()


def _distort(built: Built, table: str) -> None:
    there = next(lane for lane in built.lanes[table].values() if lane)
    there[-1] = there[-1]._replace(value=b'{"n": 5555}')


def _invent(built: Built, table: str) -> None:
    built.put(table, b'"nobody"', [1, 2], NOW, lane=0)
