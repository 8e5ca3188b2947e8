"""What the order agents remember.

A table belongs to the topic whose agent uses it, and has its partitions: what a record writes is kept in that record's partition.
So a sum is whole where all records of its key come in one partition, as they do in a topic that has the same key.
"""

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
"""By customer, which is the key of `orders`."""

sku_totals = app.Table("sku_totals", value_type=int, default=int)
"""Quantity ordered so far, by sku, which is the key of `sku-demand`: that is why the demand takes the way through a topic."""
