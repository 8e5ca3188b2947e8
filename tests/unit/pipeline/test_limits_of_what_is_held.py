"""At a limit of what may be held the partition stands at the record, and says which; it goes on when there is room again."""

from __future__ import annotations

import logging

import pytest

from streamapp.pipeline.held import HoldLimits
from streamapp.records import Partition
from tests.support.blocking import HELD, Poison, blocking, held, letters, outputs, settle, table_of
from tests.support.pipeline import Bench, running


def stands_at(bench: Bench) -> list[str]:
    return [reason for lane in bench.engine.group.lanes.values() for reason in lane.pauses]


async def test_records_of_one_key(caplog: pytest.LogCaptureFixture) -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison, hold=HoldLimits(records_per_key=2))
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", b"a4", b"a5", key=b"a")
        bench.broker.feed("in", 0, b"b1", key=b"b")
        await bench.until(lambda: stands_at(bench) and bench.broker.committed("in", 0) == 3)
        assert "2 records wait behind in/0/0@agent, the most that are held of one key" in caplog.text
        assert outputs(bench.broker) == []
        with caplog.at_level(logging.INFO):
            settle(bench, "in/0/0@agent")
            await bench.caught_up()
        assert outputs(bench.broker) == [b"a2", b"a3", b"a4", b"a5", b"b1"]
        await bench.until(lambda: bench.changelog(HELD) == {})
        events = [getattr(record, "event", None) for record in caplog.records]
        assert (events.count("lane_stopped"), events.count("lane_resumed")) == (1, 1)


async def test_blocked_keys_of_a_partition(caplog: pytest.LogCaptureFixture) -> None:
    poison = Poison({b"a1", b"b1", b"c1"})
    spec = blocking(poison, hold=HoldLimits(keys=2))
    async with running(spec, tables=[table_of(spec)]) as bench:
        for key in (b"a", b"b", b"c"):
            bench.broker.feed("in", 0, key + b"1", key + b"2", key=key)
        bench.broker.feed("in", 0, b"a3", key=b"a")
        await bench.until(lambda: stands_at(bench) and bench.broker.committed("in", 0) == 4)
        assert "2 keys are blocked, the most of one partition" in caplog.text
        assert [letter.id for letter in letters(bench.broker)] == ["in/0/0@agent", "in/0/2@agent"]
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: len(letters(bench.broker)) == 3)
        await bench.caught_up()
        assert letters(bench.broker)[-1].id == "in/0/4@agent"
        assert outputs(bench.broker) == [b"a2", b"a3"]
        await bench.until(
            lambda: {key: each.offsets for key, each in held(bench.changelog(HELD)).items()} == {b"b": [3], b"c": [5]}
        )


async def test_bytes_of_a_partition(caplog: pytest.LogCaptureFixture) -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison, hold=HoldLimits(total_bytes=1000))
    big = [b"a%d" % number + bytes(300) for number in range(2, 7)]
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", *big, key=b"a")
        await bench.until(lambda: stands_at(bench) and bench.broker.committed("in", 0) == 3)
        assert "and 1000 are the most that are held of one partition" in caplog.text
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: bench.changelog(HELD) == {})
        await bench.caught_up()
        assert outputs(bench.broker) == big
        poison.values.add(b"a7")
        bench.broker.feed("in", 0, b"a7", *big[:2], key=b"a")
        await bench.caught_up()  # there is room again
        assert held(bench.changelog(HELD))[b"a"].offsets == [7, 8]


async def test_a_failing_key_at_the_limit_is_not_tried_again_until_another_is_free() -> None:
    poison = Poison({b"a1", b"b1"})
    spec = blocking(poison, hold=HoldLimits(keys=1))
    waiting = [b"a%d" % number for number in range(2, 22)]
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", *waiting, key=b"a")
        await bench.caught_up()
        bench.engine.admission.close_gate("test")
        bench.broker.feed("in", 0, b"b1", key=b"b")
        await bench.until(lambda: bench.engine.group.crowded(Partition("in", 0)) == 1)
        settle(bench, "in/0/0@agent")
        bench.engine.admission.open_gate("test")
        await bench.caught_up()
        assert outputs(bench.broker) == waiting
        assert poison.seen.index(b"b1") < poison.seen.index(b"a2")
        assert poison.seen.count(b"b1") == 2


async def test_a_failing_key_at_the_limit_waits_while_others_drain_and_stands_once_they_have_failed_too() -> None:
    poison = Poison({b"a1", b"a3", b"b1"})
    spec = blocking(poison, hold=HoldLimits(keys=1))
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        bench.broker.feed("in", 0, b"b1", key=b"b")
        await bench.until(lambda: stands_at(bench))
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: outputs(bench.broker) == [b"a2"] and len(letters(bench.broker)) == 2)
        await bench.until(lambda: stands_at(bench))
        assert bench.broker.committed("in", 0) == 3
        settle(bench, "in/0/2@agent")
        await bench.until(lambda: len(letters(bench.broker)) == 3)
        assert list(held(bench.changelog(HELD))) == [b"b"]


@pytest.mark.parametrize("hold", [HoldLimits(records_per_key=1), HoldLimits(keys=1)], ids=["records", "keys"])
async def test_behind_another_agents_work_a_settled_head_lets_the_record_in(hold: HoldLimits) -> None:
    poison = Poison({b"a1", b"b1"})
    spec = blocking(poison, hold=hold)
    everything = Poison()
    first = blocking(everything, name="first")
    async with running(first, spec, tables=[table_of(first), table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        bench.broker.feed("in", 0, b"b1", b"b2", key=b"b")
        await bench.until(lambda: stands_at(bench))
        settle(bench, "in/0/0@agent")
        await bench.caught_up()
        await bench.until(lambda: list(held(bench.changelog(HELD))) == [b"b"])
        assert [value for value in poison.seen if value.startswith(b"a")][-2:] == [b"a2", b"a3"]
        assert everything.seen == [b"a1", b"a2", b"a3", b"b1", b"b2"]
