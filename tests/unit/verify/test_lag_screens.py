"""What `streamapp lag` shows of a group that the broker and a worker tell of: on a terminal, in a pipe, as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from streamapp.cli import lag_screen
from streamapp.cli.lag_screen import show, sorted_rows
from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.status import Standing
from streamapp.records import Partition
from streamapp.verify.lag_watch import Board, LagWatch
from streamapp.verify.transactions import OpenTransaction
from tests.support.lag_documents import asked, document, fresh, member, reading, told
from tests.support.lag_series import CONFIG, NOW, by_blocks, ramp, sample

BEHIND = (3, 6, 7)
OWNERS = {
    "w-1": tuple(Partition("orders", number) for number in (0, 1, 2, 4)),
    "w-2": tuple(Partition("orders", number) for number in (3, 5, 6, 7)),
}
MEMBERS = [member(worker, *partitions) for worker, partitions in OWNERS.items()]


def past(number: int) -> list[Sample]:
    """Return what a worker remembers of a partition: three fall behind as in the specification's example."""
    if number in BEHIND:
        series = ramp(1800, by_blocks((14, 26, 18, 22, 24, 16), 300, 90_000), pace=100 / 120, busy=0.95)
        return [replace(each, merged=(each.committed or 0) - 1_000_000) for each in series]
    return [sample(NOW + t, 1_190_012, 1_190_012, merged=5000, busy=0.2) for t in range(-1800, 1, 10)]


def board(*, with_past: bool = True) -> Board:
    owner = {where: each for each in MEMBERS for where in each.partitions}
    partitions = [Partition("orders", number) for number in range(8)]
    now = {where: asked(fresh(past(where.number)[-1]), owner=owner[where]) for where in partitions}
    documents = [document(*(told(where, past(where.number)[:-1]) for where in partitions))] if with_past else []
    return LagWatch(CONFIG).look(reading(now, MEMBERS), documents)


def on_terminal(shown: Board, monkeypatch: pytest.MonkeyPatch, *, wide: bool = False) -> list[str]:
    out = io.StringIO()
    monkeypatch.setattr(lag_screen, "Console", lambda: Console(file=out, force_terminal=True, color_system=None, width=200))
    show(shown, sorted_rows(shown.rows, None), wide=wide, as_json=False)
    return out.getvalue().splitlines()


