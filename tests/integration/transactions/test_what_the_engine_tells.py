"""What the engine tells of itself is what the broker has: committed offsets, ends, outputs and dead letters."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError

from streamapp.errors import Permanent
from streamapp.pipeline.cursor import Cursor
from tests.support.counting import orders
from tests.support.dlq_rig import letters
from tests.support.engine_rig import EngineRig
from tests.support.tampering import error, on, raising
from tests.support.topics import end_offsets

BAD = [3, 11, 27]


def refuse(value: dict[str, Any], cursor: Cursor) -> None:
    if value["i"] in BAD:
        raise Permanent("broken")


async def test_facts_agree_with_committed_offsets_and_topics(rig: EngineRig) -> None:
    job = rig.make(partitions=2)
    worker = rig.worker()
    worker.before = refuse
    again = error(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "again", retriable=True)
    await worker.start()
    await worker.ready()
    rig.clients.tamper_producer = on("commit_transaction", raising(again))
    rig.feed(orders(40), transactional=True)
    await rig.caught_up()
    ends = end_offsets(rig.bootstrap, job.source)
    await worker.until(
        lambda: {lane.partition.number: lane.committed for lane in worker.engine.facts().lanes} == ends, "the ends are committed"
    )
    facts = worker.engine.facts()
    assert {lane.partition.number: lane.committed for lane in facts.lanes} == rig.committed() == ends
    assert {lane.partition.number: lane.position for lane in facts.lanes} == ends
    assert sum(lane.merged for lane in facts.lanes) == 40
    assert [(lane.state, lane.unmerged, lane.oldest_unmerged, lane.standstills) for lane in facts.lanes] == [
        ("running", 0, None, ())
    ] * 2
    assert all(lane.committed_at is not None and lane.committed_at <= facts.now for lane in facts.lanes)
    [agent] = facts.agents
    assert (agent.processed, sum(agent.duration.counts), agent.in_hand) == (40, 40, 0)
    written = letters(rig)
    assert len(written) == len(BAD)
    assert agent.dead_letters == {("Permanent", "permanent"): len(written)}
    [kind] = facts.fingerprints
    assert {kind.fingerprint} == {letter.fingerprint for letter in written}
    assert sorted(kind.letters) == sorted(letter.id for letter in written)
    assert (kind.count, kind.dlq) == (len(written), job.dlq)
    outcomes = facts.transactions.outcomes
    assert (outcomes["aborted"], outcomes["unknown"]) == (0, 0)
    assert 1 <= outcomes["resumed"] <= outcomes["committed"] == worker.counters["commits"]
    assert facts.transactions.records.total == 40
    assert (facts.transactions.rebalances, sum(facts.transactions.rebalance_duration.counts)) == (1, 1)
    counted = [table for table in facts.tables if table.table == "counts"]
    assert sorted(table.number for table in counted) == [0, 1]
    assert sum(table.keys or 0 for table in counted) >= len(worker.table()) > 0
    assert all((table.bytes or 0) > 0 for table in counted)
    assert rig.wrong(without=BAD) == []
