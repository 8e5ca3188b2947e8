"""Traces: a call is a span linked to its record's producer, over all its attempts; outputs carry their span on; commits have theirs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from streamapp.errors import CommitRefused, Permanent
from streamapp.monitor import traces
from streamapp.monitor.spans import Spans
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter import read_dead_letter
from streamapp.records import Headers
from tests.support.fakes import FakeBroker
from tests.support.pipeline import Bench, agent, batches, copy, each, emit, here, running, table

PRODUCER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, SPAN = PRODUCER.split("-")[1:3]


class Recorded:
    """A tracer whose spans are kept."""

    def __init__(self, *, keys: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = Spans(group="app", version="1", keys=keys)
        self.tracer.tracer = provider.get_tracer("test")

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def ids(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context is not None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def linked(span: ReadableSpan) -> list[tuple[str, str]]:
    return [(trace.format_trace_id(link.context.trace_id), trace.format_span_id(link.context.span_id)) for link in span.links]


def headers_of(bench: Bench, topic: str) -> list[Headers]:
    return [
        record[5]
        for transaction in bench.broker.transactions
        if transaction.committed
        for record in transaction.records
        if record[0] == topic
    ]


async def test_a_call_is_a_span_of_its_own_that_links_to_the_producer(recorded: Recorded) -> None:
    async def send_on(value: bytes) -> None:
        here().send(("out", value, None, 0, 0, here().headers))

    broker = FakeBroker()
    broker.feed("in", 0, b"one", key=b"jane", headers=[("traceparent", PRODUCER.encode()), ("user", b"x")])
    async with running(agent(each(send_on)), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
        (headers,) = headers_of(bench, "out")
    call, sent = recorded.one("process in"), recorded.one("send out")
    assert (call.kind, call.parent, linked(call)) == (SpanKind.CONSUMER, None, [(TRACE, SPAN)])
    assert ids(call)[0] != TRACE
    assert told(call) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "in",
        "messaging.destination.partition.id": "0",
        "messaging.consumer.group.name": "app",
        "messaging.kafka.offset": 0,
    }
    assert sent.kind is SpanKind.PRODUCER and sent.parent is not None and ids(sent)[0] == ids(call)[0]
    assert told(sent) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "out",
        "messaging.destination.partition.id": "0",
    }
    assert [(name, value[:52]) for name, value in headers if value] == [
        ("user", b"x"),
        ("traceparent", f"00-{'-'.join(ids(sent))}".encode()),
    ]
    assert call.status.status_code is StatusCode.UNSET


async def test_a_commit_is_a_client_span_with_its_records(recorded: Recorded) -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"one", b"two")
    broker.fail("send_offsets", CommitRefused("not now"))
    async with running(agent(each(copy)), broker=broker, tracer=recorded.tracer, isolate_after=0) as bench:
        await bench.caught_up()
    commits = recorded.named("commit")
    refused = [span for span in commits if span.status.status_code is StatusCode.ERROR]
    assert [told(span)["error.type"] for span in refused] == ["streamapp.errors.CommitRefused"]
    good = [span for span in commits if span not in refused and told(span)["messaging.batch.message_count"]]
    assert sum(told(span)["messaging.batch.message_count"] for span in good) == 2
    assert all(span.kind is SpanKind.CLIENT and told(span)["messaging.operation.type"] == "settle" for span in commits)


async def test_attempts_are_one_span_with_an_event_each_and_the_dead_letter_is_its_error(recorded: Recorded) -> None:
    async def refuse(value: bytes) -> None:
        emit(b"never seen")
        raise ValueError("secret " + value.decode())

    broker = FakeBroker()
    broker.feed("in", 0, b"bad", headers=[("traceparent", PRODUCER.encode())])
    async with running(agent(each(refuse)), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
        (headers,) = headers_of(bench, "dlq")
    call = recorded.one("process in")
    assert [(event.name, (event.attributes or {})["attempt"]) for event in call.events] == [("retry", 1)]
    assert call.status.status_code is StatusCode.ERROR
    assert call.status.description == "retries-exhausted"
    assert told(call)["error.type"] == "builtins.ValueError"
    assert "secret" not in call.to_json()
    letter = read_dead_letter(headers)
    assert letter is not None and letter.trace_id == ids(call)[0]
    assert recorded.named("send out") == []


async def test_a_record_that_cannot_be_decoded_has_its_error_too(recorded: Recorded) -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"!bad", b"good")
    async with running(agent(each(copy)), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
    bad, good = sorted(recorded.named("process in"), key=lambda span: told(span)["messaging.kafka.offset"])
    assert (bad.status.status_code, good.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)


async def test_a_replay_links_to_the_trace_in_which_it_failed(recorded: Recorded) -> None:
    failed = "af7651916cd43dd8448eb211c80319c7"
    headers: Headers = [
        ("traceparent", PRODUCER.encode()),
        ("streamapp.dlq.replay-of", b"in/0/3@agent"),
        ("streamapp.dlq.trace-id", failed.encode()),
    ]
    broker = FakeBroker()
    broker.feed("in", 0, b"again", headers=headers)
    async with running(agent(each(copy)), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
    call = recorded.one("process in")
    assert [trace_id for trace_id, _ in linked(call)] == [TRACE, failed]
    assert dict(call.links[1].attributes or {}) == {"streamapp.dlq.replay-of": "in/0/3@agent"}


async def test_a_batch_is_one_call_that_links_to_all_its_producers(recorded: Recorded) -> None:
    async def every(values: Sequence[bytes]) -> None:
        for value in values:
            emit(value)

    broker = FakeBroker()
    for number in range(3):
        broker.feed("in", 0, b"%d" % number, headers=[("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01".encode())])
    async with running(agent(batches(3, every, within=2.0)), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
    call = recorded.one("process in")
    assert told(call)["messaging.batch.message_count"] == 3
    assert linked(call) == [(f"{number:032x}", f"{number:016x}") for number in (1, 2, 3)]
    assert len(recorded.named("send out")) == 3


async def test_a_batch_that_fails_is_split_into_calls_of_their_own(recorded: Recorded) -> None:
    async def some(values: Sequence[bytes]) -> None:
        if b"bad" in values:
            raise Permanent("no")

    broker = FakeBroker()
    broker.feed("in", 0, b"a", b"bad")
    async with running(agent(batches(2, some, within=2.0)), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
    calls = recorded.named("process in")
    assert [event.name for span in calls for event in span.events] == ["dropped"]
    assert len(calls) == 3
    assert [span.status.status_code for span in calls].count(StatusCode.ERROR) == 1


async def test_what_the_agent_does_belongs_to_its_call_and_nothing_afterwards_does(recorded: Recorded) -> None:
    seen: list[trace.SpanContext] = []
    behind: list[trace.SpanContext] = []

    async def look(value: bytes) -> None:
        await asyncio.sleep(0)
        seen.append(trace.get_current_span().get_span_context())
        assert traces.current() == (trace.format_trace_id(seen[-1].trace_id), trace.format_span_id(seen[-1].span_id))

    async def run(cursor: Cursor) -> None:
        while True:
            value = await anext(cursor)
            assert isinstance(value, bytes)
            await look(value)
            cursor.finish()
            behind.append(trace.get_current_span().get_span_context())

    broker = FakeBroker()
    broker.feed("in", 0, b"one", b"two")
    async with running(agent(run), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
    assert seen == [span.get_span_context() for span in recorded.named("process in")]
    assert len(behind) == 2 and not any(context.is_valid for context in behind)


async def test_a_unit_that_is_dropped_ends_no_call_twice_and_leaves_none_open(recorded: Recorded) -> None:
    broker = FakeBroker()
    broker.feed("in", 0, *(b"%d" % number for number in range(20)))
    broker.fail("send_offsets", CommitRefused("not now"))
    async with running(agent(each(copy)), broker=broker, tracer=recorded.tracer, isolate_after=0) as bench:
        await bench.caught_up()
        assert bench.engine.calls is not None and bench.engine.calls._between == {}
    done = [span for span in recorded.named("process in") if not span.events]
    assert {told(span)["messaging.kafka.offset"] for span in done} == set(range(20))


async def test_agents_that_hold_keys_are_traced_too(recorded: Recorded) -> None:
    async def refuse(value: bytes) -> None:
        if value == b"bad":
            raise Permanent("no")
        emit(value)

    broker = FakeBroker()
    broker.feed("in", 0, b"bad", b"good", key=b"k")
    broker.feed("in", 0, b"other", key=b"l")
    async with running(
        agent(each(refuse), on_error="block_key"), tables=[table("agent-dlq-held")], broker=broker, tracer=recorded.tracer
    ) as bench:
        await bench.caught_up()
    assert {told(span)["messaging.kafka.offset"] for span in recorded.named("process in")} == {0, 2}


async def test_keys_are_told_where_they_are_asked_for() -> None:
    recorded = Recorded(keys=True)
    broker = FakeBroker()
    broker.feed("in", 0, b"one", key=b"jane\xff")
    async with running(agent(each(copy)), broker=broker, tracer=recorded.tracer) as bench:
        await bench.caught_up()
    assert told(recorded.one("process in"))["messaging.kafka.message.key"] == "jane\\xff"


async def test_without_a_tracer_the_plain_cursor_runs() -> None:
    async with running(agent(each(copy))) as bench:
        assert [type(cursor) for run in bench.engine._agents for cursor in run.cursors] == [Cursor]


def test_nothing_of_opentelemetry_is_loaded_where_nobody_loads_it() -> None:
    code = (
        "import sys; from streamapp.monitor import traces; import streamapp.assembly; "
        "assert traces.tracer(group='g', version='1', keys=False) is None and traces.current() is None; "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]; "
        "import opentelemetry.trace as api; assert traces.tracer(group='g', version='1', keys=False) is None; "
        "from opentelemetry.sdk.trace import TracerProvider; api.set_tracer_provider(TracerProvider()); "
        "print(type(traces.tracer(group='g', version='1', keys=False)).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "Spans\n", done.stderr
