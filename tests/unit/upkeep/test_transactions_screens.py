"""What `streamapp transactions` shows people and programs, at a fixed time, and the exit code of each end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import streamapp.cli.transactions as command
from streamapp.kafka.transactions import CoordinatedTransaction, OpenProducer
from streamapp.records import Partition
from streamapp.upkeep.open_transactions import OpenTransaction, judged
from streamapp.upkeep.transaction_desk import Found
from tests.support.upkeep_rig import Said, UpkeepApp

NOW = 1_795_000_000.0


def one(number: int, state: str | None, *, start: int = 40, age: float = 754.0) -> OpenTransaction:
    where = Partition("orders", number)
    producer = OpenProducer(7000 + number, 2, start, round((NOW - age) * 1000), 0)
    told = None
    if state is not None:
        began = round((NOW - age) * 1000)
        told = CoordinatedTransaction(
            f"shop-w-{number}", 7000 + number, 2, state, 30_000, began, frozenset([where]), ("broker-1", 9092)
        )
    row = judged(where, producer, told, is_complete=True, now=NOW)
    return replace(row, stable=start, high=start + 120, waits=(f"group shop reads {where}: 120 records wait",))


@dataclass
class Desk:
    """A cluster that has these open."""

    there: Sequence[OpenTransaction] = ()
    unseen: dict[str, str] = field(default_factory=dict)
    failing: frozenset[int] = frozenset()
    ended: list[OpenTransaction] = field(default_factory=list)

    def look(self, topics: Sequence[str], *, everywhere: bool) -> Found:
        return Found(8, tuple(self.there), self.unseen)

    def end(self, wanted: Sequence[OpenTransaction]) -> dict[OpenTransaction, str | None]:
        self.ended += wanted
        return {each: "its leader has moved" if each.partition.number in self.failing else None for each in wanted}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UpkeepApp:
    return UpkeepApp("127.0.0.1:1", tmp_path, monkeypatch)


def at(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> Desk:
    @contextmanager
    def opened(scope: object) -> Iterator[Desk]:
        yield desk

    monkeypatch.setattr(command, "desk", opened)
    return desk


def run(app: UpkeepApp, *words: str) -> Said:
    return app.run("transactions", *words)


def test_the_hanging_ones_are_shown_with_what_waits_and_the_command_that_ends_them(
    app: UpkeepApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, Desk([one(3, None), one(4, "Ongoing", age=12.0)]))
    assert app.screen("transactions", "list").splitlines() == [
        "TOPIC   PARTITION  START-OFFSET  PRODUCER-ID  EPOCH  AGE     STATUS   TRANSACTIONAL-ID  STATE    TIMEOUT  COORDINATOR    BEHIND  WHY",
        (
            "orders  3          40            7003         2      12m34s  hanging  -                 -        -        -              120     "
            "no coordinator knows its producer (or this user may not Describe its transactional id)"
        ),
        (
            "orders  4          40            7004         2      12s     open     shop-w-4          Ongoing  30s      broker-1:9092  120     "
            "its coordinator ends it within 40 s of its beginning"
        ),
        "group shop reads orders/3: 120 records wait",
        "end it: streamapp transactions abort --topic orders --partition 3 --start-offset 40 --execute",
        "group shop reads orders/4: 120 records wait",
    ]


def test_a_program_gets_stable_names_seconds_and_null(app: UpkeepApp, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, Desk([one(3, "CompleteCommit")]))
    (row,) = run(app, "list", "--json").documents
    assert row == {
        "kind": "transaction", "topic": "orders", "partition": 3, "producer_id": 7003, "producer_epoch": 2, "coordinator_epoch": 0,
        "start_offset": 40, "last_timestamp": NOW - 754, "age": 754.0, "transactional_id": "shop-w-3", "state": "CompleteCommit",
        "timeout": 30.0, "coordinator": "broker-1:9092", "hanging": True,
        "why": "its coordinator calls it CompleteCommit: it lacks a commit marker here", "ends_by": "commit",
        "last_stable_offset": 40, "high_watermark": 160, "records_behind": 120,
        "waits": ["group shop reads orders/3: 120 records wait"],
    }  # fmt: skip


def test_what_did_not_tell_is_said_and_is_no_pass(app: UpkeepApp, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, Desk(unseen={"orders/1": "this user may not read the topic"}))
    said = run(app, "list")
    assert (said.code, said.stdout) == (1, "")
    assert "not seen: orders/1: this user may not read the topic" in said.stderr


def test_a_preview_says_what_it_would_do_and_what_it_would_refuse(app: UpkeepApp, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = at(monkeypatch, Desk([one(3, "CompleteAbort"), one(5, "CompleteCommit")]))
    said = run(app, "abort", "--hanging")
    assert said.code == 1 and desk.ended == []
    assert said.stdout.splitlines() == [
        "PREVIEW, nothing is changed; --execute does it.",
        "aborts orders/3 from offset 40: producer 7003 epoch 2, shop-w-3, 120 records behind it",
        "  group shop reads orders/3: 120 records wait",
    ]
    assert said.stderr.startswith(
        "refused orders/5 from offset 40: producer 7005 epoch 2, shop-w-5: its coordinator says CompleteCommit"
    )


def test_a_marker_that_is_not_written_is_told(app: UpkeepApp, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, Desk([one(3, "CompleteAbort"), one(4, None)], failing=frozenset({4})))
    said = run(app, "abort", "--hanging", "--execute")
    assert said.code == 1
    assert "FAILED orders/4 from offset 40: producer 7004 epoch 2: its leader has moved" in said.stdout
    kinds = [row["kind"] for row in run(app, "abort", "--hanging", "--execute", "--json").documents]
    assert kinds == ["ended", "failed"]


@pytest.mark.parametrize(("commits", "word"), [((), "refused"), (("--commit",), "committed"), (("--force",), "aborted")])
def test_a_committed_one_is_ended_as_it_is_asked_for(
    app: UpkeepApp, monkeypatch: pytest.MonkeyPatch, commits: tuple[str, ...], word: str
) -> None:
    desk = at(monkeypatch, Desk([one(5, "CompleteCommit")]))
    said = run(app, "abort", "--topic", "orders", "--partition", "5", "--start-offset", "40", "--execute", *commits)
    assert said.code == (0 if commits else 5)
    assert f"{word} orders/5" in said.stdout + said.stderr
    assert ("forced orders/5" in said.stderr and "would lose what it committed" in said.stderr) is (word == "aborted")
    assert [each.marker.commits for each in desk.ended] == ([word == "committed"] if commits else [])
