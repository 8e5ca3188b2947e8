"""`streamapp config` tells each setting with its origin and what is recommended, never a secret; `--acls` the rights that an app needs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamapp.settings import load, names
from streamapp.settings.advice import advice
from tests.support.upkeep_rig import Said, UpkeepApp

SECRET = "hunter2"
SECURE = {
    "STREAMAPP_SECURITY_PROTOCOL": "sasl_plaintext",
    "STREAMAPP_SASL_MECHANISM": "PLAIN",
    "STREAMAPP_SASL_USERNAME": "ann",
    "STREAMAPP_SASL_PASSWORD": SECRET,
    "STREAMAPP_WEB_TOKEN": SECRET,
    "STREAMAPP_BROKER_OPTIONS": f"sasl.jaas.config={SECRET},client.rack=a",
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UpkeepApp]:
    """An app whose broker nobody can reach."""
    made = UpkeepApp("127.0.0.1:1", tmp_path, monkeypatch)
    made.id = "shop"
    made.declare(
        "from streamapp import StreamApp\n"
        "app = StreamApp('shop', commit_interval=0.05)\n"
        "orders = app.topic('orders', key_type=str, value_type=int)\n"
        "priced = app.topic('priced', partitions=2)\n"
        "totals = app.Table('totals', default=int)\n"
        "@app.agent(orders, name='price')\n"
        "async def price(stream):\n"
        "    async for shop, amount in stream.items():\n"
        "        totals[shop] += amount\n"
    )
    yield made
    made.forget()


def told(said: Said, name: str) -> dict[str, Any]:
    assert said.code == 0, said.stderr
    (row,) = (row for row in said.documents if row["name"] == name)
    return row


def test_each_setting_is_told_with_its_origin_by_either_door(app: UpkeepApp) -> None:
    for said in (app.run("config", "--json"), app.faust("config", "--json")):
        assert [row["name"] for row in said.documents] == list(names())
        assert (told(said, "commit_interval")["value"], told(said, "commit_interval")["origin"]) == (0.05, "code")
        assert (told(said, "broker")["origin"], told(said, "broker")["variable"]) == ("environment", "STREAMAPP_BROKER")
        assert (told(said, "session_timeout")["value"], told(said, "session_timeout")["origin"]) == (45.0, "default")


def test_no_secret_is_shown(app: UpkeepApp) -> None:
    for words in (("config",), ("config", "--json"), ("config", "--acls"), ("config", "--acls", "--json")):
        said = app.run(*words, **SECURE)
        assert said.code == 0 and SECRET not in said.stdout + said.stderr
    said = app.run("config", "--json", **SECURE)
    assert told(said, "sasl_password")["value"] == told(said, "web_token")["value"] == "***"
    assert told(said, "broker_options")["value"] == {"sasl.jaas.config": "***", "client.rack": "a"}


def test_what_is_not_the_default_can_be_had_alone(app: UpkeepApp) -> None:
    said = app.run("config", "--changed", STREAMAPP_WEB_PORT="0")
    assert [row[:3] for row in said.rows] == [
        ["app_id", "shop", "code"],
        ["broker", "127.0.0.1:1", "environment"],
        ["commit_interval", "0.05", "code"],
        ["web_port", "0", "environment"],
    ]


def test_what_an_operator_sees_on_a_terminal(app: UpkeepApp) -> None:
    assert app.screen("config", "--changed").splitlines() == [
        "SETTING          VALUE        ORIGIN       RECOMMENDED",
        "app_id           shop         code         -",
        "broker           127.0.0.1:1  environment  two or three of the cluster's brokers: one alone may be the one that is down",
        (
            "commit_interval  0.05         code         0.2 s: about the delay that read_committed readers see; longer saves broker work, "
            "at most a third of transaction_timeout"
        ),
    ]


def test_a_wrong_setting_ends_with_its_one_line(app: UpkeepApp) -> None:
    said = app.run("config", STREAMAPP_COMMIT_INTERVAL="40")
    assert said.code == 2 and said.stderr.startswith("streamapp: STREAMAPP_COMMIT_INTERVAL=40: must be 0.01 to 10")


# --- advice


def test_advice_is_about_settings_that_there_are() -> None:
    assert set(advice(load({"app_id": "shop"}, {}, {}))) <= set(names())


@pytest.mark.parametrize(
    ("given", "name", "said"),
    [
        ({"transaction_timeout": 60.0}, "transaction_timeout", "at most session_timeout (45 s)"),
        ({}, "transaction_timeout", "30 s: how long readers wait"),
        ({"store": "memory://"}, "store", "tables are rebuilt on each start"),
        ({"worker_id": "w-1"}, "worker_id", "the same after a restart"),
        ({}, "worker_id", "each new id leaves its predecessor's partitions unowned"),
        ({"web_bind": "0.0.0.0", "web_show_values": True}, "web_bind", "others can read keys and values"),
        ({"web_bind": "0.0.0.0"}, "web_bind", "with values hidden"),
        ({"commit_interval": 1.0}, "producer_linger", "0.05 s"),
        ({"group_protocol": "consumer"}, "session_timeout", "the broker's"),
    ],
)
def test_advice_looks_at_what_is_set(given: dict[str, object], name: str, said: str) -> None:
    assert said in advice(load({"app_id": "shop", **given}, {}, {}))[name]


def test_what_is_as_it_should_be_needs_no_advice() -> None:
    assert "store" not in advice(load({"app_id": "shop"}, {}, {}))


# --- rights


def test_the_rights_are_those_of_its_topics_its_group_and_its_transactions(app: UpkeepApp) -> None:
    said = app.run("config", "--acls")
    assert said.code == 0, said.stderr
    assert {tuple(row[:4]) for row in said.rows} == {
        ("group", "shop", "literal", "Read"),
        ("transactional-id", "shop-", "prefixed", "Write"),
        ("topic", "shop-", "prefixed", "Read,Write,Create,DescribeConfigs"),
        ("topic", "orders", "literal", "Read,Write,DescribeConfigs"),
        ("topic", "orders-dlq", "literal", "Read,Write,Create,DescribeConfigs"),
        ("topic", "priced", "literal", "Write,Create,DescribeConfigs"),
    }
    lines = [shlex.split(line) for line in said.stderr.splitlines()]
    assert lines[0] == shlex.split(
        "kafka-acls.sh --bootstrap-server 127.0.0.1:1 --add --allow-principal User:NAME --operation Read --group shop"
    )
    assert lines[1][-4:] == ["--transactional-id", "shop-", "--resource-pattern-type", "prefixed"]


def test_rights_that_a_setting_makes_needless_are_left_out(app: UpkeepApp) -> None:
    less = {"STREAMAPP_TOPIC_ALLOW_DECLARE": "false", "STREAMAPP_PROCESSING_GUARANTEE": "at_least_once"}
    rights = app.run("config", "--acls", "--json", **SECURE, **less).documents
    assert {right["principal"] for right in rights} == {"User:ann"}
    assert not any("Create" in right["operations"] for right in rights)
    assert not any(right["resource"] == "transactional-id" for right in rights)
