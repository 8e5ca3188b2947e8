"""Rule 20: what was begun before a partition was rewound, or went away and came back, can no longer write or send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from streamapp.clock import Deadline
from streamapp.errors import SavepointEnded
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.savepoint import Savepoint, current_savepoint
from streamapp.records import Partition
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.tampering import Call, error, on, raising

REFUSED = error(KafkaError.ILLEGAL_GENERATION, abort=True)


class Stuck:
    """A record that is with its agent until `let_go`, though its task was cancelled; then it sends and writes all the same."""

    def __init__(self, i: int) -> None:
        self.i = i
        self.let_go = asyncio.Event()
        self.reached = asyncio.Event()
        self.tried = 0
        self.refused = 0
        self.worker: Worker

    async def hold(self) -> None:
        savepoint = current_savepoint.get()
        assert isinstance(savepoint, Savepoint)
        self.reached.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        table = self.worker.engine.table("counts")
        self._try(savepoint.send, (self.worker.job.out, b'{"i": -1, "k": "0", "n": 0}', b"0", -1, 0, []))
        self._try(table.put, b"0", b"999")

    def _try(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except SavepointEnded:
            self.refused += 1
        self.tried += 1

    def before(self, value: dict[str, Any], cursor: Cursor) -> Any:
        return self.hold() if value["i"] == self.i and not self.reached.is_set() else None


def stuck_in(worker: Worker, i: int) -> Stuck:
    stuck = Stuck(i)
    stuck.worker = worker
    worker.before = stuck.before
    return stuck


async def test_a_record_stuck_over_a_rewind_can_neither_send_nor_write(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = rig.worker()
    stuck = stuck_in(worker, 5)
    await worker.start()
    await worker.ready()
    lane = worker.lanes[Partition(rig.job.source, 0)]
    await worker.until(lambda: worker.counters["commits"] > 0, "its beginning is committed")
    number = lane.number
    rig.clients.tamper_producer = on("send_offsets_to_transaction", raising(REFUSED))
    rig.feed(orders(10))
    await worker.until(lambda: stuck.reached.is_set() and lane.number != number and lane.running, "rewound under the record")
    stuck.let_go.set()
    await rig.caught_up()
    assert stuck.refused == stuck.tried == 2
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_a_record_stuck_while_its_partition_went_away_and_came_back_can_neither_send_nor_write(rig: EngineRig) -> None:
    rig.make(partitions=2)
    first = rig.worker("w1", max_poll_interval=4.0, session_timeout=2.0)
    await first.start()
    await first.ready(2)
    second = await rig.start("w2", session_timeout=1.0)
    await first.until(lambda: len(first.lanes) == len(second.lanes) == 1, "one each")
    (moving,) = second.lanes
    await second.stop()
    rig.workers.remove(second)
    await first.until(lambda: moving in first.lanes and first.lanes[moving].running, "both at w1")
    stuck = stuck_in(first, moving.number)
    # The other partition's first: its records would wait for the one actor, which will be stuck.
    rig.feed([order for order in orders(10, keys=2) if int(str(order["k"])) != moving.number])
    await first.until(lambda: (first.committed(1 - moving.number) or 0) >= 5, "the other partition is done")
    rig.feed([order for order in orders(10, keys=2) if int(str(order["k"])) == moving.number])
    await first.until(stuck.reached.is_set, "in hand")
    held = first.lanes[moving]
    second = await rig.start("w2", session_timeout=1.0)
    await first.until(lambda: moving not in first.lanes, "gone")
    await rig.caught_up()
    await second.stop()
    rig.workers.remove(second)
    await first.until(lambda: moving in first.lanes and first.lanes[moving].running, "back")
    assert first.lanes[moving] is not held
    stuck.let_go.set()
    await first.until(lambda: stuck.tried == 2, "let go")
    rig.feed(orders(10, keys=2, first=10))
    await rig.caught_up()
    assert stuck.refused == stuck.tried == 2
    assert rig.wrong() == []


async def test_a_timers_run_over_a_rewind_starts_anew_and_overwrites_nothing(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    rig.feed(orders(10, keys=1))
    await rig.caught_up()
    lane = worker.lanes[Partition(rig.job.source, 0)]
    let_go, runs = asyncio.Event(), []

    async def add_a_thousand() -> None:
        table = worker.engine.table("counts")
        found = int(table.get(b"0") or 0)
        runs.append(found)
        await let_go.wait()
        table.put(b"0", b"%d" % (found + 1000))

    timer = asyncio.create_task(worker.engine.tick(add_a_thousand, name="t"))
    await worker.until(lambda: len(runs) == 1, "it has read")
    number = lane.number
    # A timer keeps its line; the rewind lets the records in.
    rig.clients.tamper_producer = on("send_offsets_to_transaction", raising(REFUSED))
    worker.engine.send((rig.job.out, b'{"i": -1, "k": "-1", "n": 1}', b"-1", -1, 0, []))
    rig.feed(orders(5, keys=1, first=10))
    await worker.until(lambda: lane.number != number and lane.next_offset == 15, "rewound, and more was counted")
    let_go.set()
    await timer
    await worker.until(lambda: worker.table() == {"0": 1015}, "both are in the table")
    assert runs == [10, 15]


async def test_records_fetched_before_a_rewind_are_not_done_after_it(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = rig.worker(commit_interval=0.05)
    rewound: list[bool] = []

    def block(value: dict[str, Any], cursor: Cursor) -> None:
        """Hold the loop, so that batches of the old number wait at its door when the new one is given."""
        if value["i"] == 100 and not rewound:
            lane = worker.lanes[Partition(rig.job.source, 0)]
            number, patience = lane.number, Deadline.after(30.0)
            while lane.number == number and not patience.passed:
                time.sleep(0.01)
            rewound.append(lane.number != number)

    def refuse_at_100(call: Call) -> Any:
        if call.name == "send_offsets_to_transaction" and call.args[0][0].offset == 100 and not rewound:
            raise REFUSED
        return call.proceed()

    worker.before = block
    await worker.start()
    await worker.until(lambda: worker.counters["commits"] > 0, "its beginning is committed")
    rig.clients.tamper_producer = refuse_at_100
    rig.feed(orders(3000))
    await rig.caught_up()
    assert rewound == [True]
    assert rig.wrong() == []
