"""A handler reads the epoch of a forced replay from its event's headers, in either form, or of the record in hand."""

from __future__ import annotations

from streamapp import current_epoch, epoch_of
from tests.support.pipeline import agent, each, here, running

EPOCH = ("streamapp.dlq.epoch", b"7f3a")


def test_it_is_the_last_one_of_its_name_and_none_where_there_is_none() -> None:
    assert epoch_of([("user", b"x"), ("streamapp.dlq.epoch", b"old"), EPOCH, ("streamapp.dlq.epoch", None)]) == "7f3a"
    assert epoch_of(dict([EPOCH])) == "7f3a"
    assert (epoch_of(None), epoch_of([]), epoch_of({}), epoch_of([("epoch", b"7f3a")])) == (None, None, None, None)


async def test_of_the_record_in_hand_it_is_that_ones_and_outside_there_is_none() -> None:
    seen = []

    async def look(value: bytes) -> None:
        seen.append((current_epoch(), epoch_of(here().record.headers())))

    async with running(agent(each(look))) as bench:
        bench.broker.feed("in", 0, b"a", headers=[EPOCH])
        bench.broker.feed("in", 0, b"b")
        await bench.caught_up()
    assert seen == [("7f3a", "7f3a"), (None, None)]
    assert current_epoch() is None


async def test_a_timers_run_has_none() -> None:
    seen: list[str | None] = []

    async def tick() -> None:
        seen.append(current_epoch())

    async with running(agent(each(nothing))) as bench:
        await bench.engine.tick(tick, name="tick")
    assert seen == [None]


async def nothing(value: bytes) -> None: ...
