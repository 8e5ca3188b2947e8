"""A record that fails for good is in the dead letters, once and whole, by the transaction that passes it; nothing of its attempts is seen."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from streamapp.errors import CommitRefused, Permanent
from streamapp.faults import FaultPoint
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter import read_dead_letter
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import current_savepoint
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig


def buried(rig: EngineRig) -> list[tuple[bytes | None, str, int]]:
    """Return value, stage and source offset of each visible dead letter."""
    found = []
    for lane in rig.read(rig.job.dlq).values():
        for rec in lane:
            letter = read_dead_letter(list(rec.headers))
            assert letter is not None
            found.append((rec.value, letter.stage, letter.source.offset))
    return sorted(found, key=lambda each: each[2])


async def test_outputs_and_table_writes_of_before_the_failure_and_bytes_that_nobody_can_read(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = rig.worker()

    def send_then_fail(value: dict[str, Any], output: bytes) -> bytes:
        if value["i"] in (7, 12):
            savepoint = current_savepoint.get()
            assert savepoint is not None
            savepoint.send((rig.job.out, output, value["k"].encode(), -1, 0, []))
            raise Permanent("after it has counted and sent")
        return output

    worker.grown = send_then_fail
    await worker.start()
    rig.feed(orders(15))
    rig.feed([b"{not json \xff"])
    await rig.caught_up()
    assert [(stage, offset) for _, stage, offset in buried(rig)] == [("handler", 7), ("handler", 12), ("decode", 15)]
    assert buried(rig)[2][0] == b"{not json \xff"
    assert sorted(rig.visible()) == [i for i in range(15) if i not in (7, 12)]
    expected: dict[str, int] = {}
    for i in range(15):
        expected[str(i % 4)] = expected.get(str(i % 4), 0) + (i not in (7, 12))
    assert worker.table() == expected
    assert rig.committed()[0] >= 16


async def test_a_unit_that_is_aborted_between_dead_letter_and_commit_leaves_one_letter(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = rig.worker()

    def refuse(value: dict[str, Any], cursor: Cursor) -> None:
        if value["i"] == 7:
            raise Permanent

    def abort() -> None:
        assert buried(rig) == [], "it is with the broker, and nobody sees it"
        raise CommitRefused("made by the test")

    worker.before = refuse
    await worker.start()
    rig.feed(orders(1))
    await rig.caught_up()
    rig.do_at(FaultPoint.AFTER_FLUSH, abort, times=2)
    rig.feed(orders(14, first=1))
    await rig.caught_up()
    assert worker.counters["aborts"] == 2
    assert [offset for _, _, offset in buried(rig)] == [7]
    assert rig.wrong(without=[7]) == []


async def test_with_several_in_hand_the_committed_offset_is_what_is_done_without_a_gap(rig: EngineRig) -> None:
    rig.make(partitions=1, table=False)
    worker = rig.worker()
    tries = 0

    overtaken = asyncio.Event()

    async def refuse(value: dict[str, Any]) -> None:
        nonlocal tries
        if value["i"] == 8:
            overtaken.set()
        if value["i"] == 5:
            await overtaken.wait()
            tries += 1
            raise ConnectionError("away")

    worker.before = lambda value, cursor: refuse(value)
    patient = Retry(attempts=3, base=0.4, factor=1.0, jitter="none")
    worker.agents = [replace(worker.job.agent(worker), concurrency=4, retry=patient)]
    await worker.start()
    rig.feed(orders(30))
    seen: set[int | None] = set()

    def buried_at_last() -> bool:
        seen.add(worker.committed(0))
        return tries == 3

    await worker.until(buried_at_last, "the last attempt")
    assert max(offset or 0 for offset in seen) == 5, "what is done behind it is not passed"
    await rig.caught_up()
    assert [json.loads(value or b"")["i"] for value, _, _ in buried(rig)] == [5]
    assert sorted(rig.visible()) == [i for i in range(30) if i != 5]
    assert rig.committed()[0] >= 30
