"""A partition that stands at a record stays there: nothing is written, nothing skipped, and no rewind has the agent called again."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest

from streamapp.errors import CommitRefused, Permanent
from streamapp.pipeline.spec import AgentSpec
from streamapp.records import Partition
from tests.support.pipeline import Bench, Body, agent, batches, each, emit, running


def stopping(body: Body) -> AgentSpec:
    return replace(agent(each(body)), on_error="stop")


class Calls:
    """An agent that fails on `bad`, and counts."""

    def __init__(self) -> None:
        self.made: list[bytes] = []

    async def body(self, value: bytes) -> None:
        self.made.append(value)
        if value == b"bad":
            raise Permanent("no such article")
        emit(value)

    @property
    def bad(self) -> int:
        return self.made.count(b"bad")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "lane_stopped"]


async def stands(bench: Bench) -> None:
    await bench.until(lambda: any("stopped" in reason for lane in bench.engine.group.lanes.values() for reason in lane.pauses))


async def test_the_log_names_agent_position_cause_and_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with running(stopping(Calls().body)) as bench:
            bench.broker.feed("in", 0, b"a", b"bad", b"b")
            await stands(bench)
    (line,) = said(caplog)
    assert re.sub(r":\d+ ", ": ", line) == (
        'in/0@1: agent agent stops at failures (on_error="stop"), so its partition stands here: Permanent at test_stops.py: Calls.body; '
        "mend the cause and restart the worker, or dead-letter the record: streamapp dlq take in/0/1 --execute"
    )


async def test_a_dlq_agent_is_offered_no_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with running(agent(each(Calls().body), dlq=None)) as bench:
            bench.broker.feed("in", 0, b"bad")
            await stands(bench)
    (line,) = said(caplog)
    assert "no dead-letter topic" in line
    assert line.endswith("mend the cause and restart the worker")


@pytest.mark.parametrize("committed", [True, False], ids=["committed up to it", "nothing committed"])
async def test_a_rewind_of_others_making_calls_it_no_more_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, committed: bool
) -> None:
    calls = Calls()
    with caplog.at_level(logging.ERROR):
        async with running(stopping(calls.body), partitions={"in": 2}, commit_interval=0.01 if committed else 3.0) as bench:
            bench.broker.feed("in", 0, b"a", b"bad", b"b")
            await stands(bench)
            if committed:
                await bench.until(lambda: bench.broker.committed("in", 0) == 1)
            for number in range(1, 4):
                bench.engine.admission.fail(CommitRefused("made by the test"))
                await bench.until(lambda: bench.engine.counters()["aborts"] == number and bench.engine.ready)  # noqa: B023 - awaited here
                await stands(bench)
                assert calls.bad == 1
            bench.broker.feed("in", 1, b"x")
            await bench.until(lambda: bench.engine.group.lanes[Partition("in", 1)].next_offset == 1)
            await bench.engine.stop()
            assert bench.broker.values("out", 0) == [b"a"]
            assert bench.broker.values("out", 1) == [b"x"]
            assert bench.broker.values("dlq") == []
            assert bench.broker.committed("in", 0) == 1
    assert len(said(caplog)) == 1


async def test_a_new_assignment_tries_it_again() -> None:
    calls = Calls()
    async with running(stopping(calls.body)) as bench:
        bench.broker.feed("in", 0, b"bad")
        await stands(bench)
        (place,) = bench.engine.assignment()
        bench.source.revoke(place).result(5)
        bench.source.assign(place)
        await bench.until(lambda: calls.bad == 2)


async def test_an_undecodable_record_in_a_batch_stops_the_partition_as_it_would_alone() -> None:
    taken: list[list[bytes]] = []

    async def body(values: list[bytes]) -> None:
        taken.append(values)
        for value in values:
            emit(value)

    async with running(agent(batches(5, body), dlq=None)) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"!", b"c")
        await stands(bench)
        await bench.until(lambda: bench.broker.committed("in", 0) == 2)
        assert taken == [[b"a"], [b"b"]]
        assert bench.broker.values("out") == [b"a", b"b"]
