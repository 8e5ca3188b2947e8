"""A mark past its horizon leaves changelog and store; one that may still count stays, and still drops its duplicate."""

from __future__ import annotations

import shutil
import time

from tests.support.group_rig import Group, Member, until

HORIZON = 1.0


def marks(member: Member) -> set[bytes]:
    """Return the keys that the stores on disk hold."""
    return {key for partition in member.engine.table_partitions("sums-marks") for key, _ in partition.store.items()}


async def test_old_marks_go_and_one_of_the_future_stays(group: Group) -> None:
    source, out = group.topic("in", 1), group.topic("out", 1)
    job = group.sums(source, out, horizon=HORIZON)
    member = await group.member("w1", job).start()
    old = group.feed(source, 0, 50)
    later = time.time() + 3600
    (young,) = group.feed(source, 0, at=later)
    await group.caught_up(source)
    await until(lambda: b"%d" % young in marks(member), "they were marked")
    await until(lambda: marks(member) == {b"%d" % young}, lambda: f"{len(marks(member))} marks are left")
    # Every one of them is deleted in the changelog too, and none but them.
    buried = [rec.key for recs in group.read(job.marks_changelog).values() for rec in recs if rec.value is None]
    assert sorted(buried, key=lambda key: int(key or b"")) == [b"%d" % number for number in old]
    assert set(group.table_of(job.marks_changelog)) == {b"%d" % young}
    group.feed(source, 0, ids=[young], at=later)
    await group.caught_up(source)
    assert member.engine.counters()["dedupe_hits"] == 1
    await group.check(job)
    await member.stop()
    shutil.rmtree(member.data_dir)
    again = await group.member("w1", group.sums(source, out, horizon=HORIZON)).start()
    await again.holds(1)
    assert marks(again) == {b"%d" % young}, "what is restored from the changelog is what is left"
    group.feed(source, 0, ids=[young], at=later)
    await group.caught_up(source)
    assert again.engine.counters()["dedupe_hits"] == 1


async def test_an_expired_mark_no_longer_counts(group: Group) -> None:
    source, out = group.topic("in", 1), group.topic("out", 1)
    job = group.sums(source, out, horizon=HORIZON)
    member = await group.member("w1", job).start()
    ids = group.feed(source, 0, 3)
    await group.caught_up(source)
    await until(lambda: bool(job.seen) and not marks(member), "all are expired")
    group.feed(source, 0, ids=ids)
    await group.caught_up(source)
    assert job.seen == ids * 2
    assert member.engine.counters()["dedupe_hits"] == 0
