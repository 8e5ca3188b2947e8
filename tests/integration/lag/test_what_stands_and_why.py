"""On a real broker: a partition that does not move is STALLED with what holds it: its agent's stop policy, a breaker, a handler that hangs, and
upstream's open transaction.

In time stretched a hundred times: the minute that STALLED asks for is 0.6 s.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer

from streamapp.monitor.lag.verdict import Cause, Status
from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.spec import AgentSpec, SourceSpec
from streamapp.records import Partition
from tests.support.engine_rig import EngineRig
from tests.support.lag_rig import QUICK, Look
from tests.support.topics import PATIENCE, create_topic


async def test_each_standing_partition_has_its_own_cause(rig: EngineRig) -> None:
    rig.make(partitions=1, table=False)
    causes = {cause: f"{rig.app_id}-{cause.replace(' ', '-')}" for cause in ("stop", "breaker", "hang", "open")}
    for topic in (*causes.values(), f"{rig.app_id}-dlq"):
        create_topic(rig.bootstrap, topic, 1)
    for cause, topic in causes.items():
        if cause != "open":
            rig.feed_to(topic, [b"%d" % number for number in range(20)])
    upstream = Producer({"bootstrap.servers": rig.bootstrap, "transactional.id": f"up-{uuid4()}", "log_level": 0})
    upstream.init_transactions(PATIENCE)
    upstream.begin_transaction()
    upstream.produce(causes["open"], b"1", partition=0)
    assert upstream.flush(PATIENCE) == 0

    async def fail(cursor: Cursor) -> None:
        async for _ in cursor:
            raise TimeoutError("the price service does not answer")

    let_go = asyncio.Event()

    async def hang(cursor: Cursor) -> None:
        async for _ in cursor:
            await let_go.wait()

    def agent(cause: str, run: Any, **more: Any) -> AgentSpec:
        retry = Retry(attempts=1, unknown_attempts=1, base=0.01, cap=0.01)
        sources = (SourceSpec(topic=causes[cause], decode=bytes),)
        return AgentSpec(name=cause, sources=sources, run=run, dlq=f"{rig.app_id}-dlq", retry=retry, **more)

    worker = rig.worker("w1", **QUICK)
    worker.agents = [
        agent("stop", fail, on_error="stop"),
        agent("breaker", fail, breaker=Breaker(transient=3, probe_interval=60.0)),
        agent("hang", hang),
        agent("open", hang),
    ]
    since = time.time()
    await worker.start()
    await worker.ready(4)
    look = Look(rig, worker, 100.0, since=since)
    try:
        found = {cause: (await look.until_status(Partition(topic, 0), Status.STALLED)).cause for cause, topic in causes.items()}
        assert found == {
            "stop": Cause.STOPPED,
            "breaker": Cause.BREAKER,
            "hang": Cause.HANDLER,
            "open": Cause.OPEN_TRANSACTION,
        }
        told = {event["topic"]: event["cause"] for event in rig.events("status_changed") if event["status"] == "STALLED"}
        assert told == {topic: str(found[cause]) for cause, topic in causes.items()}
        stood = look.verdict(Partition(causes["open"], 0))
        assert stood is not None
        assert (stood.blocked, stood.end) == (1, 0)
    finally:
        let_go.set()
        upstream.abort_transaction(PATIENCE)
        await look.stop()
