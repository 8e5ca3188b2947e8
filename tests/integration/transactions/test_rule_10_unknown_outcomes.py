"""Rule 10: where the answer to a commit is lost, nobody guesses: committed offsets and changelogs say what became of it."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from streamapp.events import Event
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.group_rig import Group
from tests.support.tampering import error, on, raising
from tests.support.topics import end_offsets

LOST = error(KafkaError._TRANSPORT, "the connection broke", fatal=False)


@pytest.mark.parametrize("after", [True, False], ids=["the broker had committed", "the broker had not"])
async def test_an_answer_that_is_lost_loses_and_doubles_nothing(rig: EngineRig, after: bool) -> None:
    rig.make(dedupe=True)
    rig.feed([*orders(60), *orders(10)])
    rig.clients.tamper_producer = on("commit_transaction", raising(LOST, after=after), nth=2)
    worker = await rig.start()
    await rig.caught_up()
    rig.feed([*orders(60, first=60), *orders(10, first=60)])
    await rig.caught_up()
    await worker.until(lambda: len(rig.clients.producers) == 2, "a new producer")
    assert len(rig.events("commit_unknown")) == 1
    # Where the broker had committed, the end of the log is committed before the tables are back.
    await worker.until(lambda: worker.engine.ready, "recovered")
    # The new producer waited for the old transaction's end before anything else was asked.
    assert rig.clients.producers[0].options["transactional.id"] == rig.clients.producers[1].options["transactional.id"]
    assert "abort_transaction" not in rig.clients.names("abort_transaction")
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_only_the_tail_is_restored_after_a_lost_answer(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed(orders(400, keys=400))
    worker = await rig.start()
    await rig.caught_up()
    before = await _end(rig)
    rig.clients.tamper_producer = on("commit_transaction", raising(LOST, after=True))
    rig.feed(orders(3, first=400))
    await worker.until(lambda: len(rig.events("restore_finished")) == 2, "restored again")
    await rig.caught_up()
    restored = rig.events("restore_finished")[-1]
    # What the unit itself wrote, and no row of the four hundred before.
    assert 0 < restored["records"] <= 3
    assert restored["offset"] >= before
    assert worker.table() == rig.due_counts()
    assert rig.wrong() == []


async def test_a_unit_that_did_not_commit_leaves_nothing_in_the_tables(rig: EngineRig) -> None:
    rig.make(partitions=1)
    rig.feed(orders(4))
    worker = await rig.start()
    await rig.caught_up()
    seen: list[dict[str, int]] = []

    def look(value: dict[str, Any], cursor: object) -> None:
        if value["i"] == 4:
            seen.append({key.decode(): int(number) for key, number in worker.engine.table("counts").items()})

    worker.before = look
    rig.clients.tamper_producer = on("commit_transaction", raising(LOST))
    rig.feed(orders(16, first=4))
    await worker.until(lambda: len(seen) == 2, "read again")
    await rig.caught_up()
    assert seen[1] == seen[0] == {"0": 1, "1": 1, "2": 1, "3": 1}, "its second life sees what its first saw"
    assert worker.table() == rig.due_counts()
    assert rig.wrong() == []


async def _end(rig: EngineRig) -> int:
    return end_offsets(rig.bootstrap, rig.job.changelog)[0]


async def test_a_process_that_died_between_commit_and_apply_restores_the_tail_only(group: Group) -> None:
    source, out = group.topic("in", 1), group.topic("out", 1)
    job = group.sums(source, out, dedupe=False)
    first = await group.member("w1", job).start()
    for customer in range(200):
        group.feed(source, 0, customer=f"c{customer}")
    await group.caught_up(source)
    await first.stop()
    child = group.child("w1", job, kill_at="after-commit", isolate_after=0)  # else the first commit counts its start
    group.feed(source, 0, 3)
    assert await child.ended() == -9
    again = await group.member("w1", group.sums(source, out, dedupe=False)).start()
    await again.holds(1)
    restored = group.events.fields(Event.RESTORE_FINISHED)[-1]
    records = restored["records"]
    assert isinstance(records, int) and 0 < records <= 3, "the store had all but what the dying commit wrote"
    await group.caught_up(source)
    await group.check(again.job)
