"""A worker that joins a running one takes half of the partitions; the kept ones go on, without an abort and without a rewind.

One abort is Kafka's own: the group's generation turned while the offsets were on their way.
"""

from __future__ import annotations

from streamapp.events import Event
from tests.support.group_rig import Group, until


async def test_a_joining_worker_takes_over_without_disturbing_what_is_kept(group: Group) -> None:
    source, out = group.topic("in", 4), group.topic("out", 4)
    first = await group.member("w1", group.sums(source, out)).start()
    await first.holds(4)
    before = first.numbers()
    async with group.flow(source, 4):
        await until(lambda: len(first.job.seen) > 100, "w1 works")
        second = await group.member("w2", group.sums(source, out)).start()
        theirs = await second.holds(2)
        kept = await first.holds(2)
        assert not kept & theirs
        await until(lambda: len(second.job.seen) > 100, "w2 works")
    await group.caught_up(source)
    dropped = group.events.messages(Event.TRANSACTION_ABORTED)
    assert len(dropped) <= 2, "one for each join of the rebalance"
    assert all("ILLEGAL_GENERATION" in why for why in dropped), dropped
    if not dropped:
        assert {where: first.numbers()[where] for where in kept} == {where: before[where] for where in kept}, (
            "kept ones were rewound"
        )
    await group.check(first.job)
    assert first.engine.counters()["dedupe_hits"] == second.engine.counters()["dedupe_hits"] == 0, "something was read twice"
