"""Somebody else's open transaction on a source holds its own partition at the last stable offset, in sight, and only until it ends."""

from __future__ import annotations

import json

import pytest

from tests.support.changelogs import ForeignTransaction
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.topics import watermarks


@pytest.mark.parametrize("ends", ["commits", "aborts"])
async def test_its_partition_is_read_up_to_it_and_goes_on_when_it_ends(rig: EngineRig, ends: str) -> None:
    rig.make(partitions=2)
    rig.feed(orders(10))
    worker = await rig.start()
    await rig.caught_up()
    foreign = ForeignTransaction(rig.bootstrap)
    foreign.produce(rig.job.source, 0, b"0", json.dumps({"i": 100, "k": "0"}).encode())
    rig.feed(orders(10, first=10))
    await worker.until(lambda: worker.committed(1) == 10, "the other partition goes on")
    assert worker.committed(0) == 5
    assert 100 not in rig.visible()
    # The lag that a look at offsets shows: the record that is undecided, and the five behind it.
    stable, high = watermarks(rig.bootstrap, [rig.job.source])[rig.job.source, 0]
    assert (stable, high, high - rig.committed()[0]) == (5, 11, 6)
    assert worker.engine.ready, "a wait for others is no reason to be taken out of service"
    if ends == "commits":
        foreign.commit()
    else:
        foreign.abort()
    await rig.caught_up()
    assert (100 in rig.visible()) == (ends == "commits")
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()
