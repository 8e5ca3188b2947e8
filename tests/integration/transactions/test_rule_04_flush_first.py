"""Rule 4: whoever sees a committed offset finds its changelog records below the high watermark: flush comes before send_offsets."""

from __future__ import annotations

from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call
from tests.support.topics import end_offsets


async def test_all_that_a_unit_wrote_is_in_the_log_before_its_offsets_leave(rig: EngineRig) -> None:
    rig.make(partitions=1)
    await rig.start(producer_linger=0.25)
    logs: list[tuple[int, int]] = []
    queued: list[int] = []

    def look(call: Call) -> object:
        if call.name == "send_offsets_to_transaction":
            queued.append(len(call.client))
            ends = [sum(end_offsets(rig.bootstrap, topic).values()) for topic in (rig.job.out, rig.job.changelog)]
            logs.append((ends[0], ends[1]))
        return call.proceed()

    rig.feed([])
    rig.clients.tamper_producer = look
    rig.feed(orders(40, keys=40))
    await rig.caught_up()
    assert set(queued) == {0}
    out, changelog = logs[-1]
    # Its commit markers are not there yet; those of earlier units are.
    assert out >= 40
    assert changelog >= 40
    assert rig.wrong() == []


async def test_flush_send_offsets_and_commit_follow_each_other_in_every_unit(rig: EngineRig) -> None:
    rig.make(partitions=1)
    await rig.start()
    for first in range(0, 30, 10):
        rig.feed(orders(10, first=first))
        await rig.caught_up()
    calls = rig.clients.names("begin_transaction", "flush", "send_offsets_to_transaction", "commit_transaction")
    units = [unit.split() for unit in " ".join(calls).split("begin_transaction")[1:]]
    assert len(units) >= 3
    assert {tuple(unit) for unit in units} == {("flush", "send_offsets_to_transaction", "commit_transaction")}
    assert rig.wrong() == []
