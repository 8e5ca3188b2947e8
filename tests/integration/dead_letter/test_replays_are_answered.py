"""What became of a replayed record stands in the status topic, by the transaction of what became of it."""

from __future__ import annotations

import asyncio
from typing import Any

from streamapp.errors import Permanent
from streamapp.faults import FaultPoint
from streamapp.pipeline.cursor import Cursor
from tests.support.dlq_rig import letters, replay, rows, statuses
from tests.support.engine_rig import EngineRig, Worker
from tests.support.topic_reader import read_topics

BROKEN = {"i": 1, "k": "1"}


class Broken:
    """A handler that cannot do the broken one, until it is mended."""

    is_mended = False

    def __call__(self, value: dict[str, Any], cursor: Cursor) -> None:
        if value["i"] == BROKEN["i"] and not self.is_mended:
            raise Permanent("broken")


async def buried(rig: EngineRig, **job: Any) -> tuple[Worker, Broken]:
    """Return a worker that has buried the broken one among others."""
    rig.make(partitions=2, **job)
    rig.feed([{"i": 0, "k": "0"}, BROKEN, {"i": 2, "k": "2"}])
    worker, broken = rig.worker(), Broken()
    worker.before = broken
    await worker.start()
    await rig.caught_up()
    return worker, broken


async def test_a_success_is_visible_with_its_row_or_neither_is(rig: EngineRig) -> None:
    """Stands between the two and the commit, and has a successor end the transaction there, as after SIGKILL."""
    _, broken = await buried(rig)
    [letter] = letters(rig)
    broken.is_mended = True
    status = f"{rig.app_id}-dlq-status"
    stop = rig.stop_at(FaultPoint.AFTER_SEND_OFFSETS)
    replay(rig, letter, BROKEN)
    assert await asyncio.to_thread(stop.reached.wait, 30)
    written = await asyncio.to_thread(read_topics, rig.bootstrap, [status, rig.job.out], committed_only=False)
    assert sum(len(lane) for lane in written[status].values()) == 1
    assert sum(len(lane) for lane in written[rig.job.out].values()) == 3
    assert (sorted(rig.visible()), statuses(rig)) == ([0, 2], [])
    await asyncio.to_thread(rig.predecessor)
    assert (sorted(rig.visible()), statuses(rig)) == ([0, 2], [])
    stop.release()
    await rig.caught_up()
    assert (sorted(rig.visible()), statuses(rig)) == ([0, 1, 2], [(letter.id, "resolved", "processed")])


async def test_a_failure_is_the_same_dead_letter_reopened_and_a_duplicate_was_already_processed(rig: EngineRig) -> None:
    _, broken = await buried(rig, dedupe=True)
    [letter] = letters(rig)
    replay(rig, letter, BROKEN)
    await rig.caught_up()
    assert statuses(rig) == [(letter.id, "reopened", None)]
    _, again = letters(rig)
    assert (again.id, again.source, again.replay_count) == (letter.id, letter.source, 1)
    assert again.position != letter.position
    broken.is_mended = True
    for _ in range(2):
        replay(rig, again, BROKEN)
    await rig.caught_up()
    assert statuses(rig)[1:] == [(letter.id, "resolved", "processed"), (letter.id, "resolved", "already-processed")]
    assert sorted(rig.visible()) == [0, 1, 2]
    assert [getattr(row, "replays", None) for _, row in rows(rig)] == [1, 2, 2]
