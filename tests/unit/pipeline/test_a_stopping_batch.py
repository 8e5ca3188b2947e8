"""An agent that stops at failures and takes batches stands at a record that cannot be decoded, as it does one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamapp.records import Partition
from tests.support.pipeline import agent, batches, emit, running


async def send(values: list[bytes]) -> None:
    for value in values:
        emit(value)


@pytest.mark.parametrize("dlq", ["dlq", None])
async def test_it_stands_there_and_nothing_is_written_of_the_record(dlq: str | None) -> None:
    async with running(replace(agent(batches(4, send), dlq=dlq), on_error="stop")) as bench:
        bench.broker.feed("in", 0, b"a", b"b", b"!", b"c", b"d")
        await bench.until(lambda: bench.broker.committed("in", 0) == 2)
        await bench.until(lambda: bool(bench.engine.group.lanes[Partition("in", 0)].pauses))
        assert bench.broker.values("out") == [b"a", b"b"]
        assert bench.broker.values("dlq") == []
