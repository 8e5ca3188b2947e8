"""Orders are priced, each once; the demand of each article is summed up.

    orders ──▶ order_processor ──▶ orders-priced
                     └───────────▶ sku-demand ──▶ sku_demand ──▶ sku-totals

What an agent sends and writes while it works on one record becomes visible together with that record's offset, or not at all.
An agent that raises is called again, and in the end the record goes to `orders-dlq`; its neighbours do not notice.
"""

from __future__ import annotations

from agents import order_trials
from agents.order_models import Order, PricedOrder, SkuDemand, SkuTotal
from streamapp import Stream, app
from tables.orders import customer_totals, processed_orders, sku_totals

orders = app.topic("orders", key_type=str, value_type=Order, partitions=8)
priced = app.topic("orders-priced", key_type=str, value_type=PricedOrder, partitions=8)
demand = app.topic("sku-demand", key_type=str, value_type=SkuDemand, partitions=5)
totals = app.topic("sku-totals", key_type=str, value_type=SkuTotal, partitions=5)


@app.agent(orders, name="order_processor", dedupe=processed_orders.by(lambda order: order.order_id), dlq="orders-dlq")
async def order_processor(stream: Stream[Order]) -> None:
    """Price each order once, and add it to its customer's total."""
    async for order in stream:
        if order.sku in order_trials.SKUS:  # for trying things out; an agent of your own has no such line
            await order_trials.run(order.sku)
        total = customer_totals[order.customer].plus(order.total_cents)
        customer_totals[order.customer] = total
        await priced.send(
            key=order.customer,
            value=PricedOrder(
                order_id=order.order_id,
                customer=order.customer,
                sku=order.sku,
                quantity=order.quantity,
                total_cents=order.total_cents,
                customer_order_count=total.orders,
                customer_total_cents=total.cents,
            ),
        )
        await demand.send(key=order.sku, value=SkuDemand(order.order_id, order.sku, order.quantity))


@app.agent(demand, name="sku_demand", dlq="orders-dlq")
async def sku_demand(stream: Stream[SkuDemand]) -> None:
    """Sum up the demand of each article."""
    async for item in stream:
        total = sku_totals[item.sku] + item.quantity
        sku_totals[item.sku] = total
        await totals.send(key=item.sku, value=SkuTotal(item.order_id, item.sku, total))
