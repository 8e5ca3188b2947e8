"""A partition that goes and comes back while its tables are restored is read again: its old lane ends its own restore, not the new one's."""

from __future__ import annotations

from streamapp.clock import Deadline
from streamapp.records import Partition
from streamapp.testing.memory_kafka import MemoryHost, MemoryProducer
from tests.support.engine_process import COUNTS, GROUP
from tests.support.engine_world import World

ZERO = Partition("in", 0)


async def test_a_partition_that_comes_back_while_it_is_restored_is_read() -> None:
    world = World()
    try:
        other = MemoryProducer(MemoryHost(world.kafka, "other"), "other")  # its open transaction is what restores wait for
        other.init_transactions(Deadline.after(5.0))
        other.begin()
        other.produce((COUNTS, b"1", b"ann", ZERO.number, 0, []))
        other.flush(Deadline.after(5.0))
        await world.start("w1")
        process = world.running["w1"]
        group, restorer = process.engine.group, process.restorer
        world.poll_blindly("w1", 4)
        await world._until(lambda: bool(restorer.progress()), seconds=5.0)
        before = group.lanes[ZERO]
        world.kafka.expire_session(GROUP, "w1")
        world.poll_blindly("w1", 4)
        await world._until(lambda: len(group._recoveries) == 2, seconds=5.0)
        await world._until(lambda: len(group._recoveries) == 1, seconds=5.0)
        assert group.lanes[ZERO] is not before
        assert group._recoveries
        other.abort(Deadline.after(5.0))
        process.pace.free()
        await world._until(lambda: group.lanes[ZERO].running, seconds=5.0)
        assert group.lanes[ZERO].running
        world.feed(ZERO.number, "well", "ann")
        await world.finish()
    finally:
        await world.close()
