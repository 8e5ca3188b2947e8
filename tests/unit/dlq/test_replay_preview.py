"""A preview says what would be sent where, and what stands against it; nothing is written. On the Kafka in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.cli.dlq_replay import exit_code
from streamapp.dlq.filters import Filters
from streamapp.dlq.guards import GuardRefused
from streamapp.dlq.job import Ended, Pace, Result
from streamapp.dlq.plan import NothingMatched, Plan, Planner, Wish
from streamapp.dlq.preview import document, lines
from streamapp.dlq.subject import Subject
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter import DeadLetterTopic, Failure, Writer, bury
from streamapp.pipeline.resolution import Resolution, Status, encode
from streamapp.pipeline.spec import AgentSpec, DedupeSpec, SourceSpec
from streamapp.records import Partition
from streamapp.settings import load
from streamapp.testing.memory_kafka import MemoryInspector, MemoryKafka
from tests.support.replay_jobs import NOW, Silent, TurnedClock

WRITER = Writer(app="order-processor", group="order-processor", worker="w-2", version="1", transactional_id="x")


async def never(_: Cursor) -> None: ...


SUBJECT = Subject(
    settings=load({"app_id": "order-processor"}, {}, {}),
    agents={
        "order_processor": AgentSpec(
            name="order_processor",
            sources=(SourceSpec(topic="orders", decode=bytes),),
            run=never,
            dlq="orders-dlq",
            dedupe=DedupeSpec(table="processed_orders", key=lambda value: value, encode=lambda _: b""),
        )
    },
    horizons={"order_processor": 7 * 86_400.0},
)


class Orders:
    """Records that failed, in `orders`, two hours and 19 minutes ago, and their letters."""

    def __init__(self) -> None:
        self.kafka = MemoryKafka({"orders": 2, "orders-dlq": 2, "order-processor-dlq-status": 1}, clock=TurnedClock())
        self.groups: dict[str, dict[Partition, int]] = {}

    def fails(self, number: int, key: bytes | None, *, max_bytes: int | None = None, value: bytes = b"{}") -> str:
        at = round((NOW - 8340) * 1000)
        self.kafka.feed("orders", number, value, key=key, timestamp=at)
        record = self.kafka.records("orders", number)[-1]
        failure = Failure(
            agent="order_processor", exception=TimeoutError("slow"), stage="handler", reason="retries-exhausted", attempts=4,
            first_failed_at=NOW - 8340, failed_at=NOW - 8340,
        )  # fmt: skip
        burial = bury(record, failure, writer=WRITER, topic=DeadLetterTopic(name="orders-dlq", partitions=2, max_bytes=max_bytes))
        topic, letter, letter_key, partition, _, headers = burial.outgoing
        self.kafka.feed(topic, partition, letter, key=letter_key, headers=headers)
        return burial.id

    def row(self, letter_id: str, status: Status, replays: int = 0, job: str | None = None) -> None:
        row = Resolution(status=status, at=datetime.fromtimestamp(NOW, UTC), by="ops", replays=replays, job=job)
        key, value = encode(letter_id, row)
        self.kafka.feed("order-processor-dlq-status", 0, value, key=key)

    def plan(self, filters: Filters | None = None, *, executes: bool = False, **wish: Any) -> Plan:
        def groups_on(topics: Sequence[str]) -> Mapping[str, Mapping[Partition, int]]:
            return self.groups

        planner = Planner(MemoryInspector(self.kafka), SUBJECT, groups_on=groups_on, clock=TurnedClock(), watcher=Silent())
        (found,) = planner.plans(Wish(filters=filters or Filters(), **wish), executes=executes)
        return found

    def screen(self, plan: Plan) -> list[str]:
        return [f"{label:<11} {sentence}" for label, sentence in lines(plan, SUBJECT, Pace())]


def test_the_screen_of_a_preview() -> None:
    orders = Orders()
    ids = [orders.fails(number, b"k%d" % n) for n, number in enumerate([0, 1, 0, 1, 0, 1])]
    orders.kafka.feed("orders", 0, b"{}", key=b"k0")  # processed since
    orders.row(ids[1], Status.REOPENED, replays=1)
    orders.groups = {"billing": {Partition("orders", 0): 2, Partition("orders", 1): 2}}
    before = {name: len(orders.kafka.records(name, 0)) for name in ("orders", "order-processor-dlq-status")}
    plan = orders.plan(Filters(fingerprints=frozenset({"not this one"}) | {fingerprint_of(orders)}))
    assert orders.screen(plan) == [
        "scope       6 of 6 unresolved, up to the end of orders-dlq at 11:06:40Z",
        "target      orders, same partition and key; handled by order_processor in group order-processor",
        "also reads  orders: billing (lag 3) would see these records again; --execute needs --to source or --to topic:NAME",
        "errors      6 TimeoutError (handler); first ids orders/0/0 orders/0/1 orders/0/2 orders/1/0 orders/1/1",
        "order       1 stale: a later record of the key was processed; needs --stale-ok or --latest-per-key",
        "dedupe      oldest 2h19m, processed_orders keeps 7d: covered",
        "guards      1 replayed before, limit 3; pace 100/s: under 1 s",
    ]
    assert {name: len(orders.kafka.records(name, 0)) for name in before} == before


def test_the_document_of_a_preview() -> None:
    orders = Orders()
    ids = [orders.fails(0, b"a"), orders.fails(0, b"b"), orders.fails(1, b"c"), orders.fails(1, b"d")]
    orders.kafka.feed("orders", 0, b"{}", key=b"a")
    orders.row(ids[2], Status.REOPENED, replays=3)
    orders.row(ids[3], Status.REPLAYING, replays=1)
    orders.groups = {"billing": {Partition("orders", 0): 0}}
    assert document(orders.plan()) == {
        "kind": "preview",
        "dlq": "orders-dlq",
        "at": "2026-11-18T11:06:40Z",
        "target": "source",
        "topics": ["orders"],
        "ends": {"0": 2, "1": 2},
        "unresolved": 4,
        "matched": 4,
        "send": 2,
        "stale": [ids[0]],
        "unchecked": 0,
        "superseded": 0,
        "parked": 1,
        "under_way": 1,
        "settled": 0,
        "left": 0,
        "refused": {},
        "other_groups": [{"topic": "orders", "group": "billing", "lag": 3}],
        "older_than_retention": 0,
        "not_covered_by_dedupe": 0,
    }


def fingerprint_of(orders: Orders) -> str:
    headers = dict(orders.kafka.records("orders-dlq", 0)[0].headers() or [])
    return (headers["streamapp.dlq.exception.fingerprint"] or b"").decode()


def test_the_letters_are_sent_by_source_offset_and_their_ends_are_kept() -> None:
    orders = Orders()
    ids = [orders.fails(0, b"a"), orders.fails(0, b"b"), orders.fails(1, b"c")]
    plan = orders.plan()
    assert [letter.id for letter in plan.send] == [ids[0], ids[2], ids[1]]
    assert plan.ends == {Partition("orders-dlq", 0): 2, Partition("orders-dlq", 1): 1}


def test_a_resumed_job_leaves_what_was_buried_later_and_what_it_sent() -> None:
    orders = Orders()
    ids = [orders.fails(0, b"a"), orders.fails(0, b"b"), orders.fails(1, b"c")]
    ends = orders.plan().ends
    orders.row(ids[0], Status.REPLAYING, replays=1, job="7f3a")
    orders.fails(0, b"d")
    plan = orders.plan(job="7f3a", ends=ends)
    assert [letter.id for letter in plan.send] == [ids[1], ids[2]]
    assert [letter.id for letter in plan.earlier] == [ids[0]]


def test_a_value_that_was_cut_is_fetched_or_refused() -> None:
    orders = Orders()
    there = orders.fails(0, b"a", max_bytes=1500, value=b"x" * 2000)
    plan = orders.plan()
    assert plan.contents[there].value == b"x" * 2000
    orders.kafka.delete_records("orders", 0, 1)
    plan = orders.plan()
    assert plan.send == () and "value did not fit into orders-dlq" in plan.refused[there]
    assert exit_code(plan, Result()) == 5


def test_a_record_at_the_old_place_of_another_topic_is_not_taken_for_it() -> None:
    orders = Orders()
    which = orders.fails(0, b"a", max_bytes=1500, value=b"x" * 2000)
    orders.kafka.delete_topic("orders")
    orders.kafka.create_topic("orders", 2)
    orders.kafka.feed("orders", 0, b"y" * 10, key=b"a")
    assert list(orders.plan().refused) == [which]


def test_the_latest_of_a_key_goes_and_what_was_overtaken_is_discarded() -> None:
    orders = Orders()
    ids = [orders.fails(0, b"a"), orders.fails(0, b"a"), orders.fails(0, b"b")]
    orders.kafka.feed("orders", 0, b"{}", key=b"b")
    plan = orders.plan(latest_per_key=True)
    assert [letter.id for letter in plan.send] == [ids[1]]
    assert {letter.id for letter in plan.superseded} == {ids[0], ids[2]}
    plan.require_allowed(stale_ok=False, is_target_named=False)
    with pytest.raises(GuardRefused, match="1 of 3 are stale"):
        orders.plan().require_allowed(stale_ok=False, is_target_named=False)


def test_what_could_not_be_checked_is_neither_sent_nor_discarded_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.dlq.plan.READ_AT_MOST", 1)
    orders = Orders()
    ids = [orders.fails(0, b"a"), orders.fails(1, b"b")]
    orders.kafka.feed("orders", 0, *[b"{}"] * 3, key=b"c")
    orders.kafka.feed("orders", 1, *[b"{}"] * 3, key=b"c")
    for latest in (False, True):
        plan = orders.plan(latest_per_key=latest)
        assert plan.unchecked == set(ids) and plan.superseded == ()
        with pytest.raises(GuardRefused, match="could not be checked"):
            plan.require_allowed(stale_ok=False, is_target_named=False)


def test_what_matches_nothing_is_told() -> None:
    orders = Orders()
    orders.fails(0, b"a")
    for filters in (Filters(stages=frozenset({"sink"})), Filters(ids=frozenset({"orders/0/9"}))):
        with pytest.raises(NothingMatched):
            orders.plan(filters)


def test_letters_older_than_retention_are_told() -> None:
    orders = Orders()
    orders.kafka.delete_topic("orders")
    orders.kafka.create_topic("orders", 2, {"retention.ms": "3600000"})
    orders.fails(0, b"a")
    assert any(line.startswith("retention   1 are older") for line in orders.screen(orders.plan()))


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Result(sent=1, resolved=1), 0),
        (Result(sent=1, reopened=["a"]), 1),
        (Result(sent=1, unanswered=["a"], ended=Ended.UNANSWERED), 1),
        (Result(sent=1, refused={"a": "too large"}), 1),
        (Result(sent=1, ended=Ended.INTERRUPTED), 130),
    ],
)
def test_each_result_has_its_exit_code(result: Result, code: int) -> None:
    orders = Orders()
    orders.fails(0, b"a")
    assert exit_code(orders.plan(), result) == code
