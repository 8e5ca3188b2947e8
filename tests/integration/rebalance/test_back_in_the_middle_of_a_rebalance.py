"""A static member that comes back between the two joins of a cooperative rebalance leaves no partition without an owner.

The broker gives it its share without another rebalance, and what it had just given back is in nobody's share.
"""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.faults import FaultPoint
from tests.support.group_rig import Group, until


@pytest.mark.parametrize("point", [FaultPoint.IN_REVOKE_BEFORE_COMMIT, FaultPoint.IN_REVOKE_AFTER_COMMIT])
async def test_a_worker_killed_while_it_gives_back_and_started_again_at_once(group: Group, point: FaultPoint) -> None:
    source, out = group.topic("in", 4), group.topic("out", 4)
    job = group.sums(source, out)
    # The end of the dead one's session would give its partitions away, too.
    patient: dict[str, Any] = {"session_timeout": 45.0, "heartbeat_interval": 1.0, "max_poll_interval": 60.0}
    first = group.child("w1", job, kill_at=point, **patient)
    for number in range(4):
        group.feed(source, number, 10)
    await group.caught_up(source)
    second = await group.member("w2", group.sums(source, out), **patient).start()
    assert await first.ended() == -9
    again = await group.member("w1", job, **patient).start()
    await until(
        lambda: len(again.engine.assignment()) == len(second.engine.assignment()) == 2,
        lambda: f"w1 holds {sorted(again.engine.assignment())}, w2 {sorted(second.engine.assignment())}",
    )
    for number in range(4):
        group.feed(source, number, 10)
    await group.caught_up(source)
    await group.check(again.job)
