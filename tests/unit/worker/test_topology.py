"""What an app declares becomes the engine's plain values; a table finds its topics by reading its users' code."""

from __future__ import annotations

import functools
import types
from typing import Any

import pytest

from streamapp import Breaker, StreamApp
from streamapp.errors import ConfigurationError, TopologyInvalid, Unsupported
from streamapp.pipeline.retry import Retry
from streamapp.worker.topology import Declared, describe
from tests.unit.worker import shop
from tests.unit.worker.shop import Sale


def tables_of(topology: Declared) -> dict[str, tuple[str, ...]]:
    return {table.name: table.topics for table in topology.tables}


async def test_agents_and_their_dead_letter_topics(app: StreamApp) -> None:
    @app.agent(app.topic("sales", value_type=Sale), name="first", retry=Retry(attempts=2), concurrency=3)
    async def first(stream: Any) -> None: ...

    @app.agent(app.topic("a", "b"), name="second", dlq="graveyard")
    async def second(stream: Any) -> None: ...

    @app.agent(app.topic("graveyard"), name="undertaker")
    async def undertaker(stream: Any) -> None: ...

    @app.agent(app.topic("sales-dlq"), name="clerk")
    async def clerk(stream: Any) -> None: ...

    topology = await describe(app)
    agents = {agent.name: agent for agent in topology.agents}
    assert agents["first"].dlq == "sales-dlq"
    assert (agents["first"].retry.attempts, agents["first"].concurrency) == (2, 3)
    assert agents["second"].topics == ("a", "b")
    assert agents["second"].dlq == "graveyard"
    assert agents["undertaker"].dlq is None
    assert agents["clerk"].dlq is None
    assert agents["first"].sources[0].decode(b'{"sku":"a","amount":1}') == Sale("a", 1)


async def test_a_table_belongs_to_the_topics_of_those_that_use_it(app: StreamApp) -> None:
    by_closure = app.Table("by_closure")
    by_helper = app.Table("by_helper")
    by_object = app.Table("by_object")
    by_partial = app.Table("by_partial")
    by_module = app.Table("by_module")
    by_sink = app.Table("by_sink")
    module = types.ModuleType("some_tables")
    module.totals = by_module  # type: ignore[attr-defined]

    class Keeper:
        def __init__(self) -> None:
            self.table = by_object

        def keep(self, value: Any) -> None:
            self.table["k"] = value

    keeper = Keeper()

    def helper() -> None:
        by_helper["k"] = 1

    def sink(value: Any) -> None:
        by_sink["k"] = value

    @app.agent(app.topic("one"), sink=[sink])
    async def one(stream: Any) -> Any:
        async for value in stream:
            by_closure["k"] = value
            [helper() for _ in range(1)]  # type: ignore[func-returns-value]  # a nested code object
            yield value

    async def two(table: Any, stream: Any) -> None:
        async for value in stream:
            table["k"] = module.totals["k"]
            keeper.keep(value)
            by_closure["k"] = value
            await one.send(value=value)

    app.agent(app.topic("two"), name="two")(functools.partial(two, by_partial))
    assert tables_of(await describe(app)) == {
        "by_closure": ("one", "two"),
        "by_helper": ("one",),
        "by_object": ("two",),
        "by_partial": ("two",),
        "by_module": ("two",),
        "by_sink": ("one",),
    }


async def test_an_app_of_the_projects_own_class_does_not_give_every_agent_every_table() -> None:
    class ShopApp(StreamApp):
        """What a project may add to."""

    app = ShopApp("shop")
    sums, counts = app.Table("sums"), app.Table("counts")

    @app.agent(app.topic("one"), name="one")
    async def one(stream: Any) -> None:
        async for value in stream:
            sums["k"] = value
            await app.send("out", value=value)

    @app.agent(app.topic("two"), name="two")
    async def two(stream: Any) -> None:
        async for value in stream:
            counts["k"] = value

    assert tables_of(await describe(app)) == {"sums": ("one",), "counts": ("two",)}


async def test_source_names_the_topics_and_wins(app: StreamApp) -> None:
    topic = app.topic("sales")
    named = app.Table("named", source=topic)
    app.Table("also_named", source=["a", topic])

    @app.agent(app.topic("other"))
    async def agent(stream: Any) -> None:
        named["k"] = 1

    @app.agent(app.topic("a", "sales"))
    async def reader(stream: Any) -> None: ...

    assert tables_of(await describe(app)) == {"named": ("sales",), "also_named": ("a", "sales")}


async def test_a_table_that_nobody_uses_is_not_opened_and_says_so_when_used(app: StreamApp) -> None:
    table = app.Table("lonely")

    @app.agent(app.topic("other"))
    async def agent(stream: Any) -> None: ...

    assert tables_of(await describe(app)) == {}
    with pytest.raises(Exception, match="source="):
        table["k"]


