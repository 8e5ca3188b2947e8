"""Filters combine with AND; ids are taken with or without their agent; times are spans or RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamapp.dlq.filters import Filters, parse_moment, require_ids, resolve_ids
from streamapp.errors import SettingInvalid
from streamapp.pipeline.resolution import Status
from tests.support.dead_letter_world import NOW, DeadLetterWorld, ago

A, B = "orders/5/901@order_processor", "orders/3/1842@order_processor"


@pytest.fixture
def world() -> DeadLetterWorld:
    world = DeadLetterWorld()
    world.bury(A, failed=ago(hours=1), key=b"cust-0007")
    world.bury(
        B, failed=ago(hours=5), key=None, stage="validate", reason="permanent",
        exception__type="streamapp.errors.ValidationFailed", exception__fingerprint="9c1f04be77a2",
    )  # fmt: skip
    world.bury("demand/0/4@sku_demand", failed=ago(days=2), dlq="orders-dlq")
    world.resolve("demand/0/4@sku_demand", Status.RESOLVED)
    return world


def frozen(text: str) -> frozenset[str]:
    return frozenset([text])


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), [B, A]),
        (Filters(agents=frozen("order_processor")), [B, A]),
        (Filters(agents=frozen("sku_demand")), []),
        (Filters(errors=frozen("TimeoutError")), [A]),
        (Filters(errors=frozen("streamapp.errors.ValidationFailed")), [B]),
        (Filters(errors=frozenset({"ValidationFailed", "TimeoutError"})), [B, A]),
        (Filters(stages=frozen("validate")), [B]),
        (Filters(reasons=frozen("retries-exhausted")), [A]),
        (Filters(fingerprints=frozen("9c1f04be77a2")), [B]),
        (Filters(key=b"cust-0007"), [A]),
        (Filters(partition=3), [B]),
        (Filters(since=ago(hours=2)), [A]),
        (Filters(until=ago(hours=2)), [B]),
        (Filters(since=ago(hours=5), until=ago(hours=1)), [B]),
        (Filters(statuses=frozenset({Status.RESOLVED})), ["demand/0/4@sku_demand"]),
        (Filters(dlqs=("orders-dlq",)), [B, A]),
        (Filters(dlqs=("other-dlq",)), []),
        (Filters(ids=frozen("orders/5/901")), [A]),
        (Filters(ids=frozen("demand/0/4@sku_demand")), ["demand/0/4@sku_demand"]),
        (Filters(ids=frozen(A), stages=frozen("validate")), []),
    ],
)
def test_what_each_filter_lets_through(world: DeadLetterWorld, filters: Filters, found: list[str]) -> None:
    assert [letter.id for letter in world.read().letters if filters.matches(letter)] == found


def test_no_filter_is_known_as_such() -> None:
    assert Filters().is_empty
    assert not Filters(partition=0).is_empty


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", ago(hours=2)),
        ("1d12h", ago(days=1, hours=12)),
        ("90s", ago(seconds=90)),
        ("2026-11-23T06:00:00Z", datetime(2026, 11, 23, 6, tzinfo=UTC)),
        ("2026-11-23T07:00:00.500+01:00", datetime(2026, 11, 23, 6, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_times_that_are_understood(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW, "--since") == moment


@pytest.mark.parametrize("text", ["", "2x", "h", "yesterday", "2026-11-23", "2026-11-23T06:00:00", "99999999999999w", "-2h"])
def test_times_that_are_refused_say_what_is_taken(text: str) -> None:
    with pytest.raises(SettingInvalid, match=r"--since .*2h.*RFC 3339"):
        parse_moment(text, NOW, "--since")


def test_an_id_names_its_letter_with_or_without_its_agent(world: DeadLetterWorld) -> None:
    found, unknown = resolve_ids(["orders/3/1842", A, B, "orders/9/9"], world.read().letters)
    assert ([letter.id for letter in found], unknown) == ([B, A], ["orders/9/9"])


def test_an_id_without_agent_of_a_record_that_failed_two_is_refused_with_both(world: DeadLetterWorld) -> None:
    world.bury("orders/5/901@audit", failed=NOW)
    with pytest.raises(SettingInvalid, match="orders/5/901@order_processor or orders/5/901@audit"):
        resolve_ids(["orders/5/901"], world.read().letters)


@pytest.mark.parametrize("text", ["orders", "orders/5", "orders/5/x", "orders/5/901@", ""])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(SettingInvalid, match="no dead letter's id"):
        require_ids([text])
