"""On a real broker, outputs that readers see name the span that sent them, and each committed transaction is a span."""

from __future__ import annotations

from uuid import uuid4

import pytest
from confluent_kafka import Producer
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from streamapp.monitor.spans import Spans
from tests.support.engine_rig import EngineRig
from tests.support.topics import PATIENCE


async def test_the_way_of_a_record_can_be_followed(rig: EngineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = Spans(group=rig.app_id, version="1", keys=False)
    spans.tracer = provider.get_tracer("test")
    monkeypatch.setattr("streamapp.monitor.traces.tracer", lambda **_: spans)
    job = rig.make(partitions=1)
    upstream = f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"
    producer = Producer({"bootstrap.servers": rig.bootstrap})
    for number in range(3):
        producer.produce(
            job.source, b'{"i": %d, "k": "0"}' % number, b"0", 0, headers=[("traceparent", upstream.encode()), ("user", b"x")]
        )
    producer.produce(job.source, b"not json", b"0", 0)
    assert producer.flush(PATIENCE) == 0
    worker = await rig.start()
    await rig.caught_up()
    await worker.stop()
    ended = exporter.get_finished_spans()
    calls = [span for span in ended if span.name == f"process {job.source}"]
    sends = {named(span) for span in ended if span.name == f"send {job.out}"}
    assert [[f"00-{trace.format_trace_id(link.context.trace_id)}" for link in span.links] for span in calls] == [
        *[[upstream[:35]]] * 3,
        [],
    ]
    assert [span.status.status_code for span in calls] == [*[StatusCode.UNSET] * 3, StatusCode.ERROR]
    written = [record for lane in rig.read(job.out).values() for record in lane]
    carried = {(value or b"").decode()[:52] for record in written for name, value in record.headers if name == "traceparent"}
    assert len(written) == 3 and carried == sends
    assert all([name for name, _ in record.headers].count("user") == 1 for record in written)
    commits = [span for span in ended if span.name == "commit"]
    assert sum((span.attributes or {})["messaging.batch.message_count"] for span in commits) == 4  # type: ignore[misc]  # integers
    [letter] = [record for lane in rig.read(job.dlq).values() for record in lane]
    failed = calls[-1].get_span_context()
    assert failed is not None
    assert dict(letter.headers)["streamapp.dlq.trace-id"] == trace.format_trace_id(failed.trace_id).encode()


def named(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
