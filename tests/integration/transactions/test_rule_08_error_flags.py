"""Rule 8: what an error leads to is decided by its flags; and once commit was called, only the broker knows what became of the unit."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.support.counting import orders
from tests.support.engine_rig import EngineRig, Worker
from tests.support.tampering import error, on, raising

ANSWERED = KafkaError.COORDINATOR_LOAD_IN_PROGRESS
"""A code of the broker's: librdkafka's own would ask for a new producer by rule 11."""

FATAL, ABORT, AGAIN, NONE = (
    error(ANSWERED, "fatal", fatal=True),
    error(ANSWERED, "abort", abort=True),
    error(ANSWERED, "again", retriable=True),
    error(ANSWERED, "none"),
)


async def failing(rig: EngineRig, worker: Worker, call: str, failure: KafkaException, *, after: bool = False) -> dict[str, int]:
    """Let the next `call` fail while ten more records go through; return what the engine counted of it."""
    aborts, rebuilds = worker.counters["aborts"], len(rig.rebuilds())
    calls = len(rig.clients.names(call))
    tamper = on(call, raising(failure, after=after))
    rig.clients.tamper_producer = tamper
    rig.feed(orders(10, first=worker.committed(0) or 0))
    await worker.until(lambda: len(rig.clients.names(call)) > calls, f"{call} failed")
    await rig.caught_up()
    return {"aborts": worker.counters["aborts"] - aborts, "rebuilds": len(rig.rebuilds()) - rebuilds}


@pytest.mark.parametrize("call", ["flush", "send_offsets_to_transaction"])
async def test_before_the_commit_flags_decide_between_a_new_producer_an_abort_and_another_try(rig: EngineRig, call: str) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    aborted = len(rig.clients.names("abort_transaction"))
    assert await failing(rig, worker, call, AGAIN) == {"aborts": 0, "rebuilds": 0}
    assert await failing(rig, worker, call, FATAL) == {"aborts": 1, "rebuilds": 1}
    assert await failing(rig, worker, call, NONE) == {"aborts": 1, "rebuilds": 1}
    assert len(rig.clients.names("abort_transaction")) == aborted, "a producer that is unusable is not asked to abort"
    assert await failing(rig, worker, call, ABORT) == {"aborts": 1, "rebuilds": 0}
    assert len(rig.clients.names("abort_transaction")) == aborted + 1
    assert rig.events("commit_unknown") == []
    assert rig.wrong() == []


@pytest.mark.parametrize("after", [False, True], ids=["the request was lost", "the answer was lost"])
async def test_once_commit_was_called_every_error_but_a_retriable_one_leaves_the_outcome_to_the_broker(
    rig: EngineRig, *, after: bool
) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    call = "commit_transaction"
    aborted = rig.clients.names("abort_transaction")
    for number, failure in enumerate((FATAL, ABORT, NONE), start=1):
        assert await failing(rig, worker, call, failure, after=after) == {"aborts": 1, "rebuilds": 1}
        assert len(rig.events("commit_unknown")) == number
    assert rig.clients.names("abort_transaction") == aborted, "it may have been committed"
    assert rig.wrong() == []


async def test_a_commit_that_may_be_called_again_is_called_again_and_neither_aborted_nor_given_up(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    assert await failing(rig, worker, "commit_transaction", AGAIN) == {"aborts": 0, "rebuilds": 0}
    assert "commit_transaction commit_transaction" in " ".join(rig.clients.names("begin_transaction", "commit_transaction"))
    assert rig.clients.names("abort_transaction") == []
    assert rig.wrong() == []


async def test_an_abort_that_fails_for_good_ends_in_a_new_producer(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start()
    await worker.ready()
    first = on("send_offsets_to_transaction", raising(ABORT))
    second = on("abort_transaction", raising(NONE))
    rig.clients.tamper_producer = lambda call: (first if call.name.startswith("send") else second)(call)
    rig.feed(orders(10))
    await rig.caught_up()
    assert (worker.counters["aborts"], len(rig.rebuilds())) == (1, 1)
    assert rig.wrong() == []
