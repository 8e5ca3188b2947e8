"""A member of the group is told to its worker by its names; one that is no worker of the app is not."""

from __future__ import annotations

import pytest

from streamapp.kafka.client_config import group_instance_id
from streamapp.kafka.members import Member, Membership
from streamapp.settings import load

SETS = ["orders", "refunds+returns"]


def member(client: str, instance: str | None = None) -> Member:
    return Member("id-1", client, instance, "/10.0.0.7", frozenset())


@pytest.mark.parametrize(
    ("found", "worker"),
    [
        (member("shop-w-2-orders", "shop-w-2-orders"), "w-2"),
        (member("shop-w-2-refunds+returns"), "w-2"),
        (member("rdkafka", "shop-w-2-orders"), "w-2"),
        (member("shop-w-2-other"), None),
        (member("shopper-w-2-orders"), None),
        (member("shop--orders"), None),
        (member("shop-orders"), None),
        (member("rdkafka"), None),
    ],
)
def test_the_workers_id_stands_between_the_apps_and_the_source_set(found: Member, worker: str | None) -> None:
    assert found.worker("shop", SETS) == worker


def test_a_name_too_long_for_the_broker_is_read_from_the_clients() -> None:
    settings = load({"app_id": "shop"}, {}, {})
    topic = "t" * 248
    instance = group_instance_id(settings, "w-2", topic)
    assert not instance.endswith(topic)
    assert member(f"shop-w-2-{topic}", instance).worker("shop", [topic]) == "w-2"


@pytest.mark.parametrize(
    ("state", "rebalancing"),
    [
        ("stable", False),
        ("empty", False),
        ("preparing_rebalancing", True),
        ("completing_rebalancing", True),
        ("reconciling", True),
    ],
)
def test_a_group_between_two_assignments_is_rebalancing(state: str, rebalancing: bool) -> None:
    assert Membership(state, ()).is_rebalancing is rebalancing