async def test_dedupe_tables_belong_to_the_agents_that_name_them(app: StreamApp) -> None:
    done = app.dedupe_table("done", horizon=60)

    @app.agent(app.topic("sales"), dedupe=done.by(lambda value: value))
    async def agent(stream: Any) -> None: ...

    topology = await describe(app)
    assert tables_of(topology) == {"done": ("sales",)}
    assert topology.tables[0].horizon == 60
    assert topology.agents[0].dedupe is not None
    assert topology.agents[0].dedupe.encode("a") == b'"a"'


async def test_group_by_becomes_an_agent_that_carries_records_to_the_new_topic(app: StreamApp) -> None:
    sums = app.Table("sums", default=int)

    @app.agent(app.topic("sales", value_type=Sale), name="regroup")
    async def regroup(stream: Any) -> None:
        async for sale in stream.group_by("sku", partitions=3):
            sums[sale.sku] += sale.amount

    topology = await describe(app)
    assert [(agent.name, agent.topics, agent.dlq) for agent in topology.agents] == [
        ("regroup-to-regroup-sales-sku-repartition", ("sales",), "sales-dlq"),
        ("regroup", ("regroup-sales-sku-repartition",), "sales-dlq"),
    ]
    assert topology.moves[0].topic.partitions == 3
    assert tables_of(topology) == {"sums": ("regroup-sales-sku-repartition",)}


async def test_the_functions_preamble_may_wait_and_its_except_clauses_do_not_matter(app: StreamApp) -> None:
    import asyncio

    @app.agent(app.topic("sales"), name="waits")
    async def waits(stream: Any) -> None:
        await asyncio.sleep(0)
        try:
            async for _ in stream.through("elsewhere"):
                pass
        except Exception:
            raise AssertionError("the probe is no failure") from None

    assert [agent.topics for agent in (await describe(app)).agents] == [("sales",), ("elsewhere",)]


async def test_contradictions_are_refused(app: StreamApp) -> None:
    with pytest.raises(TopologyInvalid, match="no agents"):
        await describe(app)

    @app.agent(app.topic("a"), sink=[print])
    async def never_yields(stream: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="never yields"):
        await describe(app)


@pytest.mark.parametrize(
    "options",
    [
        {"isolated_partitions": True},
        {"on_error": "block_key", "concurrency": 2},
        {"channel": shop.FakeCursor()},
        {"concurrency": 0},
        {"dedupe": 5},
    ],
)
def test_declarations_that_cannot_work_are_refused(app: StreamApp, options: Any) -> None:
    channel = options.pop("channel", "topic")
    with pytest.raises((Unsupported, ConfigurationError, TypeError)):

        @app.agent(channel, **options)
        async def agent(stream: Any) -> None: ...


async def test_a_table_of_a_topic_that_no_agent_reads_is_refused(app: StreamApp) -> None:
    app.Table("sums", source=["sales", "returns"])

    @app.agent(app.topic("sales"))
    async def one(stream: Any) -> None: ...

    with pytest.raises(TopologyInvalid, match="table sums: no agent reads returns"):
        await describe(app)


async def test_an_agent_that_blocks_keys_has_a_table_of_its_topics_for_what_waits(app: StreamApp) -> None:
    @app.agent(app.topic("sales", "returns"), name="careful", on_error="block_key")
    async def careful(stream: Any) -> None: ...

    topology = await describe(app)
    (table,) = topology.tables
    assert (table.name, table.topics, table.keeps_records) == ("careful-dlq-held", ("sales", "returns"), True)
    assert table.changelog == f"{app.conf.id}-careful-dlq-held-changelog"
    assert topology.agents[0].on_error == "block_key"


async def test_a_table_with_the_name_of_what_waits_is_refused(app: StreamApp) -> None:
    app.Table("careful-dlq-held", source="sales")

    @app.agent(app.topic("sales"), name="careful", on_error="block_key")
    async def careful(stream: Any) -> None: ...

    with pytest.raises(TopologyInvalid, match="agent careful keeps blocked records"):
        await describe(app)


def test_blocked_keys_and_records_that_overlap_exclude_each_other(app: StreamApp) -> None:
    with pytest.raises(ConfigurationError, match=r"concurrency=3: records of one key would overtake"):

        @app.agent("sales", on_error="block_key", concurrency=3)
        async def agent(stream: Any) -> None: ...


async def test_an_agents_breaker_is_its_own_or_the_settings() -> None:
    app = StreamApp("breakers", breaker_transient=7, breaker_probe_interval=2.0)

    @app.agent(app.topic("a"), name="plain")
    async def plain(stream: Any) -> None: ...

    @app.agent(app.topic("b"), name="own", breaker=Breaker(enabled=False))
    async def own(stream: Any) -> None: ...

    agents = {agent.name: agent for agent in (await describe(app)).agents}
    assert agents["plain"].breaker == Breaker(transient=7, probe_interval=2.0)
    assert agents["own"].breaker == Breaker(enabled=False)


def test_a_breaker_of_an_agent_that_stops_is_refused(app: StreamApp) -> None:
    with pytest.raises(ConfigurationError, match="never dead-letters"):

        @app.agent(app.topic("sales"), name="stopping", on_error="stop", breaker=Breaker())
        async def stopping(stream: Any) -> None: ...
