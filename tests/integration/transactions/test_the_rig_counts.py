"""Without any fault each record is counted once, its duplicate dropped, and a restart reads back what was counted."""

from __future__ import annotations

from tests.support.counting import orders
from tests.support.engine_rig import EngineRig


async def test_counts_duplicates_and_a_restart(rig: EngineRig) -> None:
    rig.make(dedupe=True)
    rig.feed([*orders(200), *orders(20)])
    first = await rig.start()
    await rig.caught_up()
    assert first.counters["dedupe_hits"] == 20
    await first.stop()
    rig.feed(orders(50, first=190))
    second = await rig.start()
    await rig.caught_up()
    assert rig.wrong() == []
    assert second.table() == rig.due_counts()
    assert rig.events("transaction_aborted") == []
