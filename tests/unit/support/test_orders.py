"""The feeder feeds what it says: the same twice, every class of poison, shares as asked."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest

from tests.support.kafka_records import partition_of
from tests.support.order_rules import Order, Refused, judge_order
from tests.support.orders import OrderPlan
from tests.support.poison import POISON

PLAN = OrderPlan(count=20_000, seed=7, now_ms=1_750_000_000_000)
FED = list(PLAN.records())
HARMLESS = {"order", "resent", "late"}


def test_the_same_seed_feeds_the_same_and_another_one_does_not() -> None:
    assert list(PLAN.records()) == FED
    assert [fed.value for fed in OrderPlan(count=50, seed=8).records()] != [fed.value for fed in FED[:50]]


def test_orders_are_orders_and_every_class_of_poison_is_none_and_occurs() -> None:
    for fed in FED:
        expected = Order if fed.kind in HARMLESS else Refused
        assert isinstance(judge_order(fed.value), expected), fed
    assert {fed.kind for fed in FED} - HARMLESS == set(POISON)


def test_the_shares_are_about_as_asked_and_poison_never_comes_in_long_runs() -> None:
    kinds = Counter("poison" if fed.kind not in HARMLESS else fed.kind for fed in FED)
    assert len(FED) == PLAN.count
    assert kinds["poison"] == pytest.approx(200, rel=0.25)
    assert kinds["resent"] + kinds["late"] == pytest.approx(600, rel=0.2)
    assert kinds["late"] > 0
    for number in range(8):
        lane = [fed.kind not in HARMLESS for fed in FED if fed.partition == number]
        assert max((len(list(run)) for bad, run in groupby(lane) if bad), default=0) < 40
        assert sum(lane) / len(lane) < 0.1


def test_keys_decide_the_partition_and_some_records_have_none() -> None:
    assert all(fed.partition == partition_of(fed.key, 8) for fed in FED if fed.key is not None)
    assert any(fed.key is None for fed in FED if fed.kind == "order")
    assert {fed.partition for fed in FED} == set(range(8))


def test_some_have_odd_headers_and_no_timestamp_is_ahead_of_now() -> None:
    names = [[name for name, _ in fed.headers] for fed in FED]
    assert any(len(set(each)) < len(each) for each in names)
    assert any(content is None for fed in FED for _, content in fed.headers)
    assert max(fed.timestamp for fed in FED) <= PLAN.now_ms


def test_so_much_poison_that_a_breaker_would_open_is_refused() -> None:
    with pytest.raises(ValueError, match=r"under 0\.1"):
        OrderPlan(count=1, poison=0.1)
