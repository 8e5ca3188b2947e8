"""An open transaction is a note while it may still end by itself, and a finding once it cannot or should have."""

from __future__ import annotations

import pytest

from streamapp.records import Partition
from streamapp.verify.rows import TransactionRow, Verdict, WatchedPartition, Watermarks
from streamapp.verify.transactions import OpenTransaction, judge


def judged(owner: OpenTransaction | None, *, role: str = "output", hangs_after: float | None = None) -> TransactionRow:
    watched = WatchedPartition(Partition("orders-priced", 3), role)
    return judge(watched, Watermarks(0, 40, 47), owner, app_id="shop", timeout=30.0, hangs_after=hangs_after)


def test_the_row_says_where_it_is_stuck_and_how_much_lies_behind() -> None:
    row = judged(OpenTransaction(producer_id=7, producer_epoch=2, transactional_id="shop-w1", state="Ongoing", age=1.0))
    assert (row.topic, row.partition, row.stuck_at, row.high_watermark, row.records_behind) == ("orders-priced", 3, 40, 47, 7)
    assert (row.producer_id, row.producer_epoch, row.transactional_id, row.age) == (7, 2, "shop-w1", 1.0)


@pytest.mark.parametrize(
    ("owner", "role", "status", "verdict"),
    [
        (OpenTransaction(producer_id=7, age=39.0), "output", "open", Verdict.NOTE),
        (OpenTransaction(producer_id=7, age=40.0), "output", "hanging", Verdict.FINDING),
        (OpenTransaction(producer_id=7, age=40.0, timeout=60.0), "output", "open", Verdict.NOTE),
        (OpenTransaction(producer_id=7, age=12.0, timeout=1.0), "output", "hanging", Verdict.FINDING),
        (OpenTransaction(producer_id=7, state="CompleteAbort"), "output", "hanging", Verdict.FINDING),
        (OpenTransaction(producer_id=7, state="Ongoing"), "output", "open", Verdict.NOTE),
        (OpenTransaction(producer_id=7, transactional_id="upstream-1"), "source", "open", Verdict.NOTE),
        (OpenTransaction(producer_id=7, transactional_id="upstream-1"), "changelog", "foreign", Verdict.FINDING),
        (OpenTransaction(producer_id=7, transactional_id="shopping-1"), "changelog", "foreign", Verdict.FINDING),
        (OpenTransaction(producer_id=7, transactional_id="shop-w1"), "changelog", "open", Verdict.NOTE),
        (None, "changelog", "open", Verdict.NOTE),
    ],
)
def test_who_holds_it_and_for_how_long_decides(owner: OpenTransaction | None, role: str, status: str, verdict: Verdict) -> None:
    row = judged(owner, role=role)
    assert (row.status, row.verdict) == (status, verdict)


def test_the_user_may_say_from_when_on_it_hangs() -> None:
    assert judged(OpenTransaction(producer_id=7, age=2.0), hangs_after=1.0).status == "hanging"
    assert judged(OpenTransaction(producer_id=7, age=0.5), hangs_after=1.0).hangs_after == 1.0


def test_what_the_broker_does_not_tell_is_unknown() -> None:
    row = judged(None)
    assert (row.producer_id, row.transactional_id, row.age, row.hangs_after) == (None, None, None, 40.0)
    assert "40 s" in (row.detail or "")
