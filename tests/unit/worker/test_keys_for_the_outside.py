"""What a handler gives to what lies outside Kafka is the same key at every attempt, and after a replay; and it can say "seen before"."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp import StreamApp, current_event
from streamapp.errors import SavepointEnded
from streamapp.pipeline.savepoint import current_savepoint


async def keys(app: StreamApp, headers: Any = None) -> list[str]:
    """Return what an agent sees of one record: its key, and that of its second effect."""
    told: list[str] = []

    @app.agent(app.topic("sales", value_type=bytes), name="seller")
    async def seller(stream: Any) -> None:
        async for event in stream.events():
            told.extend([event.idempotency_key, event.idempotency_key_of(2)])

    async with seller.test_context() as harness:
        await harness.put(b"a", partition=1, headers=headers)
    return told


async def test_a_record_is_named_by_where_it_is(app: StreamApp) -> None:
    assert await keys(app) == ["sales-1-0", "sales-1-0-2"]


async def test_a_replayed_one_is_named_by_where_it_first_failed(app: StreamApp) -> None:
    headers = [("streamapp.dlq.replay-of", b"sales/3/1842@somebody"), ("streamapp.dlq.replay-count", b"1")]
    assert await keys(app, headers) == ["sales-3-1842", "sales-3-1842-2"]


@pytest.mark.parametrize("told", [b"", b"nonsense", b"sales/x/1@a", b"\xff"])
async def test_a_header_that_names_nothing_is_none(app: StreamApp, told: bytes) -> None:
    assert await keys(app, [("streamapp.dlq.replay-of", told)]) == ["sales-1-0", "sales-1-0-2"]


async def test_a_duplicate_that_the_handler_found_is_told_by_its_savepoint(app: StreamApp) -> None:
    outcomes: list[object] = []
    kept: list[Any] = []

    @app.agent(app.topic("sales", value_type=bytes), name="seller")
    async def seller(stream: Any) -> None:
        async for value in stream:
            event = current_event()
            assert event is not None
            kept.append(event)
            if value == b"again":
                event.duplicate()
            outcomes.append(getattr(current_savepoint.get(), "outcome", None))

    async with seller.test_context() as harness:
        await harness.put(b"first")
        await harness.put(b"again")
        assert outcomes == [None, "already-processed"]
        with pytest.raises(SavepointEnded):
            kept[0].duplicate()
