"""A worker that joins a running one takes half of the partitions; the kept ones go on, without an abort and without a rewind."""

from __future__ import annotations

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
    assert {where: first.numbers()[where] for where in kept} == {where: before[where] for where in kept}, "kept ones were rewound"
    assert first.engine.counters()["aborts"] == 0
    assert second.engine.counters()["aborts"] == 0
    await group.check(first.job)
    assert first.engine.counters()["dedupe_hits"] == second.engine.counters()["dedupe_hits"] == 0, "something was read twice"
