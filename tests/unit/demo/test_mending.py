"""The demo mends the orders whose quantity is a text of digits, finds them among the dead letters, and leaves all others alone."""

from __future__ import annotations

import json

import pytest

from agents.order_models import Order
from streamapp.pipeline.decode import decoder_for
from tests.demo.mending import Letter, mendable, quantity_as_number
from tests.support.kafka_records import Headers, Lanes, Rec
from tests.support.poison import POISON

FIELDS: dict[str, object] = {"order_id": "o-1", "customer": "ann", "sku": "pen", "quantity": 3, "unit_price_cents": 5}
LETTER: Headers = tuple(
    (f"streamapp.dlq.{name}", value)
    for name, value in {
        "id": b"orders/2/7@order_processor",
        "source.topic": b"orders",
        "source.partition": b"2",
        "source.offset": b"7",
        "exception.fingerprint": b"1d250459bca7",
    }.items()
)


def test_a_mended_order_is_an_order_with_the_number_that_the_text_said() -> None:
    mended = quantity_as_number(b"ann", json.dumps(FIELDS | {"quantity": "12"}).encode(), (("source", b"web"),))
    assert mended is not None
    key, value, headers = mended
    assert (key, headers) == (b"ann", (("source", b"web"),))
    order = decoder_for(Order)(value)
    assert (order.order_id, order.quantity) == ("o-1", 12)


@pytest.mark.parametrize("name", [name for name in POISON if name != 'quantity "1"'])
def test_every_other_kind_of_poison_stays_as_it_is(name: str) -> None:
    assert quantity_as_number(b"ann", POISON[name](dict(FIELDS)), ()) is None


def test_only_dead_letters_that_can_be_mended_are_found() -> None:
    values = [POISON[name](dict(FIELDS)) for name in ("quantity true", 'quantity "1"', "not JSON", "no value")]
    lanes: Lanes = {2: [Rec("orders-dlq", 2, at, b"ann", value, LETTER, 0) for at, value in enumerate(values)]}
    lanes[3] = [Rec("orders-dlq", 3, 0, b"ann", values[1], (), 0)]  # written by somebody else
    assert mendable(lanes) == [Letter("orders/2/7@order_processor", "1d250459bca7", "o-1")]