def in_pipe(shown: Board, capsys: pytest.CaptureFixture[str], *, wide: bool = False) -> list[list[str]]:
    show(shown, sorted_rows(shown.rows, None), wide=wide, as_json=False)
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def documents_of(shown: Board, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    show(shown, shown.rows, wide=False, as_json=True)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_terminal_has_the_verdict_a_table_worst_first_and_what_is_the_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(board(), monkeypatch)
    assert lines == [
        (
            "order-processor  FALLING_BEHIND  3 of 8 partitions falling behind (3, 6, 7); oldest unread 12m30s; loss in 5d22h; "
            "3 workers needed, 2 run"
        ),
        "TOPIC   PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG    WORKER  AGE     GROWTH         DRAIN  LOSS   STATUS",
        "orders  3          1204400         1294400         90000  w-2     12m30s  +20/s (16…24)  -      5d22h  FALLING_BEHIND",
        "orders  6          1204400         1294400         90000  w-2     12m30s  +20/s (16…24)  -      5d22h  FALLING_BEHIND",
        "orders  7          1204400         1294400         90000  w-2     12m30s  +20/s (16…24)  -      5d22h  FALLING_BEHIND",
        *(
            f"orders  {number}          1190012         1190012         0      {'w-2' if number == 5 else 'w-1'}     -       0/s            -      -      OK"
            for number in (0, 1, 2, 4, 5)
        ),
        *(
            line
            for number in BEHIND
            for line in (
                (
                    f"orders/{number}: growing +20/s (16…24) over 30m, 120/s come and 100/s are done, 90,000 unread, the oldest for 12m30s, "
                    "age 1 h in 4h45m, loss in 5d22h"
                ),
                "    streamapp doctor --only P,G",
            )
        ),
    ]


def test_a_pipe_has_the_same_columns_always_and_no_headings(capsys: pytest.CaptureFixture[str]) -> None:
    first, *rows = in_pipe(board(), capsys)
    assert first[:2] == ["order-processor", "FALLING_BEHIND"]
    assert rows[0] == [
        "orders",
        "3",
        "1204400",
        "1294400",
        "90000",
        "0",
        "w-2",
        "12m30s",
        "+20/s (16…24)",
        "-",
        "5d22h",
        "FALLING_BEHIND",
    ]
    assert {len(row) for row in rows} == {12}


def test_wide_adds_what_kafka_calls_the_member(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, row, *_ = in_pipe(board(), capsys, wide=True)
    assert row[12:] == ["order-processor-w-2-orders-7f3a", "/10.0.0.7", "order-processor-w-2-orders"]
    unowned = LagWatch(CONFIG).look(reading({Partition("orders", 0): asked(sample(NOW, 5, 5))}, []), [])
    assert in_pipe(unowned, capsys, wide=True)[1][12:] == ["-", "-", "-"]
    assert on_terminal(board(), monkeypatch, wide=True)[1].split()[-3:] == ["CONSUMER-ID", "HOST", "CLIENT-ID"]


def test_json_is_one_object_per_line_with_stable_keys_in_seconds_and_null_for_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    group, *rows = documents_of(board(), capsys)
    assert (group["kind"], group["status"], group["workers"], group["affected"]) == (
        "group", "FALLING_BEHIND", 2, [{"topic": "orders", "partition": number} for number in BEHIND],
    )  # fmt: skip
    third = rows[3]
    assert (third["lag"], third["age"], third["loss"], third["worker"], third["drain"]) == (90_000, 750.0, 513_900.0, "w-2", None)
    assert third["growth"] == {"estimate": 20.0, "low": 16.107, "high": 23.893}
    unknown = LagWatch(CONFIG).look(reading({Partition("orders", 0): asked(sample(NOW, None, None))}, None), [])
    bare_group, bare = documents_of(unknown, capsys)
    assert (bare.keys(), bare_group.keys()) == (third.keys(), group.keys())
    assert {name for name, value in bare.items() if value is None} >= {
        "committed", "end", "lag", "age", "growth", "drain", "loss", "worker", "host", "commit_age",
    }  # fmt: skip
    assert (bare["worker_known"], bare_group["workers"], bare["status"]) == (False, None, "UNKNOWN")


def test_without_a_workers_history_trends_are_unknown_and_say_since_when_they_will_not_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = on_terminal(board(with_past=False), monkeypatch)
    assert lines[0].startswith("order-processor  UNKNOWN  3 of 8 partitions unknown yet (3, 6, 7)")
    assert lines[2].split()[4:] == ["90000", "w-2", "12m30s", "-", "-", "23h47m", "UNKNOWN"]
    assert "orders/3: not enough samples for a trend; known in 5m, 90,000 unread, the oldest for 12m30s" in lines


def test_what_is_seen_look_after_look_makes_a_trend_of_its_own() -> None:
    watch = LagWatch(CONFIG)
    where = Partition("orders", 3)
    for each in ramp(300, lambda t: 6000 - 20 * t):
        last = watch.look(reading({where: asked(each)}, MEMBERS, at=each.at), [])
    # The first look to see the trend is one; the status changes with the second.
    assert str(last.rows[0].verdict.status) == "UNKNOWN"
    assert last.rows[0].verdict.drain is not None
    again = watch.look(
        reading({where: asked(sample(NOW + 10, 1_289_800, 1_295_600, oldest_unread=NOW - 740))}, MEMBERS, at=NOW + 10), []
    )
    assert str(again.rows[0].verdict.status) == "CATCHING_UP"


def test_what_a_worker_knows_of_a_stall_is_told() -> None:
    where = Partition("orders", 3)
    series = [sample(NOW + t, 2900, 3000, oldest_unread=NOW - 200) for t in range(-300, 0, 10)]
    standing = Standing(kind="stopped", since=NOW - 300, agent="order_processor", offset=2900)
    row = told(where, series, standing=[standing])
    now = asked(sample(NOW, 2900, 3000), owner=member("w-2", where))
    found = LagWatch(CONFIG).look(reading({where: now}, MEMBERS), [document(row)])
    assert (found.rows[0].verdict.cause, found.rows[0].fix) == ("stopped", "streamapp dlq take orders/3/2900")
    # What has no name in what a document tells, the worker says itself.
    slow = msgspec.structs.replace(row, status="STALLED", cause="handler", sentence="a handler does not return", standing=())
    found = LagWatch(CONFIG).look(reading({where: now}, MEMBERS), [document(slow)])
    assert (found.rows[0].verdict.cause, found.rows[0].sentence) == ("handler", "a handler does not return")


def test_a_document_of_another_app_is_not_listened_to() -> None:
    where = Partition("orders", 3)
    others = document(told(where, past(3)), app_id="billing")
    found = LagWatch(CONFIG).look(reading({where: asked(fresh(past(3)[-1]))}, MEMBERS), [others])
    assert found.rows[0].verdict.growth is None


def test_an_open_transaction_is_shown_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    where = Partition("orders", 3)

    def held(age: float) -> list[str]:
        held_up = sample(NOW, 100, 100, high_watermark=140, position=100, unmerged=0)
        transaction = OpenTransaction(producer_id=7, transactional_id="billing-1", state="Ongoing", age=age, timeout=60.0)
        shown = LagWatch(CONFIG).look(reading({where: asked(held_up, transaction=transaction)}, MEMBERS), [])
        return on_terminal(shown, monkeypatch)

    young = held(12.0)
    assert young[1].split()[4:6] == ["LAG", "BLOCKED"]
    assert young[2].split()[4:6] == ["0", "40"]
    assert young[-1] == "orders/3: 40 records behind a transaction of billing-1, open for 12s"
    old = held(61.0)
    assert old[2].split()[-1] == "STALLED"
    assert old[-2:] == [
        (
            "orders/3: nothing committed for 1m01s: an open transaction of another producer holds it "
            "(billing-1: 40 records from offset 100 on wait for its end)"
        ),
        "    streamapp transactions abort --topic orders --partition 3 --start-offset 100",
    ]


def test_an_offset_that_is_not_told_is_not_never_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    undecided = asked(sample(NOW, None, 100, log_start=None), is_decided=False)
    shown = LagWatch(CONFIG).look(reading({Partition("orders", 3): undecided}, MEMBERS), [])
    assert on_terminal(shown, monkeypatch)[2:] == [
        "orders  3          -               100             -    -       -    -       -      -     UNKNOWN",
        "orders/3: an open transaction holds the group's offset back: known when it has ended",
        "    streamapp transactions list",
    ]


def test_an_empty_group_and_a_missing_topic_are_told_on_the_side(capsys: pytest.CaptureFixture[str]) -> None:
    shown = LagWatch(CONFIG).look(reading({Partition("orders", 3): asked(sample(NOW, 5, 5))}, [], missing=["refunds"]), [])
    show(shown, shown.rows, wide=False, as_json=False)
    assert capsys.readouterr().err.splitlines() == ["refunds: there is no such topic", "order-processor: no worker runs"]


@pytest.mark.parametrize(("by", "order"), [(None, [1, 0, 2]), ("lag", [0, 1, 2]), ("age", [1, 0, 2]), ("loss", [1, 0, 2])])
def test_rows_are_sorted_by_what_is_asked_for_and_the_unknown_comes_last(by: str | None, order: Sequence[int]) -> None:
    rows = {
        Partition("orders", 0): asked(sample(NOW, 100, 900, oldest_unread=NOW - 20)),
        Partition("orders", 1): asked(sample(NOW, 100, 200, oldest_unread=NOW - 80_000)),
        Partition("orders", 2): asked(sample(NOW, 100, 100, position=100, unmerged=0)),
    }
    shown = LagWatch(CONFIG).look(reading(rows, MEMBERS), [])
    assert [row.verdict.partition.number for row in sorted_rows(shown.rows, by)] == order
