"""On a real broker: a partition that stands is AT_RISK once its topic's retention is made short, as a child process reads it, and DATA_LOST with
the count once records were deleted unread."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]  # re-exported without __all__

from streamapp.monitor.lag.explain import explain
from streamapp.monitor.lag.verdict import Cause, Status
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.spec import AgentSpec, SourceSpec
from streamapp.records import Partition
from tests.support.engine_rig import EngineRig
from tests.support.lag_rig import QUICK, Look
from tests.support.topics import PATIENCE


def keep_for(bootstrap: str, topic: str, milliseconds: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    entry = ConfigEntry("retention.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(PATIENCE)


def delete_before(bootstrap: str, topic: str, offset: int) -> None:
    """Delete records, as retention does when the broker next looks: that is minutes away."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for done in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        done.result(PATIENCE)


async def test_short_retention_is_a_risk_and_then_a_loss_that_is_counted(rig: EngineRig) -> None:
    rig.make(partitions=1, table=False)
    rig.feed_to(rig.job.source, [b"%d" % number for number in range(200)])

    async def fail(cursor: Cursor) -> None:
        async for _ in cursor:
            if (
                cursor.record.offset() if cursor.record is not None else 0
            ) == 40:  # what the others of the batch need not wait for
                raise ValueError("not what was promised")

    worker = rig.worker("w1", **QUICK)
    source = SourceSpec(topic=rig.job.source, decode=bytes)
    retry = Retry(attempts=1, unknown_attempts=1, base=0.01, cap=0.01)
    worker.agents = [AgentSpec(name="picky", sources=(source,), run=fail, dlq=rig.job.dlq, on_error="stop", retry=retry)]
    since = time.time()
    await worker.start()
    await worker.ready(1)
    partition = Partition(rig.job.source, 0)
    look = Look(rig, worker, 100.0, since=since, asks_every=0.5)
    try:
        stalled = await look.until_status(partition, Status.STALLED)
        assert stalled.committed == 40
        assert stalled.age is not None
        # A minute more than it has been unread for, in the test's own seconds.
        await asyncio.to_thread(keep_for, rig.bootstrap, rig.job.source, round(stalled.age * 1000) + 60_000)
        risk = await look.until_status(partition, Status.AT_RISK)
        assert risk.loss_by is Cause.TIME
        assert "retention" in explain(risk)
        await asyncio.to_thread(delete_before, rig.bootstrap, rig.job.source, 100)
        lost = await look.until_status(partition, Status.DATA_LOST)
        assert (lost.lost, lost.log_start) == (60, 100)
        assert "60" in explain(lost)
        assert [event["lost"] for event in rig.events("status_changed") if event["status"] == "DATA_LOST"] == [60]
    finally:
        await look.stop()
