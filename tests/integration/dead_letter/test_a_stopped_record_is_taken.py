"""A partition that stands at a record goes on when an operator asks for its dead letter; whoever does not stand there says so."""

from __future__ import annotations

from typing import Any

from streamapp.errors import Permanent
from streamapp.pipeline.cursor import Cursor
from streamapp.records import Partition
from tests.support.dlq_rig import answered, ask_to_take, counting, letters
from tests.support.engine_rig import EngineRig


def refuse(value: dict[str, Any], cursor: Cursor) -> None:
    if value["i"] == 2:
        raise Permanent("broken")


async def test_the_owner_takes_it_and_answers_and_an_owner_elsewhere_is_not_waiting(rig: EngineRig) -> None:
    job = rig.make(partitions=2)
    rig.feed({"i": i, "k": str(i % 2)} for i in range(8))
    early = f"{job.source}/0/1"
    worker = rig.worker()
    worker.before = refuse
    worker.agents = [counting(worker, on_error="stop")]
    await worker.start()
    await worker.until(lambda: bool(rig.events("lane_stopped")) and worker.committed(1) == 4, "one stands, the other is done")
    await worker.until(lambda: worker.follows, "the rows of before the start are read")
    ask_to_take(rig, f"{job.source}/1/2")
    ask_to_take(rig, early)
    assert sorted(await answered(rig, worker, 2)) == [(early, "taken"), (f"{job.source}/1/2", "not-waiting")]
    await rig.caught_up()
    assert worker.lanes[Partition(job.source, 0)].pauses == set()
    [letter] = letters(rig)
    assert (letter.reason, letter.order, str(letter.source)) == ("taken", "stopped", early)
    assert rig.wrong(without=[2]) == []
