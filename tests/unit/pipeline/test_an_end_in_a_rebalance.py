"""A static member that ends between the two joins of a cooperative rebalance, and is back at once, leaves no partition without an owner.

On the Kafka in memory, turn by turn: its group has shared out all but what it has to give back, and it has not heard of that.
"""

from __future__ import annotations

import pytest

from tests.support.engine_process import GROUP
from tests.support.engine_world import World


@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_a_worker_that_ends_before_it_heard_what_to_give_back_is_given_it_again_or_another_is(end: str) -> None:
    world = World()
    try:
        await world.start("w1")
        await world.settled()
        for number in (0, 1):
            world.feed(number, "well", "ann")
        await world.start("w2")
        await world.poll("w2", 1)
        await world.poll("w1", 1)  # it hears of the other, and joins again
        shares = {member.instance: member.share for member in world.kafka.group(GROUP).members.values()}
        share = shares["w1"]
        assert share is not None
        assert len(share.partitions) == 1, "it is to give one back"
        await (world.stop if end == "stop" else world.crash)("w1")
        await world.start("w1")
        await world.settled()
        assert set(world.kafka.owners(GROUP).values()) == {"w1", "w2"}
        await world.finish()
        world.check(whole=True)
    finally:
        await world.close()
