"""While a dependency is away its partition stands: at most what opened the breaker is dead-lettered, and nothing is lost."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from streamapp.errors import CommitRefused, Permanent, Transient
from streamapp.pipeline.breaker import Breaker, BreakerState
from streamapp.pipeline.spec import AgentSpec
from streamapp.records import Partition
from tests.support.pipeline import Bench, Body, agent, batches, each, emit, running, table

QUICK_BREAKER = Breaker(transient=3, probe_interval=0.05)
ZERO = Partition("in", 0)


@pytest.fixture(autouse=True)
def _watch_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.pipeline.engine.WATCH_INTERVAL", 0.005)


def breaking(body: Body, breaker: Breaker = QUICK_BREAKER, **more: object) -> AgentSpec:
    return replace(agent(each(body), **more), breaker=breaker)  # type: ignore[arg-type]  # as agent's


class Dependency:
    """What an agent calls: away, or there."""

    def __init__(self) -> None:
        self.away: Exception | None = ConnectionError("connection refused")
        self.calls: list[bytes] = []

    async def body(self, value: bytes) -> None:
        self.calls.append(value)
        if value.startswith(b"bad"):
            raise Permanent
        if self.away is not None:
            raise self.away
        emit(value)


def is_open(bench: Bench, number: int = 0) -> bool:
    return any(reason.startswith("breaker") for reason in bench.engine.group.lanes[Partition("in", number)].pauses)


def breaker_of(bench: Bench) -> BreakerState:
    breaker = bench.engine.group.lanes[ZERO].inlets[0].breaker
    assert breaker is not None
    return breaker


def make_due(bench: Bench) -> None:
    """Have the time of the next probe come."""
    breaker_of(bench).probe_at = 0.0


def said(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == event]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_an_outage_buries_what_opened_the_breaker_and_everything_else_comes_once(concurrency: int) -> None:
    dependency = Dependency()
    values = [b"%d" % at for at in range(100)]
    async with running(breaking(dependency.body, concurrency=concurrency)) as bench:
        bench.broker.feed("in", 0, *values)
        await bench.until(lambda: is_open(bench))
        before = len(dependency.calls)
        await bench.until(lambda: len(dependency.calls) > before + 5)
        dependency.away = None
        await bench.caught_up()
        buried = bench.broker.values("dlq")
        assert len(buried) == 3
        assert sorted([*buried, *bench.broker.values("out")], key=lambda value: int(value or b"")) == values


async def test_only_the_record_at_the_head_is_tried_once_an_interval() -> None:
    dependency = Dependency()
    async with running(breaking(dependency.body)) as bench:
        bench.broker.feed("in", 0, *[b"%d" % at for at in range(10)])
        await bench.until(lambda: is_open(bench))
        del dependency.calls[:]
        await bench.until(lambda: len(dependency.calls) >= 6)
        assert set(dependency.calls) == {b"3"}


async def test_other_partitions_and_other_agents_go_on() -> None:
    dependency = Dependency()

    async def body(value: bytes) -> None:
        if value.startswith(b"x"):
            emit(value)
        else:
            await dependency.body(value)

    async with running(breaking(body, Breaker(transient=1, probe_interval=3600.0)), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"1", b"2")
        await bench.until(lambda: is_open(bench))
        bench.broker.feed("in", 1, b"x1", b"x2")
        await bench.until(lambda: bench.broker.values("out", 1) == [b"x1", b"x2"])
        assert not is_open(bench, 1)
        assert bench.broker.values("dlq") == [b"1"]


async def test_it_stays_open_over_a_rewind_and_its_dead_letters_do_not_count_twice() -> None:
    dependency = Dependency()
    async with running(breaking(dependency.body, Breaker(transient=3, probe_interval=3600.0)), commit_interval=3.0) as bench:
        bench.broker.feed("in", 0, *[b"%d" % at for at in range(10)])
        await bench.until(lambda: is_open(bench))
        calls = list(dependency.calls)
        bench.engine.admission.fail(CommitRefused("made by the test"))
        await bench.until(lambda: bench.engine.counters()["aborts"] == 1 and bench.engine.ready)
        await bench.until(lambda: bench.engine.group.lanes[ZERO].waiting)
        assert is_open(bench)
        assert dependency.calls == calls


async def test_a_new_owner_starts_closed() -> None:
    dependency = Dependency()
    async with running(breaking(dependency.body, Breaker(transient=1, probe_interval=3600.0))) as bench:
        bench.broker.feed("in", 0, b"1", b"2")
        await bench.until(lambda: is_open(bench))
        dependency.away = None
        bench.source.revoke(ZERO).result(5)
        bench.source.assign(ZERO)
        await bench.until(lambda: bench.broker.values("out") == [b"2"])


async def test_bad_data_is_buried_at_once_and_the_next_record_probes() -> None:
    dependency = Dependency()
    async with running(breaking(dependency.body, Breaker(transient=1, probe_interval=3600.0))) as bench:
        bench.broker.feed("in", 0, b"1", b"bad1", b"!bad2", b"2")
        await bench.until(lambda: is_open(bench))
        make_due(bench)
        await bench.until(lambda: b"2" in dependency.calls)
        assert is_open(bench)
        await bench.until(lambda: bench.broker.values("dlq") == [b"1", b"bad1", b"!bad2"])
        dependency.away = None
        make_due(bench)
        await bench.caught_up()
        assert bench.broker.values("out") == [b"2"]


async def test_bad_data_opens_nothing() -> None:
    dependency = Dependency()
    dependency.away = None
    async with running(breaking(dependency.body, Breaker(transient=1, consecutive=1, probe_interval=3600.0))) as bench:
        bench.broker.feed("in", 0, *[b"bad"] * 60, *[b"!"] * 60, b"a")
        await bench.caught_up()
        assert len(bench.broker.values("dlq")) == 120


async def test_a_duplicate_says_nothing_about_the_dependency() -> None:
    dependency = Dependency()
    dependency.away = None
    spec = breaking(dependency.body, Breaker(transient=1, probe_interval=0.05), dedupe="marks")
    async with running(spec, tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        dependency.away = ConnectionError()
        bench.broker.feed("in", 0, b"1", b"a", b"a", b"2")
        await bench.until(lambda: dependency.calls.count(b"2") >= 2)
        assert is_open(bench)
        assert bench.broker.values("dlq") == [b"1"]


async def test_a_batch_agent_probes_with_one_record() -> None:
    away = True
    taken: list[list[bytes]] = []

    async def body(values: list[bytes]) -> None:
        taken.append(values)
        if away:
            raise ConnectionError
        for value in values:
            emit(value)

    async with running(replace(agent(batches(4, body)), breaker=Breaker(transient=1, probe_interval=0.05))) as bench:
        bench.broker.feed("in", 0, b"0")
        await bench.until(lambda: is_open(bench))
        bench.broker.feed("in", 0, *[b"%d" % at for at in range(1, 6)])
        await bench.until(lambda: bench.engine.group.lanes[ZERO].waiting >= 4)
        del taken[:]
        await bench.until(lambda: len(taken) >= 3)
        assert all(len(values) == 1 for values in taken)
        away = False
        await bench.caught_up()
        assert bench.broker.values("out") == [b"%d" % at for at in range(1, 6)]


async def test_an_outage_that_is_announced_opens_it_for_that_long_and_buries_nothing(caplog: pytest.LogCaptureFixture) -> None:
    dependency = Dependency()
    dependency.away = Transient("busy", retry_after=3600.0)
    with caplog.at_level(logging.WARNING):
        async with running(breaking(dependency.body)) as bench:
            bench.broker.feed("in", 0, b"1", b"2")
            await bench.until(lambda: is_open(bench))
            assert 290 < breaker_of(bench).probe_at - bench.engine.clock.monotonic() <= 300
            dependency.away = None
            make_due(bench)
            await bench.caught_up()
            assert dependency.calls == [b"1", b"1", b"2"]
            assert bench.broker.values("out") == [b"1", b"2"]
    assert bench.broker.values("dlq") == []
    (opened,) = said(caplog, "breaker_opened")
    assert "asked to be left alone for 300 s" in opened


async def test_without_a_breaker_an_announced_outage_is_a_verdict() -> None:
    dependency = Dependency()
    dependency.away = Transient("busy", retry_after=3600.0)
    async with running(breaking(dependency.body, Breaker(enabled=False))) as bench:
        bench.broker.feed("in", 0, b"1")
        await bench.caught_up()
        assert bench.broker.values("dlq") == [b"1"]


async def test_the_log_says_since_when_why_and_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    dependency = Dependency()
    with caplog.at_level(logging.WARNING):
        async with running(breaking(dependency.body)) as bench:
            bench.broker.feed("in", 0, *[b"%d" % at for at in range(5)])
            await bench.until(lambda: is_open(bench))
            dependency.away = None
            await bench.caught_up()
    (opened,) = said(caplog, "breaker_opened")
    assert "in/0: the breaker of agent agent opened: 3 verdicts in a row, all transient" in opened
    stalled = said(caplog, "lane_stalled")
    assert stalled
    assert all(
        "in/0: breaker open since 20" in line and "last error ConnectionError at test_breakers.py:" in line for line in stalled
    )
    (closed,) = said(caplog, "breaker_closed")
    assert "a record of agent agent succeeded" in closed
