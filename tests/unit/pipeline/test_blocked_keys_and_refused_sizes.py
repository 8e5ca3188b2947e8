"""An output that is too large for its topic is its record's failure, also where the record waited; and so is a row that is too large to wait."""

from __future__ import annotations

from tests.support.blocking import HELD, blocking, held, letters, outputs, settle, table_of
from tests.support.fakes import FakeBroker
from tests.support.pipeline import emit, running

LARGE = bytes(500)


async def body(value: bytes) -> None:
    """Fail on the first of a key; `big` makes an output that is refused."""
    if value == b"a1":
        raise ValueError
    emit(LARGE if value == b"big" else value)


def picky() -> FakeBroker:
    broker = FakeBroker()
    broker.largest = 400
    return broker


async def test_a_record_that_waited_is_found_among_live_ones_and_blocks_its_key_anew() -> None:
    spec = blocking(body)
    async with running(spec, tables=[table_of(spec)], broker=picky()) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"big", b"a4", key=b"a")
        await bench.caught_up()
        settle(bench, "in/0/0@agent")
        bench.broker.feed("in", 0, *[b"b%d" % number for number in range(30)], key=b"b")
        await bench.until(lambda: len(letters(bench.broker)) == 2)
        await bench.caught_up()
        assert [(letter.id, letter.reason, letter.order) for letter in letters(bench.broker)][1:] == [
            ("in/0/2@agent", "oversize-output", "held")
        ]
        assert held(bench.changelog(HELD))[b"a"].offsets == [3]
        assert outputs(bench.broker, lambda value: value.startswith(b"a")) == [b"a2"]
        assert outputs(bench.broker, lambda value: value.startswith(b"b")) == [b"b%d" % number for number in range(30)]


async def test_a_record_whose_row_is_refused_is_dead_lettered_out_of_order() -> None:
    spec = blocking(body)
    async with running(spec, tables=[table_of(spec)], broker=picky()) as bench:
        bench.broker.feed("in", 0, b"a1", bytes(390), b"a3", key=b"a")
        await bench.caught_up()
        assert [(letter.id, letter.order) for letter in letters(bench.broker)] == [
            ("in/0/0@agent", "held"),
            ("in/0/1@agent", "skipped"),
        ]
        assert held(bench.changelog(HELD))[b"a"].offsets == [2]
