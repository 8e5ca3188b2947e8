"""A block that fails its checksum when it is read gives nobody a wrong value: its table partition is wiped, restored, and gone on with."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.errors import StreamAppError
from tests.support.counting import orders
from tests.support.damage import damage_blocks
from tests.support.engine_rig import EngineRig, Worker

KEYS = 3_000
"""Enough for a table of some ten blocks: the first holds what is read at an open, which would be another test."""


async def with_damage(rig: EngineRig) -> Worker:
    """Return a running worker that counted `KEYS` keys in two partitions, one of whose stores has damage that no open finds."""
    rig.make(partitions=2)
    rig.feed(orders(KEYS, keys=KEYS))
    worker = await rig.start()
    await rig.caught_up()
    await worker.stop()
    damage_blocks(rig.home / "w1" / "tables" / "counts" / "0")
    worker = await rig.start()
    await worker.ready(2)
    assert rig.events("store_wiped") == [], "the damage showed before anything was read"
    return worker


async def test_a_record_that_meets_it_is_counted_right_once_its_partition_is_restored(rig: EngineRig) -> None:
    worker = await with_damage(rig)
    rig.feed(orders(KEYS, keys=KEYS, first=KEYS))
    await rig.caught_up()
    [wiped] = rig.events("store_wiped")
    assert wiped["store"] == "counts/0"
    assert "checksum" in wiped["reason"]
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()
    assert not any(rig.read(rig.job.dlq).values()), "the disk's failure is not the record's"


async def test_an_agent_that_catches_everything_does_not_go_on_with_a_wrong_value(rig: EngineRig) -> None:
    worker = await with_damage(rig)
    caught: list[Exception] = []

    def read(value: dict[str, Any], cursor: object) -> None:
        # As user code would: a cache that may fail, so it is looked into under an `except Exception`, and goes on.
        try:
            worker.engine.table("counts").get(value["k"].encode())
        except StreamAppError as failure:
            caught.append(failure)
            worker.grown = lambda value, output: b'{"i":-1,"k":"0","n":-1}'

    worker.before = read
    original = worker.grown
    rig.feed(orders(KEYS, keys=KEYS, first=KEYS))
    await worker.until(lambda: bool(caught), "met")
    worker.grown = original
    await rig.caught_up()
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_what_iterates_over_the_table_finds_it_too(rig: EngineRig) -> None:
    worker = await with_damage(rig)
    with pytest.raises(StreamAppError, match="counts/0"):
        worker.table()
    await worker.until(lambda: bool(rig.events("store_wiped")), "wiped")
    await worker.ready(2)
    assert worker.table() == rig.due_counts()
