"""Why a partition starts no record is told with its kind, since when, of which agent, at which offset and attempt; never with a value."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from streamapp.errors import CommitRefused, Permanent
from streamapp.pipeline import letters
from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.facts import LaneFacts, Standstill
from streamapp.pipeline.held import HoldLimits
from streamapp.pipeline.retry import Retry
from streamapp.records import Partition
from tests.support.blocking import Poison, blocking, table_of
from tests.support.fakes import FakeBroker
from tests.support.pipeline import QUICK, Bench, agent, copy, each, emit, running, table

SLOW = Retry(attempts=3, unknown_attempts=3, base=2.0, cap=2.0, jitter="none", budget=5.0, attempt_timeout=5.0)
SECRET = b"secret"


def lane(bench: Bench, number: int = 0) -> LaneFacts:
    return next(each for each in bench.engine.facts().lanes if each.partition == Partition("in", number))


def told(bench: Bench, number: int = 0) -> list[tuple[str, str | None, int | None, int | None]]:
    """Return kind, agent, offset and next attempt of each standstill."""
    return [(each.kind, each.agent, each.offset, each.attempt) for each in lane(bench, number).standstills]


def since(bench: Bench) -> float:
    """Return the monotonic moment that the one standstill is told by, exactly."""
    [why] = bench.engine.group.lanes[Partition("in", 0)].whys.values()
    return why.since


def recent(standstill: Standstill, began: float) -> bool:
    return began - 1 <= standstill.since <= time.time() + 1


async def fail(value: bytes) -> None:
    raise ValueError(value)


async def test_a_record_that_waits_for_its_next_attempt() -> None:
    began = time.time()
    async with running(agent(each(fail), retry=SLOW)) as bench:
        bench.broker.feed("in", 0, SECRET)
        await bench.until(lambda: told(bench) == [("retrying", "agent", 0, 2)])
        [standstill] = lane(bench).standstills
        assert standstill.detail == "ValueError"
        assert recent(standstill, began)


async def test_a_stopped_partition_stands_since_its_verdict_whatever_is_rewound_meanwhile() -> None:
    async def body(value: bytes) -> None:
        if value == SECRET:
            raise Permanent
        emit(value)

    async with running(agent(each(body), on_error="stop"), partitions={"in": 2}) as bench:
        bench.broker.feed("in", 0, b"1", SECRET)
        await bench.until(lambda: told(bench) == [("stopped", "agent", 1, None)])
        assert lane(bench).stopped_at == 1
        before = since(bench)
        bench.broker.fail("send_offsets", CommitRefused())
        bench.broker.feed("in", 1, b"2")
        await bench.until(lambda: bench.engine.counters()["aborts"] == 1 and bench.broker.committed("in", 1) == 1)
        await bench.until(lambda: told(bench) == [("stopped", "agent", 1, None)])
        [after] = lane(bench).standstills
        assert (after.detail, since(bench)) == ("Permanent", before)
        assert (lane(bench, 1).stopped_at, told(bench, 1)) == (None, [])


async def test_an_open_breaker_is_told_with_the_record_that_waits_and_no_message() -> None:
    async def body(value: bytes) -> None:
        raise ConnectionError(value.decode())

    spec = replace(
        agent(each(body), retry=replace(QUICK, attempts=1, unknown_attempts=1)),
        breaker=Breaker(transient=2, probe_interval=3600.0),
    )
    began = time.time()
    async with running(spec) as bench:
        bench.broker.feed("in", 0, SECRET, SECRET, SECRET)
        await bench.until(lambda: told(bench) == [("breaker", "agent", 2, None)])
        [standstill] = lane(bench).standstills
        assert standstill.detail == "last error ConnectionError"
        assert recent(standstill, began)
        [told_of] = bench.engine.facts().agents
        assert told_of.breakers == {Partition("in", 0): pytest.approx(standstill.since, abs=1.0)}


async def test_a_dead_letter_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(letters, "LONGEST_WAIT", 0.05)
    broker = FakeBroker()
    broker.unwritable.add("dlq")
    async with running(agent(each(fail)), broker=broker) as bench:
        bench.broker.feed("in", 0, SECRET)
        await bench.until(lambda: told(bench) == [("unwritten", "agent", 0, None)])
        [first] = lane(bench).standstills
        assert first.detail == "dlq: TOPIC_AUTHORIZATION_FAILED"
        before = since(bench)
        await bench.until(lambda: bench.engine.facts().agents[0].letter_write_failures >= 3)
        await bench.until(lambda: told(bench) == [("unwritten", "agent", 0, None)])
        assert since(bench) == before, "it stands since its verdict, not since its last try"
        assert bench.engine.facts().agents[0].dead_letters == {}
        broker.unwritable.clear()
        await bench.caught_up()
        await bench.until(lambda: bench.engine.facts().agents[0].dead_letters == {("ValueError", "retries-exhausted"): 1})
        await bench.until(lambda: told(bench) == [])


async def test_a_key_that_finds_no_room() -> None:
    spec = blocking(Poison({b"a1"}), hold=HoldLimits(records_per_key=1))
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        await bench.until(lambda: told(bench) == [("blocked", "agent", 2, None)])
        [standstill] = lane(bench).standstills
        assert standstill.detail.startswith("1 records wait behind in/0/0@agent")


async def test_a_partition_whose_tables_are_restored() -> None:
    async with running(agent(each(copy)), tables=[table()], restores_held=True, settled=False) as bench:
        await bench.until(lambda: bench.engine.facts().lanes)
        await bench.until(lambda: [kind for kind, *_ in told(bench)] == ["restoring"])
        bench.restore.hold.set()
        await bench.until(lambda: told(bench) == [])


async def test_a_partition_without_a_place_to_begin() -> None:
    async with running(agent(each(copy)), settled=False, auto_offset_reset="error") as bench:
        await bench.until(lambda: bench.engine.facts().lanes)
        await bench.until(lambda: "no position" in [kind for kind, *_ in told(bench)])
        standstill = next(each for each in lane(bench).standstills if each.kind == "no position")
        assert "nothing is committed" in standstill.detail


async def test_a_suspect_and_who_waits_for_it() -> None:
    broker = FakeBroker()
    broker.offsets[Partition("in", 0)] = (0, "streamapp:starts=3,tries=0")
    broker.feed("in", 0, b"1")
    broker.feed("in", 1, b"2")
    seen: list[tuple[bool, set[str]]] = []
    bench: Bench

    async def body(value: bytes) -> None:
        if value == b"1":
            seen.append((lane(bench).suspect, {each.detail for each in lane(bench, 1).standstills if each.kind == "paused"}))
        emit(value)

    async with running(agent(each(body)), broker=broker, partitions={"in": 2}, settled=False) as bench:
        await bench.until(lambda: (broker.committed("in", 0), broker.committed("in", 1)) == (1, 1))
    waits_for = {"its start is counted before its first record", "the records of a suspect are tried one by one"}
    assert seen == [(True, waits_for)]


async def test_partitions_that_are_given_back_and_a_worker_that_starts_nothing() -> None:
    told_of: list[list[tuple[str, str]]] = []
    bench: Bench

    async def body(value: bytes) -> None:
        bench.source.revoke(Partition("in", 0))
        await bench.until(lambda: bench.engine.group.lanes[Partition("in", 0)].paused)
        told_of.append([(each.kind, each.detail) for each in lane(bench).standstills])
        bench.engine.admission.close_gate("stopping")
        told_of.append([(each.kind, each.detail) for each in lane(bench).standstills])
        bench.engine.admission.open_gate("stopping")
        emit(value)

    async with running(agent(each(body))) as bench:
        bench.broker.feed("in", 0, b"1")
        await bench.until(lambda: bench.broker.committed("in", 0) == 1)
    assert told_of == [[("revoked", "")], [("revoked", ""), ("paused", "stopping")]]
