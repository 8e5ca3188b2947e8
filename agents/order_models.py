"""What travels on the order topics. Every type is a JSON object with exactly these fields."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=64)]
"""An identifier, its length in code points."""

Time = Annotated[
    str,
    Meta(
        pattern=r"(?a)^(?!....-(?:02-3|(?:0[2469]|11)-31))"  # how long months are
        r"(?!..(?:[02468][1235679]|[13579][01345789])-02-29|(?:[02468][1235679]|[13579][01345789])00-02-29)"  # and which years leap
        r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt ](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
        r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)\Z"
    ),
]
"""An RFC 3339 time with a zone, kept as it was written. As `datetime`, msgspec would also take `+0100`, which RFC 3339 does not
know, and refuse leap seconds, which it does."""


class Order(Struct, frozen=True):
    """A customer orders a quantity of one article. Fields that it does not name are ignored."""

    order_id: Name
    customer: Name
    sku: Name
    quantity: Annotated[int, Meta(ge=1, le=10_000)]
    unit_price_cents: Annotated[int, Meta(ge=0, le=100_000_000)]
    placed_at: Time | None = None

    @property
    def total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


class PricedOrder(Struct, frozen=True):
    """An order with its price, and its customer's running count and sum, this order included."""

    order_id: str
    customer: str
    sku: str
    quantity: int
    total_cents: int
    customer_order_count: int
    customer_total_cents: int


class SkuDemand(Struct, frozen=True):
    """One order's demand of its article."""

    order_id: str
    sku: str
    quantity: int


class SkuTotal(Struct, frozen=True):
    """An article's running demand, this order included."""

    order_id: str
    sku: str
    total_quantity: int
