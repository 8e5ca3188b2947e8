"""A record that waits behind an open breaker, or for room among held ones, is dead-lettered when it is asked for."""

from __future__ import annotations

import time
from dataclasses import replace

from streamapp.errors import Transient
from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.dead_letter import DeadLetter
from streamapp.pipeline.held import HoldLimits
from streamapp.pipeline.resolution import Take
from streamapp.records import Position
from tests.support.blocking import Poison, blocking, letters, outputs, settle, table_of
from tests.support.pipeline import QUICK, Bench, agent, each, emit, running
from tests.support.replays import rows


def answers(bench: Bench) -> list[tuple[str, str]]:
    return [(name, str(row.state)) for name, row in rows(bench) if isinstance(row, Take)]


def told(letter: DeadLetter) -> tuple[str, str, str]:
    return letter.id, letter.reason, letter.order


async def test_behind_an_open_breaker_the_head_is_taken_and_the_next_record_waits() -> None:
    called: list[bytes] = []

    async def body(value: bytes) -> None:
        called.append(value)
        if value == b"1":
            raise Transient("away", retry_after=3600.0)
        emit(value)

    async with running(replace(agent(each(body)), breaker=Breaker())) as bench:
        (lane,) = bench.engine.group.lanes.values()
        bench.broker.feed("in", 0, b"1", b"2")
        await bench.until(lambda: lane.inlets[0].standing is not None)
        bench.engine.takes.asked(Position("in", 0, 0), time.time())
        await bench.until(lambda: bench.broker.committed("in", 0) == 1)
        assert [told(letter) for letter in letters(bench.broker)] == [("in/0/0@agent", "taken", "stopped")]
        assert answers(bench) == [("in/0/0", "taken")]
        assert (called, lane.paused) == ([b"1"], True)


async def test_behind_a_breaker_that_a_verdict_opened_the_head_is_taken_untried() -> None:
    called: list[bytes] = []

    async def body(value: bytes) -> None:
        called.append(value)
        raise ConnectionError("away")

    spec = replace(agent(each(body), retry=replace(QUICK, attempts=1, unknown_attempts=1)), breaker=Breaker(transient=1))
    async with running(spec) as bench:
        (lane,) = bench.engine.group.lanes.values()
        bench.source.frozen = True
        bench.broker.feed("in", 0, b"1", b"2", b"3")
        bench.source.frozen = False
        await bench.until(lambda: bench.broker.committed("in", 0) == 1 and lane.inlets[0].queue)
        bench.engine.takes.asked(Position("in", 0, 1), time.time())
        await bench.until(lambda: bench.broker.committed("in", 0) == 2)
        assert [told(letter) for letter in letters(bench.broker)][1:] == [("in/0/1@agent", "taken", "stopped")]
        taken = letters(bench.broker)[1]
        assert taken.attempts == 0
        assert taken.message.startswith("not tried: the breaker of agent agent is open since")
        assert taken.message.endswith("last error ConnectionError: away")
        assert answers(bench) == [("in/0/1", "taken")]
        assert (called, lane.paused) == ([b"1"], True)


async def test_a_record_that_found_no_room_is_taken_and_blocks_nothing() -> None:
    spec = blocking(Poison({b"a1"}), hold=HoldLimits(records_per_key=1))
    async with running(spec, tables=[table_of(spec)]) as bench:
        (lane,) = bench.engine.group.lanes.values()
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        bench.broker.feed("in", 0, b"b1", key=b"b")
        await bench.until(lambda: lane.inlets[0].standing is not None and bench.broker.committed("in", 0) == 2)
        bench.engine.takes.asked(Position("in", 0, 2), time.time())
        await bench.caught_up()
        assert [told(letter) for letter in letters(bench.broker)][1:] == [("in/0/2@agent", "taken", "stopped")]
        assert answers(bench) == [("in/0/2", "taken")]
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: outputs(bench.broker) == [b"b1", b"a2"])
