"""What the order agents remember."""

from __future__ import annotations

from msgspec import Struct

from streamapp import app

DAY = 86_400


class CustomerTotal(Struct, frozen=True):
    """How many orders a customer has placed, and what they cost together."""

    orders: int = 0
    cents: int = 0

    def plus(self, cents: int) -> CustomerTotal:
        """Return the total with one more order."""
        return CustomerTotal(self.orders + 1, self.cents + cents)


processed_orders = app.dedupe_table("processed_orders", horizon=7 * DAY)
"""The order ids already priced. A record of the same id counts as a duplicate for 7 days of event time."""

customer_totals = app.Table("customer_totals", value_type=CustomerTotal, default=CustomerTotal)
"""By customer."""

sku_totals = app.Table("sku_totals", value_type=int, default=int)
"""Quantity ordered so far, by sku."""
