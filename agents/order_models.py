"""What travels on the order topics. Every type is a JSON object with exactly these fields.

The limits are part of the types: a record that breaks one is no `Order`, never reaches the agent, and goes to the dead letters.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from agents.rfc3339 import Time

Name = Annotated[str, Meta(min_length=1, max_length=64)]
"""An identifier, its length in code points."""


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
