"""Rule 9: a commit that timed out is committed again, or its producer destroyed; it is never aborted."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import Call, Log, error, on, raising

ENDS = ("commit_transaction", "abort_transaction", "init_transactions", "purge")


class OutOfTime:
    """Gives a commit no time to go: librdkafka itself says that it timed out, and goes on committing.

    On a busy machine the broker may have answered before the library looks at its clock: then the next commit gets none.
    """

    def __init__(self) -> None:
        self.then: list[str] | None = None
        """What was called after the commit that timed out; None until one did."""

    def __call__(self, call: Call) -> Any:
        if self.then is not None and call.name in ENDS:
            self.then.append(call.name)
        if self.then is not None or call.name != "commit_transaction":
            return call.proceed()
        try:
            return call.method(0.0)
        except KafkaException:
            self.then = []
            raise


def after_the_commit(clients: Log) -> list[str]:
    """Return the calls from the first commit on."""
    names = clients.names(*ENDS)
    return names[names.index("commit_transaction") :]


async def test_a_commit_that_ran_out_of_time_is_resumed(rig: EngineRig) -> None:
    rig.make()
    rig.clients.tamper_producer = late = OutOfTime()
    worker = await rig.start(commit_interval=0.3)
    for first in range(0, 2_000, 40):
        rig.feed(orders(40, first=first))
        await rig.caught_up()
        if late.then is not None:
            break
    # The one that timed out committed nothing in its no time; what follows is the same commit.
    assert late.then is not None
    assert late.then[0] == "commit_transaction"
    assert "abort_transaction" not in rig.clients.names(*ENDS)
    assert worker.counters["aborts"] == 0
    assert len(rig.events("commit_resumed")) == 1
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()


async def test_a_commit_that_never_ends_costs_the_producer_and_is_not_aborted(rig: EngineRig) -> None:
    rig.make()
    rig.feed(orders(40))
    silent = on("commit_transaction", raising(error(KafkaError._TIMED_OUT, retriable=True)), times=1_000_000)

    def first_producer_only(call: Call) -> Any:
        return silent(call) if call.client is rig.clients.producers[0] else call.proceed()

    rig.clients.tamper_producer = first_producer_only
    worker = await rig.start(transaction_timeout=2.0)
    await rig.caught_up()
    first = after_the_commit(rig.clients)
    assert first[: first.index("purge") + 2] == [*["commit_transaction"] * first.index("purge"), "purge", "init_transactions"]
    assert first.index("purge") > 1, "it was called again while there was time"
    assert "abort_transaction" not in rig.clients.names(*ENDS)
    assert len(rig.events("commit_unknown")) == 1
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()
