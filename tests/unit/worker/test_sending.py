"""A send goes with the record in hand, else with the worker, else by the script's own producer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from streamapp import StreamApp
from streamapp.errors import OutputRejected, SavepointEnded, Unsupported
from streamapp.pipeline.savepoint import current_savepoint
from streamapp.records import Outgoing
from streamapp.worker.client import ClientProducer
from streamapp.worker.handover import Delivery
from tests.unit.worker.shop import FakeSavepoint, Sale, record_of


def in_hand(**record: Any) -> FakeSavepoint:
    savepoint = FakeSavepoint(record_of(**record))
    current_savepoint.set(savepoint)
    return savepoint


class FakeEngine:
    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    def send(self, outgoing: Outgoing) -> None:
        self.sent.append(outgoing)


class FakePlain:
    def __init__(self, failure: Exception | None = None) -> None:
        self.sent: list[Outgoing] = []
        self.failure = failure
        self.closed = False

    def produce(self, record: Outgoing, told: Any) -> None:
        self.sent.append(record)
        told(self.failure, 3, 17)

    def flush(self, deadline: Any) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


async def test_what_a_record_causes_inherits_its_timestamp_and_headers(app: StreamApp) -> None:
    savepoint = in_hand(headers=[("trace", b"1"), ("trace", b"2"), ("streamapp.dlq.id", b"x")])
    await app.topic("out").send(key="ann", value=Sale("a", 1))
    assert savepoint.outputs == [("out", b'{"sku":"a","amount":1}', b"ann", -1, 5000, [("trace", b"1"), ("trace", b"2")])]


async def test_given_headers_partition_and_timestamp_win(app: StreamApp) -> None:
    savepoint = in_hand(headers=[("a", b"1"), ("b", b"2")])
    await app.topic("out").send(value=1, headers={"b": "3", "c": b"4"}, partition=5, timestamp=1.5)
    assert savepoint.outputs == [("out", b"1", None, 5, 1500, [("a", b"1"), ("b", b"3"), ("c", b"4")])]


async def test_awaiting_the_result_inside_a_record_does_not_wait(app: StreamApp) -> None:
    in_hand()
    topic = app.topic("out")
    first, second = await topic.send(value=1), await topic.send(value=2)
    metadata = await first
    assert first is second
    assert (metadata.topic, metadata.partition, metadata.offset) == ("out", -1, -1)


async def test_a_value_that_cannot_be_serialised_is_rejected_and_nothing_is_sent(app: StreamApp) -> None:
    savepoint = in_hand()
    with pytest.raises(OutputRejected):
        await app.topic("out").send(value=object())
    assert savepoint.outputs is None


async def test_a_send_of_a_record_that_is_done_raises(app: StreamApp) -> None:
    in_hand().is_open = False
    with pytest.raises(SavepointEnded):
        await app.topic("out").send(value=1)


async def test_without_a_record_a_worker_sends_through_its_engine(app: StreamApp) -> None:
    engine = FakeEngine()
    app.engine_started(engine)  # type: ignore[arg-type]
    app.topic("out").send_soon(key=b"k", value=1)
    assert engine.sent == [("out", b"1", b"k", -1, 0, [])]


async def test_in_a_script_the_result_is_the_delivery(app: StreamApp) -> None:
    plain = FakePlain()
    cast("ClientProducer", app.producer)._connect = lambda: plain
    sent = await app.topic("out").send(value="x")
    assert isinstance(sent, Delivery)
    metadata = await sent
    assert (metadata.partition, metadata.offset) == (3, 17)
    assert plain.sent == [("out", b'"x"', None, -1, 0, [])]
    await app.producer.stop()
    assert plain.closed


async def test_a_failed_delivery_surfaces_where_it_is_awaited_and_when_the_producer_stops(app: StreamApp) -> None:
    cast("ClientProducer", app.producer)._connect = lambda: FakePlain(OSError("gone"))
    sent = await app.topic("out").send(value=1)
    with pytest.raises(OSError, match="gone"):
        await sent
    with pytest.raises(OSError, match="gone"):
        await app.producer.stop()


async def test_agents_are_sent_to_by_their_topic(app: StreamApp) -> None:
    @app.agent(app.topic("in"))
    async def reader(stream: Any) -> None: ...

    savepoint = in_hand()
    await reader.send(key="k", value=1)
    await reader.cast(2)
    await app.send("in", value=3)
    assert [(topic, value) for topic, value, *_ in savepoint.outputs or ()] == [("in", b"1"), ("in", b"2"), ("in", b"3")]


async def test_a_callback_inside_a_record_is_refused(app: StreamApp) -> None:
    in_hand()
    with pytest.raises(Unsupported, match="commit"):
        await app.topic("out").send(value=1, callback=print)


@pytest.mark.parametrize("options", [{"pattern": "a.*"}, {"acks": False}])
def test_topics_that_cannot_hold_the_promise_are_refused(app: StreamApp, options: Any) -> None:
    with pytest.raises(Unsupported):
        app.topic(*([] if "pattern" in options else ["a"]), **options)
