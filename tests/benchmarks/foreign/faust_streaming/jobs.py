"""The jobs as a user of faust-streaming writes them.

    python jobs.py dedupe|map at_least_once|exactly_once     (in an environment of its own; settings from STREAMAPP_*)

Neither setting keeps its promise here (version 0.15.3, by its source and as seen):

- `exactly_once`: the offsets and the changelog are in a transaction. A record for a topic that the worker does not itself
  read is sent by the plain producer, outside of it: `TransactionManager.send` finds no partition for it. (Seen:
  bench-out holds no commit marker.) Stopped under load, it crashes on a changelog record that comes after its transaction, and
  exits with 1.
- Both: RocksDB is written when the agent writes, before anything is committed, so a mark can outlive its output: killed in
  between, the worker takes the record for a duplicate when it reads it again.

A run without a fault shows none of this, and such runs are what is measured.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import faust
import mode.loop
from faust.transport.drivers import aiokafka as driver

SETTINGS: dict[str, Any] = {
    "store": "rocksdb://",
    "broker_commit_interval": float(os.environ.get("STREAMAPP_COMMIT_INTERVAL", "0.2")),
    "broker_commit_every": 100_000,  # by time only, as the others
    # Without lingering there are four records in a request; half as much CPU again goes into requests.
    "producer_linger": 0.05,
    "producer_max_batch_size": 1_000_000,
    "producer_compression_type": "lz4",
    "consumer_auto_offset_reset": "earliest",
    "topic_disable_leader": True,
    "web_enabled": False,
}


class CommittedThread(driver.AIOKafkaConsumerThread):
    """Reads what is committed: at least once, it would read aborted records, and there is no setting for it."""

    def _create_worker_consumer(self, transport):
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self):
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(driver.Transport):
    Consumer = CommittedConsumer


class App(faust.App):
    def _new_transport(self):
        return CommittedTransport(self.conf.broker_consumer, self)


def make_app(job: str, guarantee: str) -> App:
    app = App(
        os.environ["STREAMAPP_APP_ID"],
        broker=f"kafka://{os.environ['STREAMAPP_BROKER']}",
        datadir=os.environ["STREAMAPP_DATA_DIR"],
        processing_guarantee=guarantee,
        **SETTINGS,
    )
    orders = app.topic("orders", key_serializer="raw", value_serializer="json")
    out = app.topic("bench-out", key_serializer="raw", value_serializer="json")

    if job == "dedupe":
        seen = app.Table("seen", partitions=8)

        @app.agent(orders)
        async def forward(stream):
            async for key, order in stream.items():
                order_id = order["order_id"]
                if order_id not in seen:
                    seen[order_id] = True
                    await out.send(key=key, value=order)

    else:

        @app.agent(orders)
        async def price(stream):
            async for key, order in stream.items():
                order["total_cents"] = order["quantity"] * order["unit_price_cents"]
                await out.send(key=key, value=order)

    return app


def main(job: str, guarantee: str) -> None:
    print(f"faust-streaming, {job}: {guarantee}, uvloop, {SETTINGS}", flush=True)
    mode.loop.use("uvloop")  # as `faust --loop uvloop` does
    faust.Worker(make_app(job, guarantee), loglevel="INFO").execute_from_commandline()  # until SIGTERM


if __name__ == "__main__":
    main(*sys.argv[1:])
