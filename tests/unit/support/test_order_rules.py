"""What counts as an order, case by case, in the contract's words."""

from __future__ import annotations

import json

import pytest

from tests.support.order_rules import Either, Order, Refused, judge_order

GOOD = {"order_id": "o", "customer": "c", "sku": "s", "quantity": 1, "unit_price_cents": 0}


def raw(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def text(field: str, written: str) -> bytes:
    whole = {name: json.dumps(value) for name, value in GOOD.items()} | {field: written}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in whole.items()) + "}").encode()


@pytest.mark.parametrize(
    "value",
    [
        raw(),
        raw(order_id="\U0001f600" * 64, customer="é" * 64),
        raw(quantity=10_000, unit_price_cents=100_000_000),
        raw(placed_at=None),
        raw(unknown={"deep": [1.5, None, True]}, Quantity="no"),
        b" \n" + raw() + b"\t",
        text("quantity", '1,"huge":' + "9" * 5000),
        text("quantity", '1,"big":1e999'),
        *(
            raw(placed_at=at)
            for at in (
                "2024-02-29T23:59:59Z",
                "2024-01-01t00:00:00z",
                "2024-01-01T00:00:00.123456789+14:00",
                "2024-01-01T00:00:00-00:00",
                "0001-01-01T00:00:00Z",
            )
        ),
    ],
)
def test_an_order(value: bytes) -> None:
    assert isinstance(judge_order(value), Order)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        raw() + b"x",
        b"\xef\xbb\xbf" + raw(),
        raw().decode().encode("utf-16"),
        raw(sku="\xff").replace(b"\\u00ff", b"\xff"),
        text("sku", '"s","note":"\xff"').decode().encode("latin-1"),
        text("quantity", "NaN"),
        text("quantity", '1,"x":Infinity'),
        text("quantity", "01"),
        text("quantity", "1.0"),
        text("quantity", "1e2"),
        text("quantity", "true"),
        text("quantity", '"1"'),
        text("quantity", "9" * 5000),
        *(raw(**{name: None}) for name in GOOD),
        *(json.dumps({k: v for k, v in GOOD.items() if k != name}).encode() for name in GOOD),
        raw(quantity=0),
        raw(quantity=10_001),
        raw(unit_price_cents=-1),
        raw(unit_price_cents=100_000_001),
        raw(order_id=""),
        raw(customer="x" * 65),
        raw(sku=5),
        raw(sku=["s"]),
        *(
            raw(placed_at=at)
            for at in (
                5,
                "",
                "yesterday",
                "2024-01-01",
                "2024-01-01T00:00:00",
                "2024-01-01T00:00Z",
                "2024-01-01T00:00:00+0100",
                "2024-01-01T00:00:00+01",
                "2024-01-01T00:00:00+24:00",
                "2024-01-01T24:00:00Z",
                "2024-13-01T00:00:00Z",
                "2023-02-29T00:00:00Z",
                "2024-01-01T00:00:00.Z",
                "2024-01-01T00:00:00Z ",
                "２024-01-01T00:00:00Z",
            )
        ),
    ],
)
def test_no_order(value: bytes | None) -> None:
    assert isinstance(judge_order(value), Refused)


@pytest.mark.parametrize(
    "value",
    [
        text("sku", '"\\ud800"'),
        text("sku", '"s","note":["\\udfff"]'),
        text("quantity", '1,"quantity":2'),
        raw(placed_at="2016-12-31T23:59:60Z"),
        raw(placed_at="2024-01-01 00:00:00Z"),
        raw(placed_at="0000-01-01T00:00:00Z"),
    ],
)
def test_what_the_contract_leaves_open(value: bytes) -> None:
    assert isinstance(judge_order(value), Either)


def test_of_a_name_given_twice_the_last_counts() -> None:
    judged = judge_order(text("quantity", '1,"quantity":2'))
    assert isinstance(judged, Either)
    assert judged.order.quantity == 2
