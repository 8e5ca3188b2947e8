"""Rule 15: a record whose output the broker refuses for good is found among its neighbours and dead-lettered, alone and once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streamapp.errors import OutputRejected
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter import DeadLetter, read_dead_letter
from streamapp.pipeline.savepoint import current_savepoint
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.kafka_records import Rec

SMALL_TOPIC = {"max.message.bytes": "20000"}
"""Of the output topic; the producer itself takes a megabyte."""


def noise(size: int) -> str:
    """Return text that no compression shrinks much."""
    state = 12345
    digits: list[str] = []
    while len(digits) < size:
        state = (state * 1103515245 + 12345) % 2**31
        digits.append(chr(33 + state % 90))
    return "".join(digits).replace('"', "'").replace("\\", "/")


def growing(*large: int, size: int = 60_000) -> Callable[[dict[str, Any], bytes], bytes]:
    """Return how outputs are made: those of the `large` records get `size` bytes."""
    pad = noise(size)
    return lambda value, output: json.dumps({**json.loads(output), "pad": pad}).encode() if value["i"] in large else output


def letters(rig: EngineRig) -> list[tuple[DeadLetter, Rec]]:
    found = []
    for lane in rig.read(rig.job.dlq).values():
        for rec in lane:
            letter = read_dead_letter(list(rec.headers))
            assert letter is not None
            found.append((letter, rec))
    return found


def buried(rig: EngineRig) -> list[int]:
    return sorted(json.loads(rec.value or b"")["i"] for _, rec in letters(rig))


async def test_one_among_many_is_buried_and_its_neighbours_come_once(rig: EngineRig) -> None:
    rig.make(out=SMALL_TOPIC)
    rig.feed(orders(300))
    worker = rig.worker()
    worker.grown = growing(150)
    await worker.start()
    await rig.caught_up()
    ((letter, rec),) = letters(rig)
    assert (letter.reason, letter.stage, letter.attempts) == ("oversize-output", "sink", 1)
    assert letter.exception_type.endswith(OutputRejected.__qualname__)
    assert json.loads(rec.value or b"")["i"] == 150, "the source's bytes are kept"
    assert rig.wrong(without=[150]) == []
    assert worker.table() == rig.due_counts(without=[150])


async def test_several_on_several_partitions_are_all_found(rig: EngineRig) -> None:
    rig.make(partitions=4, out=SMALL_TOPIC)
    rig.feed(orders(120))
    worker = rig.worker()
    worker.grown = growing(0, 41, 42, 119)
    await worker.start()
    await rig.caught_up()
    assert buried(rig) == [0, 41, 42, 119]
    assert rig.wrong(without=[0, 41, 42, 119]) == []
    assert worker.table() == rig.due_counts(without=[0, 41, 42, 119])


async def test_a_record_before_commit_markers_is_found(rig: EngineRig) -> None:
    rig.make(partitions=1, out=SMALL_TOPIC)
    worker = rig.worker()
    worker.grown = growing(0, 5)
    rig.feed(orders(1), transactional=True)
    await worker.start()
    await rig.caught_up()
    rig.feed(orders(5, first=1), transactional=True)
    await rig.caught_up()
    assert buried(rig) == [0, 5]
    assert rig.wrong(without=[0, 5]) == []


async def test_one_that_the_client_itself_refuses_costs_one_abort(rig: EngineRig) -> None:
    rig.make(out=SMALL_TOPIC)
    rig.feed(orders(60))
    worker = rig.worker(producer_max_request_size=1000, commit_interval=1.0)
    worker.grown = growing(30, size=1_500_000)  # more than the dead letters' topic makes the producer take
    await worker.start()
    await rig.caught_up()
    assert buried(rig) == [30]
    assert worker.counters["aborts"] == 1
    assert rig.wrong(without=[30]) == []


async def test_an_output_that_is_no_bytes_is_refused_for_good_too(rig: EngineRig) -> None:
    rig.make(copies=3)
    rig.feed(orders(30))
    worker = rig.worker()
    worker.grown = lambda value, output: object() if value["i"] == 7 else output  # type: ignore[assignment,return-value]  # a bug
    await worker.start()
    await rig.caught_up()
    ((letter, _),) = letters(rig)
    assert (letter.reason, letter.stage, buried(rig)) == ("permanent", "sink", [7])
    assert rig.wrong(without=[7]) == []
    assert worker.table() == rig.due_counts(without=[7])


async def test_attempts_before_the_refused_one_are_counted(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(20))
    worker = rig.worker()
    worker.grown = lambda value, output: object() if value["i"] == 9 else output  # type: ignore[assignment,return-value]  # a bug
    failed: list[int] = []

    def fail_once(value: dict[str, Any], cursor: object) -> None:
        if value["i"] == 9 and not failed:
            failed.append(1)
            raise RuntimeError("the first time")

    worker.before = fail_once
    await worker.start()
    await rig.caught_up()
    ((letter, _),) = letters(rig)
    assert letter.attempts == 2
    assert rig.wrong(without=[9]) == []


async def test_a_letter_that_is_refused_itself_is_cut_to_a_reference(rig: EngineRig) -> None:
    rig.make(out=SMALL_TOPIC)
    worker = rig.worker()
    await worker.start()
    await worker.ready()
    _shrink(rig, rig.job.dlq, 10_000)  # after the start: the worker still takes it to be large
    pad = noise(15_000)
    rig.feed([*orders(5), {"i": 5, "k": "1", "pad": pad}, *orders(5, first=6)])
    worker.grown = growing(5)
    await rig.caught_up()
    ((letter, rec),) = letters(rig)
    assert rec.value is None
    assert "value" in letter.truncated
    assert (letter.source.topic, letter.reason) == (rig.job.source, "oversize-output")
    assert rig.wrong(without=[5]) == []


async def test_a_timers_work_in_the_same_unit_is_not_blamed_on_the_record(rig: EngineRig) -> None:
    rig.make(partitions=1, out=SMALL_TOPIC)
    worker = await rig.start(commit_interval=0.5)
    await worker.ready()
    ran: list[int] = []

    async def tick() -> None:
        ran.append(1)
        savepoint = current_savepoint.get()
        assert savepoint is not None
        savepoint.send((rig.job.out, noise(60_000).encode(), b"t", -1, 0, []))

    rig.feed(orders(1))
    await worker.until(lambda: sum(lane.next_offset for lane in worker.lanes.values()) == 1, "admitted")
    await worker.engine.tick(tick, name="too much")
    await worker.until(lambda: bool(rig.events("task_failed")), "the timer's output is left out")
    await rig.caught_up()
    rig.feed(orders(5, first=1))
    await rig.caught_up()
    assert letters(rig) == []
    assert rig.wrong() == []
    assert len(ran) <= 3


async def test_without_transactions_the_record_is_found_as_well_and_no_neighbour_is_lost(rig: EngineRig) -> None:
    rig.make(out=SMALL_TOPIC, dedupe=True)
    rig.feed(orders(60))
    worker = rig.worker(processing_guarantee="at_least_once", producer_compression="none")
    worker.grown = growing(30, 47)
    await worker.start()
    await rig.caught_up()
    # What was sent before a refusal is sent again after it, letters too.
    assert set(buried(rig)) == {30, 47}
    assert set(rig.visible()) == set(range(60)) - {30, 47}
    assert worker.counters["dedupe_hits"] == 0, "a mark outlived its output"
    rig.feed(orders(10, first=60))
    await rig.caught_up()
    assert set(rig.visible()) == set(range(70)) - {30, 47}
    assert worker.table() == rig.due_counts(without=[30, 47])


@pytest.mark.parametrize("guilty", ["first", "second"])
async def test_of_two_agents_on_a_record_the_one_that_made_it_is_named(rig: EngineRig, guilty: str) -> None:
    rig.make(partitions=1, out=SMALL_TOPIC, table=False)
    rig.feed(orders(40))
    worker = _two_agents(rig, guilty)
    await worker.start()
    await rig.caught_up()
    ((letter, _),) = letters(rig)
    assert (letter.agent, letter.reason, letter.attempts) == (guilty, "oversize-output", 1)
    assert letter.source.offset == 20
    sent = [json.loads(rec.value or b"") for lane in rig.read(rig.job.out).values() for rec in lane]
    for agent in ("first", "second"):
        mine = [value["i"] for value in sent if value["by"] == agent]
        assert mine == [i for i in range(40) if (i, agent) != (20, guilty)]


def _two_agents(rig: EngineRig, guilty: str) -> Worker:
    worker = rig.worker()
    single = worker.job.agent(worker)

    def agent(name: str) -> Any:
        async def run(cursor: Cursor) -> None:
            while True:
                value: Any = await anext(cursor)
                pad = noise(60_000) if name == guilty and value["i"] == 20 else ""
                output = json.dumps({**value, "by": name, "pad": pad}).encode()
                savepoint = current_savepoint.get()
                assert savepoint is not None
                savepoint.send((rig.job.out, output, b"one", -1, 0, []))

        return replace(single, name=name, run=run)

    worker.agents = [agent("first"), agent("second")]
    return worker


async def test_without_a_dead_letter_topic_the_partition_stands_and_the_other_goes_on(rig: EngineRig) -> None:
    rig.make(partitions=2, out=SMALL_TOPIC)
    rig.feed(orders(40))
    worker = rig.worker()
    worker.agents = [replace(worker.job.agent(worker), dlq=None)]
    worker.grown = growing(20)
    await worker.start()
    await worker.until(lambda: worker.committed(1) == 20 and worker.committed(0) == 10, "one goes on, one stands")
    assert any("no dead-letter topic" in record.getMessage() for record in rig.records("lane_stopped"))


def _shrink(rig: EngineRig, topic: str, size: int) -> None:
    admin = AdminClient({"bootstrap.servers": rig.bootstrap, "log_level": 0})
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    for done in admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]
    ).values():
        done.result(20)
