"""A dead-letter topic that takes nothing costs its own partition a wait and the others little; the letter is written once it can be."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from streamapp.errors import CommitRefused, DeliveryFailed
from streamapp.pipeline import letters
from streamapp.pipeline.dead_letter import read_dead_letter
from streamapp.pipeline.spec import AgentSpec
from tests.support.fakes import FakeBroker
from tests.support.pipeline import Bench, agent, batches, each, emit, running, table

WAITS = (0.02, 0.1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "FIRST_WAIT", WAITS[0])
    monkeypatch.setattr(letters, "LONGEST_WAIT", WAITS[1])


def closed() -> FakeBroker:
    """Return a broker whose dead-letter topic takes nothing."""
    broker = FakeBroker()
    broker.unwritable.add("dlq")
    return broker


class Agent:
    def __init__(self) -> None:
        self.calls: list[bytes] = []

    async def body(self, value: bytes) -> None:
        self.calls.append(value)
        if value.startswith(b"bad"):
            raise RuntimeError("no")
        emit(value)

    def spec(self, **more: int) -> AgentSpec:
        return agent(each(self.body), **more)  # type: ignore[arg-type]  # as agent's


def failures(caplog: pytest.LogCaptureFixture, event: str = "dlq_write_failed") -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "event", "") == event]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_it_waits_is_tried_again_without_a_call_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, concurrency: int
) -> None:
    tried = Agent()
    with caplog.at_level(logging.WARNING):
        async with running(tried.spec(concurrency=concurrency), broker=closed(), partitions={"in": 2}) as bench:
            bench.broker.feed("in", 0, b"a", b"bad", b"b")
            await bench.until(lambda: len(failures(caplog)) >= 4)
            calls = tried.calls.count(b"bad")
            bench.broker.feed("in", 1, b"x", b"y")
            await bench.until(lambda: bench.broker.values("out", 1) == [b"x", b"y"])
            assert bench.broker.committed("in", 0) == 1, "never skipped"
            assert not bench.engine.failure.done()
            bench.broker.unwritable.clear()
            await bench.caught_up()
            assert bench.broker.values("dlq") == [b"bad"]
            assert sorted(map(bytes, filter(None, bench.broker.values("out", 0)))) == [b"a", b"b"]
            assert calls == tried.calls.count(b"bad")
            assert concurrency > 1 or calls == 2
    assert "dlq not writable: dlq: TOPIC_AUTHORIZATION_FAILED" in failures(caplog, "lane_stalled")[0].getMessage()
    assert failures(caplog, "lane_resumed")


async def test_waits_double_up_to_their_longest(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with running(Agent().spec(), broker=closed()) as bench:
            bench.broker.feed("in", 0, b"bad")
            await bench.until(lambda: len(failures(caplog)) >= 5)
            lane = next(iter(bench.engine.group.lanes.values()))
            (found,) = lane.condemned.values()
            left = found.not_before - bench.engine.clock.monotonic()
            assert 0.0 < left <= WAITS[1]
    moments = [record.created for record in failures(caplog)]
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert all(gap >= least for gap, least in zip(gaps, (0.02, 0.04, 0.08, 0.1), strict=False)), gaps


async def test_its_unit_holds_little_else() -> None:
    tried = Agent()
    async with running(tried.spec(), broker=closed(), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"bad")
        await bench.until(lambda: bench.engine.counters()["aborts"] >= 1)
        bench.broker.unwritable.clear()
        feeding = asyncio.create_task(_feed(bench))
        await bench.until(lambda: bench.broker.values("dlq") == [b"bad"])
        feeding.cancel()
        (unit,) = [each for each in bench.broker.transactions if each.committed and any(one[0] == "dlq" for one in each.records)]
        assert [record[0] for record in unit.records] == ["dlq"]
        assert {place.number for place in unit.offsets} == {0}


async def _feed(bench: Bench) -> None:
    while True:
        bench.broker.feed("in", 1, b"x")
        await asyncio.sleep(0)


async def test_a_letter_that_went_down_by_somebody_elses_fault_is_written_and_no_failure_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = FakeBroker()
    tried = Agent()
    with caplog.at_level(logging.WARNING):
        async with running(tried.spec(), broker=broker) as bench:
            broker.fail("flush", DeliveryFailed("out: no"))
            broker.feed("in", 0, b"bad", b"a")
            await bench.caught_up()
            assert bench.broker.values("dlq") == [b"bad"]
            assert bench.broker.values("out") == [b"a"]
            assert tried.calls.count(b"bad") == 2
    assert failures(caplog) == []


async def test_a_unit_that_fails_behind_its_flush_suspects_no_letter_and_its_record_keeps_its_attempts() -> None:
    tried = Agent()
    async with running(tried.spec()) as bench:
        await bench.until(lambda: bench.broker.committed("in", 0) == 0)
        bench.broker.fail("send_offsets", CommitRefused("illegal generation"))
        bench.broker.feed("in", 0, b"bad", b"a")
        await bench.caught_up()
        assert tried.calls.count(b"bad") == 3, "the attempts of before count, so one more is its last"
        assert bench.broker.values("dlq") == [b"bad"]


async def test_an_undecodable_record_of_a_batch_waits_alone() -> None:
    async def body(values: list[bytes]) -> None:
        for value in values:
            emit(value)

    async with running(agent(batches(4, body)), broker=closed()) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"!", b"c")
        await bench.until(lambda: bench.engine.counters()["aborts"] >= 3)
        await bench.until(lambda: bench.broker.values("out") == [b"a", b"b"])
        bench.broker.unwritable.clear()
        await bench.caught_up()
        assert bench.broker.values("dlq") == [b"!"]
        assert bench.broker.values("out") == [b"a", b"b", b"c"]


async def test_with_tables_and_two_agents_the_other_agents_work_comes_once() -> None:
    async def one(value: bytes) -> None:
        totals = bench.engine.table("totals")
        totals.put(b"n", b"%d" % (int(totals.get(b"n") or b"0") + 1))
        emit(b"1" + value)

    tried = Agent()
    agents = agent(each(one), name="one", dlq="dlq-one"), tried.spec()
    async with running(*agents, tables=[table()], broker=closed()) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: bench.engine.counters()["aborts"] >= 3)
        bench.broker.unwritable.clear()
        await bench.caught_up()
        assert bench.store() == {b"n": b"3"} == bench.changelog()
        assert bench.broker.values("out") == [b"1a", b"a", b"1bad", b"1b", b"b"]
        assert bench.broker.values("dlq") == [b"bad"]


async def test_a_stop_and_a_revoke_do_not_wait_for_it() -> None:
    async with running(Agent().spec(), broker=closed()) as bench:
        bench.broker.feed("in", 0, b"bad")
        await bench.until(lambda: bench.engine.counters()["aborts"] >= 2)
        (place,) = bench.engine.assignment()
        await asyncio.wait_for(asyncio.wrap_future(bench.source.revoke(place)), 5)
        await bench.until(lambda: not bench.engine.assignment())
        await asyncio.wait_for(bench.engine.stop(), 5)
    assert bench.broker.committed("in", 0) in (None, 0)


async def test_without_transactions_it_waits_as_well() -> None:
    async with running(Agent().spec(), broker=closed(), exactly_once=False) as bench:
        bench.broker.feed("in", 0, b"a", b"bad", b"b")
        await bench.until(lambda: bench.engine.counters()["aborts"] >= 3)
        bench.broker.unwritable.clear()
        await bench.caught_up()
        assert set(bench.broker.values("dlq")) == {b"bad"}
        letter = next(record for each in bench.broker.transactions for record in each.records if record[0] == "dlq")
        assert read_dead_letter(letter[5]) is not None


async def test_the_tail_of_commit_markers_behind_its_record_is_committed_away() -> None:
    async with running(Agent().spec(), broker=closed()) as bench:
        bench.broker.feed("in", 0, b"a", b"bad")
        bench.broker.marker("in", 0)
        await bench.until(lambda: bench.engine.counters()["aborts"] >= 2)
        bench.broker.unwritable.clear()
        await bench.caught_up()
        assert bench.broker.committed("in", 0) == 3
