"""All tables of a worker live on the budget that STREAMAPP_ROCKSDB_MEMORY_BYTES gives, shared out among all their partitions."""

from __future__ import annotations

from streamapp.state.budget import RocksBudget, write_buffer_bytes
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig

MEMORY = 16 * 1024 * 1024


def budget_of(rig: EngineRig) -> RocksBudget:
    [worker] = rig.workers
    assert worker._assembly is not None
    return worker._assembly._budget


async def test_every_partition_of_every_table_has_its_share_of_what_the_setting_gives(rig: EngineRig) -> None:
    rig.make(partitions=16, dedupe=True)
    rig.feed(orders(400))
    worker = await rig.start(rocksdb_memory_bytes=MEMORY)
    await worker.ready(16)
    await rig.caught_up()
    budget = budget_of(rig)
    used = budget.usage()
    assert (used.budget, budget._stores) == (MEMORY, 32)
    assert write_buffer_bytes(MEMORY, 32) < write_buffer_bytes(MEMORY, 1)
    # Both tables of each partition have write buffers on it: RocksDB lays out 32 with their filters.
    assert 32 * 16_384 < used.write_buffers <= used.held <= MEMORY
    assert rig.wrong() == []
