"""Whoever owns a partition of the dead letters knows how many are unresolved, from the topics alone: also after a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.errors import Permanent
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.engine import Engine
from streamapp.pipeline.resolution import Resolution, Status
from streamapp.records import Partition
from tests.support.dlq_rig import counting, letters, replay, triage, write
from tests.support.engine_rig import EngineRig, Worker


def counts(worker: Worker) -> dict[Partition, int]:
    return {each.partition: each.count for each in worker.unresolved() if each.is_read}


async def test_the_counts_follow_the_topics_and_a_restart_finds_the_same(rig: EngineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    job = rig.make(partitions=2)
    rig.feed({"i": i, "k": str(i % 2)} for i in range(12))
    is_mended = False

    def refuse(value: dict[str, Any], cursor: Cursor) -> None:
        if not is_mended and value["i"] >= 2:
            raise Permanent("broken")

    def prepared() -> Worker:
        worker = rig.worker()
        worker.before = refuse
        worker.agents = [counting(worker), triage(rig)]
        return worker

    one, two = Partition(job.dlq, 0), Partition(job.dlq, 1)
    heard: list[str] = []
    monkeypatch.setattr(Engine, "settled", lambda _, ids: heard.extend(ids), raising=False)
    worker = await prepared().start()
    await rig.caught_up()
    await worker.until(lambda: counts(worker) == {one: 5, two: 5}, "all are counted")
    by_partition = {number: [letter for letter in letters(rig) if letter.source.partition == number] for number in (0, 1)}
    replay(rig, by_partition[0][0], {"i": 2, "k": "0"})
    write(rig, by_partition[1][0].id, Resolution(status=Status.DISCARDED, at=datetime.now(UTC), by="ops"))
    write(rig, by_partition[1][1].id, Resolution(status=Status.REPLAYING, at=datetime.now(UTC), by="ops"))
    await rig.caught_up()
    assert len(letters(rig)) == 11, "it failed again: one more letter of the same id"
    await worker.until(lambda: counts(worker) == {one: 5, two: 4}, "a reopened one counts, a discarded one does not")
    is_mended = True
    replay(rig, by_partition[0][1], {"i": 4, "k": "0"})
    await worker.until(lambda: counts(worker) == {one: 4, two: 4}, "a resolved one does not count")
    settled = {by_partition[0][1].id, by_partition[1][0].id}
    assert set(heard) == settled
    oldest = [each.oldest for each in worker.unresolved()]
    await worker.stop()
    again = await prepared().start()
    await again.until(lambda: counts(again) == {one: 4, two: 4}, "the same after a restart")
    assert [each.oldest for each in again.unresolved()] == oldest
    assert (len(heard), set(heard)) == (4, settled), "a worker that starts hears of what was settled before"
    assert [again.engine._parts.settled(letter.id) for letter in by_partition[1]] == [True, False, False, False, False]
