"""An agent is tried without broker, thread or directory, and a record is a savepoint there too."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp import StreamApp
from streamapp.errors import DecodeFailed, OutsideWorker
from tests.unit.worker.shop import Sale


async def test_what_a_record_sends_and_writes_is_kept_when_it_is_done(app: StreamApp) -> None:
    sums = app.Table("sums", default=int)
    out = app.topic("out")

    @app.agent(app.topic("sales", value_type=Sale, key_type=str))
    async def sum_up(stream: Any) -> None:
        async for sale in stream:
            sums[sale.sku] += sale.amount
            await out.send(key=sale.sku, value=sums[sale.sku])

    async with sum_up.test_context() as agent:
        await agent.put(Sale("a", 2), key="x")
        await agent.put(Sale("a", 3), key="y")
        assert [(sent.topic, sent.key, sent.value) for sent in agent.sent] == [("out", b"a", b"2"), ("out", b"a", b"5")]
        assert agent.table("sums") == {"a": 5}
    with pytest.raises(OutsideWorker):
        sums["a"]


async def test_a_record_that_fails_leaves_nothing_and_the_agent_goes_on(app: StreamApp) -> None:
    sums = app.Table("sums", default=int)
    heard: list[str] = []

    def on_error(agent: Any, failure: Exception) -> None:
        heard.append(str(failure))

    @app.agent(app.topic("sales"), on_error=on_error)
    async def sum_up(stream: Any) -> None:
        async for value in stream:
            sums["a"] += value
            await app.send("out", value=value)
            if value == 2:
                raise ValueError("two")

    async with sum_up.test_context() as agent:
        await agent.put(1)
        with pytest.raises(ValueError, match="two"):
            await agent.put(2)
        await agent.put(4)
        assert agent.table("sums") == {"a": 5}
        assert [sent.value for sent in agent.sent] == [b"1", b"4"]
    assert heard == ["two"]


async def test_yields_go_to_sinks_within_the_record(app: StreamApp) -> None:
    taken: list[Any] = []

    @app.agent(app.topic("other"))
    async def other(stream: Any) -> None: ...

    async def take(value: Any) -> None:
        taken.append(value)

    @app.agent(app.topic("in"), sink=[app.topic("out"), other, take])
    async def double(stream: Any) -> Any:
        async for value in stream:
            yield value * 2

    async with double.test_context() as agent:
        event = await agent.put(21)
        assert agent.results[event.message.offset] == 42
        assert [(sent.topic, sent.value) for sent in agent.sent] == [("out", b"42"), ("other", b"42")]
    assert taken == [42]


async def test_take_is_one_savepoint(app: StreamApp) -> None:
    @app.agent(app.topic("in"))
    async def sum_up(stream: Any) -> None:
        async for values in stream.take(3, within=5):
            await app.send("out", value=sum(values))

    async with sum_up.test_context() as agent:
        for value in (1, 2, 3):
            await agent.put(value, wait=False)
        await agent.drain()
        assert [sent.value for sent in agent.sent] == [b"6"]


async def test_group_by_filters_and_changes_the_key(app: StreamApp) -> None:
    @app.agent(app.topic("sales", value_type=Sale))
    async def by_sku(stream: Any) -> None:
        async for key, sale in stream.filter(lambda sale: sale.amount > 1).group_by("sku").items():
            await app.send("out", key=key, value=sale.amount)

    async with by_sku.test_context() as agent:
        await agent.put(Sale("a", 1), key="x")
        await agent.put(Sale("b", 2), key="y")
        assert [(sent.key, sent.value) for sent in agent.sent] == [(b"b", b"2")]


async def test_dedupe_drops_what_was_done_and_forgets_what_failed(app: StreamApp) -> None:
    done = app.dedupe_table("done", horizon=60)

    @app.agent(app.topic("in"), dedupe=done.by(lambda value: value["id"]))
    async def once(stream: Any) -> None:
        async for value in stream:
            if value.get("bad"):
                raise ValueError("bad")
            await app.send("out", value=value["id"])

    async with once.test_context() as agent:
        with pytest.raises(ValueError, match="bad"):
            await agent.put({"id": 1, "bad": True})
        await agent.put({"id": 1}, timestamp=100)
        await agent.put({"id": 1}, timestamp=150)
        await agent.put({"id": 1}, timestamp=161)
        assert [sent.value for sent in agent.sent] == [b"1", b"1"]


async def test_what_cannot_be_decoded_fails_the_put(app: StreamApp) -> None:
    @app.agent(app.topic("sales", value_type=Sale))
    async def reader(stream: Any) -> None:
        async for _ in stream:
            pass

    async with reader.test_context() as agent:
        with pytest.raises(Exception, match="sku"):
            await agent.put(b'{"amount": 1}')
    assert DecodeFailed.__name__
