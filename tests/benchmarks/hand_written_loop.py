"""The yardstick: what a competent engineer writes by hand for speed, exactly once, without a framework.

One process, one consumer, one transactional producer, RocksDB tables with changelogs in the transaction, `async for` over
batches, a commit every 0.2 s during which the loop stands still. What it leaves out is what makes a framework: retries,
savepoints, fencing of late requests, more than one rebalance profile. Any error ends it; a restart restores and goes on.

    python -m tests.benchmarks.hand_written_loop dedupe|orders     (settings from STREAMAPP_*, as for a worker)
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from rocksdict import BlockBasedOptions, Options, Rdict, WriteBatch

OFFSET_KEY: Final = b"\x00changelog-offset"
BATCH: Final = 500
REQUEST: Final = 10.0


class Shard:
    """One partition of a table: RocksDB below, what the open transaction wrote on top."""

    __slots__ = ("changelog", "offset", "overlay", "partition", "store")

    def __init__(self, path: Path, changelog: str, partition: int) -> None:
        options = Options(raw_mode=True)
        blocks = BlockBasedOptions()
        blocks.set_bloom_filter(10, block_based=False)
        options.set_block_based_table_factory(blocks)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.store = Rdict(str(path), options)
        self.changelog, self.partition = changelog, partition
        self.overlay: dict[bytes, bytes | None] = {}
        stored = self.store.get(OFFSET_KEY)
        self.offset = int(stored) if stored is not None else 0

    def get(self, key: bytes) -> bytes | None:
        if key in self.overlay:
            return self.overlay[key]
        found: bytes | None = self.store.get(key)
        return found

    def apply(self) -> None:
        """Write the overlay and the changelog offset in one batch; only after the transaction committed."""
        batch = WriteBatch(raw_mode=True)
        for key, value in self.overlay.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(OFFSET_KEY, str(self.offset).encode())
        self.store.write(batch)
        self.overlay = {}

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        self.offset = (message.offset() or 0) + 1


class Loop:
    """Consumer, producer, tables and the transaction around them."""

    def __init__(self, sources: Iterable[str], tables: dict[str, str]) -> None:
        """`tables` names each table's source topic."""
        env = os.environ
        self.app_id, self.worker_id = env["STREAMAPP_APP_ID"], env.get("STREAMAPP_WORKER_ID", "w1")
        self.home = Path(env["STREAMAPP_DATA_DIR"])
        self.bootstrap = env["STREAMAPP_BROKER"]
        self.commit_interval = float(env.get("STREAMAPP_COMMIT_INTERVAL", "0.2"))
        self.sources, self.tables = list(sources), tables
        self.shards: dict[tuple[str, int], Shard] = {}
        self.offsets: dict[tuple[str, int], int] = {}
        self.stopping = False
        name = f"{self.app_id}-{self.worker_id}"
        self.producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "transactional.id": name,
                "transaction.timeout.ms": 30_000,
                "linger.ms": 10,
                "batch.size": 1_000_000,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 500_000,
            }
        )
        self.consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": self.app_id,
                "group.instance.id": name,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "queued.min.messages": 10_000,
                "queued.max.messages.kbytes": 16_384,
            }
        )

    async def records(self) -> AsyncIterator[Message]:
        """Yield each record; it counts as done when the next one is asked for."""
        self.producer.init_transactions(REQUEST)
        self.producer.begin_transaction()
        self.consumer.subscribe(self.sources, on_assign=self._assigned, on_revoke=self._revoked)
        due = time.monotonic() + self.commit_interval
        while not self.stopping:
            batch = self.consumer.consume(BATCH, 0)
            if not batch:
                batch = await asyncio.to_thread(self.consumer.consume, BATCH, 0.02)
            for message in batch:
                error = message.error()
                if error is not None:
                    raise KafkaException(error)
                yield message
            for message in batch:
                self.offsets[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
            if time.monotonic() >= due:
                if self.offsets:
                    await asyncio.to_thread(self.commit)
                due = time.monotonic() + self.commit_interval

    def commit(self) -> None:
        """Changelogs, offsets, transaction, then the disk: it never holds what Kafka did not commit."""
        for shard in self.shards.values():
            if shard.overlay:
                self._log(shard)
        self.producer.flush(REQUEST)
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in self.offsets.items()]
        self.producer.send_offsets_to_transaction(offsets, self.consumer.consumer_group_metadata(), REQUEST)
        self.producer.commit_transaction(REQUEST)
        for shard in self.shards.values():
            if shard.overlay:
                shard.apply()
        self.offsets = {}
        self.producer.begin_transaction()

    def send(
        self,
        topic: str,
        value: bytes | None,
        message: Message,
        *,
        key: bytes | None,
        headers: list[tuple[str, bytes | None]] | None,
    ) -> None:
        """Produce because of `message`, with its timestamp."""
        while True:
            try:
                if headers:
                    self.producer.produce(topic, value, key, timestamp=message.timestamp()[1], headers=headers)  # type: ignore[arg-type]  # a list is what it takes
                else:
                    self.producer.produce(topic, value, key, timestamp=message.timestamp()[1])
                return
            except BufferError:
                self.producer.poll(0.05)

    def _log(self, shard: Shard) -> None:
        produce, topic, partition = self.producer.produce, shard.changelog, shard.partition
        last = len(shard.overlay) - 1
        for at, (key, value) in enumerate(shard.overlay.items()):
            while True:
                try:
                    if at == last:  # one report is enough: offsets grow
                        produce(topic, value, key, partition, shard.delivered)
                    else:
                        produce(topic, value, key, partition)
                    break
                except BufferError:
                    self.producer.poll(0.05)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        opened: dict[tuple[str, int], Shard] = {}
        for table, source in self.tables.items():
            for part in partitions:
                if part.topic == source:
                    path, changelog = self.home / table / str(part.partition), f"{self.app_id}-{table}-changelog"
                    opened[table, part.partition] = Shard(path, changelog, part.partition)
        self._restore(list(opened.values()))
        self.shards.update(opened)
        consumer.incremental_assign(partitions)

    def _restore(self, shards: list[Shard]) -> None:
        """Read each changelog partition from the stored offset to its high watermark."""
        options = {"bootstrap.servers": self.bootstrap, "group.id": f"{self.app_id}-restore", "enable.auto.commit": False}
        dirty = Consumer({**options, "isolation.level": "read_uncommitted"})
        reader = Consumer({**options, "isolation.level": "read_committed", "enable.partition.eof": True})
        try:
            behind: dict[tuple[str, int], tuple[Shard, int]] = {}
            for shard in shards:
                marks = dirty.get_watermark_offsets(TopicPartition(shard.changelog, shard.partition), timeout=REQUEST)
                assert marks is not None
                if shard.offset < marks[1]:
                    behind[shard.changelog, shard.partition] = (shard, marks[1])
            reader.assign([TopicPartition(*at, shard.offset) for at, (shard, _) in behind.items()])
            end = time.monotonic() + 60
            while behind:
                if time.monotonic() > end:
                    raise TimeoutError(f"not restored: {list(behind)}")
                for message in reader.consume(5_000, 0.2):
                    self._replay(message, behind)
        finally:
            dirty.close()
            reader.close()
        for shard in shards:
            shard.apply()

    def _replay(self, message: Message, behind: dict[tuple[str, int], tuple[Shard, int]]) -> None:
        at = (message.topic() or "", message.partition() or 0)
        if at not in behind:
            return
        shard, high = behind[at]
        error, offset = message.error(), message.offset() or 0
        if error is None:
            shard.overlay[_raw(message.key()) or b""] = _raw(message.value())
            shard.offset = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            shard.offset = max(shard.offset, offset)
        else:
            raise KafkaException(error)
        if shard.offset >= high:
            del behind[at]

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self.offsets and not self.stopping:
            self.commit()
        for table, source in self.tables.items():
            for part in partitions:
                if part.topic == source:
                    self.shards.pop((table, part.partition)).store.close()
        consumer.incremental_unassign(partitions)

    def close(self) -> None:
        if self.offsets:
            self.commit()
        self.stopping = True
        self.producer.abort_transaction(REQUEST)
        self.consumer.close()


def _raw(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def main(jobs: dict[str, Callable[[], tuple[Loop, Callable[[], Awaitable[None]]]]], name: str) -> None:
    """Run a job until SIGTERM."""
    loop, work = jobs[name]()

    async def run() -> None:
        stop: Callable[[], None] = lambda: setattr(loop, "stopping", True)  # noqa: E731
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        # The cyclic collector costs as much as the work at these rates, and nothing here makes cycles.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        await work()
        loop.close()

    asyncio.run(run())


if __name__ == "__main__":
    from tests.benchmarks.hand_written_jobs import JOBS  # it builds on this module

    main(JOBS, sys.argv[1])
