"""Rule 21: only its poll thread touches a consumer; a commit inside a rebalance gets its metadata from the callback."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import Any

from streamapp.clock import Deadline
from streamapp.faults import FaultPoint
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, Client


async def test_no_other_thread_touches_a_consumer_over_commits_aborts_and_rebalances(rig: EngineRig) -> None:
    rig.make(partitions=2)
    threads: dict[Client, set[str]] = defaultdict(set)

    def look(call: Call) -> Any:
        threads[call.client].add(threading.current_thread().name)
        return call.proceed()

    rig.clients.tamper_consumer = look
    first = await rig.start("w1", session_timeout=2.0)
    rig.feed(orders(20))
    await rig.caught_up()
    second = await rig.start("w2", session_timeout=1.0)
    rig.feed(orders(20, first=20))
    await first.until(lambda: len(first.lanes) == len(second.lanes) == 1, "one each")
    first.engine.admission.fail(RuntimeError("for a rewind"))
    rig.feed(orders(20, first=40))
    await rig.caught_up()
    await second.stop()
    await first.stop()
    assert len(threads) == 2
    assert set(map(frozenset, threads.values())) == {frozenset({f"kafka-poll {rig.job.source}"})}
    assert {call.name for call in rig.clients.calls} >= {
        "subscribe",
        "seek",
        "resume",
        "consumer_group_metadata",
        "close",
    }
    assert rig.wrong() == []


async def test_a_revoke_commits_the_whole_unit_before_it_lets_go(rig: EngineRig) -> None:
    rig.make(partitions=2)
    patient = {"commit_interval": 10.0, "max_poll_interval": 120.0, "session_timeout": 2.0}  # nothing but the revoke commits
    first = await rig.start("w1", **patient)
    await first.ready(2)
    rig.feed(orders(20))
    await first.until(lambda: sum(lane.next_offset for lane in first.lanes.values()) == 20, "admitted")
    assert first.counters["commits"] == 0
    at_the_end: list[dict[int, int]] = []

    rig.do_at(FaultPoint.IN_REVOKE_AFTER_COMMIT, lambda: at_the_end.append(rig.committed()))
    second = await rig.start("w2", **patient)
    await first.until(lambda: len(first.lanes) == len(second.lanes) == 1, "one each")
    assert at_the_end == [{0: 10, 1: 10}]
    assert (first.counters["commits"], first.counters["aborts"]) == (1, 0)
    assert rig.wrong() == []


async def test_the_revoke_of_a_close_commits_as_well(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start("w1", commit_interval=10.0)
    await worker.ready(1)
    rig.feed(orders(10))
    await worker.until(lambda: sum(lane.next_offset for lane in worker.lanes.values()) == 10, "admitted")
    source = next(iter(worker.lanes.values())).source
    await asyncio.to_thread(source.stop, Deadline.after(30.0))
    assert (worker.counters["commits"], worker.counters["aborts"]) == (1, 0)
    assert await asyncio.to_thread(rig.committed) == {0: 10}
    assert rig.wrong() == []
