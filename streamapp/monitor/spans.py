"""Calls and commits as OpenTelemetry's spans (semantic conventions 1.44.0 for messaging).

`process <topic>` (CONSUMER) is a call, a trace of its own that links to who produced its records: one trace through a whole topology of
topics would never end. `send <topic>` (PRODUCER) is an output, whose header `traceparent` names it; `commit` (CLIENT) a transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamapp.pipeline.dead_letter import PREFIX, REPLAY_OF, type_name
from streamapp.records import Headers, Outgoing, RawRecord

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
SYSTEM: Final = {"messaging.system": "kafka"}
CARRIED: Final = ("traceparent", "tracestate")
TRACE_ID: Final = f"{PREFIX}trace-id"
_W3C: Final = TraceContextTextMapPropagator()
_HEX: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_NO_SPAN: Final = 0
"""Of a dead letter the trace is known, and not the span: such a link names its trace, and the letter as an attribute."""


class Spans:
    """Makes spans of a worker's calls and commits."""

    def __init__(self, *, group: str, version: str, keys: bool) -> None:
        self.tracer = trace.get_tracer("streamapp", version, schema_url=SCHEMA)
        self.group = group
        self.keys = keys

    def call(self, record: RawRecord) -> CallSpan:
        topic = str(record.topic())
        attributes: dict[str, Any] = {
            **_operation("process", "process"),
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(record.partition()),
            "messaging.consumer.group.name": self.group,
            "messaging.kafka.offset": record.offset(),
            **self.key_of(record.key()),
        }
        span = self.tracer.start_span(
            f"process {topic}", contexts.Context(), SpanKind.CONSUMER, attributes, [*links_of(record.headers())]
        )
        return CallSpan(self, span)

    def commit(self, records: int) -> CommitSpan:
        attributes = {
            **_operation("commit", "settle"),
            "messaging.consumer.group.name": self.group,
            "messaging.batch.message_count": records,
        }
        return CommitSpan(self.tracer.start_span("commit", contexts.Context(), SpanKind.CLIENT, attributes))

    def key_of(self, key: bytes | None) -> dict[str, str]:
        if not self.keys or key is None:
            return {}
        return {"messaging.kafka.message.key": key.decode("utf-8", "backslashreplace")}


class CallSpan:
    """A call's span, open over all its attempts."""

    def __init__(self, spans: Spans, span: Span) -> None:
        self._spans = spans
        self._span = span
        self._within = trace.set_span_in_context(span, contexts.Context())
        context = span.get_span_context()
        self.trace_id: str | None = trace.format_trace_id(context.trace_id) if context.is_valid else None

    def entered(self) -> None:
        # Set, and never reset by a token: the record may be finished in another context than the one it was handed out in.
        contexts.attach(self._within)

    def left(self) -> None:
        contexts.attach(contexts.Context())

    def batch(self, records: Sequence[RawRecord]) -> None:
        self._span.set_attribute("messaging.batch.message_count", len(records))
        for record in records[1:]:
            for link in links_of(record.headers()):
                self._span.add_link(link.context, link.attributes)

    def sent(self, outputs: Sequence[Outgoing]) -> list[Outgoing]:
        return [self._sent(output) for output in outputs]

    def _sent(self, output: Outgoing) -> Outgoing:
        topic, value, key, partition, timestamp, headers = output
        attributes: dict[str, Any] = {
            **_operation("send", "send"),
            "messaging.destination.name": topic,
            **({} if partition < 0 else {"messaging.destination.partition.id": str(partition)}),
            **self._spans.key_of(key),
        }
        span = self._spans.tracer.start_span(f"send {topic}", self._within, SpanKind.PRODUCER, attributes)
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(span, contexts.Context()))
        span.end()
        if not carrier:
            return output
        kept = [header for header in headers if header[0] not in CARRIED]
        return topic, value, key, partition, timestamp, [*kept, *((name, text.encode()) for name, text in carrier.items())]

    def retried(self, attempt: int, failure: Exception, seconds: float) -> None:
        self._span.add_event("retry", {"attempt": attempt, "error.type": type_name(failure), "wait_seconds": round(seconds, 3)})

    def done(self) -> None:
        self._span.end()

    def failed(self, failure: Exception, reason: str) -> None:
        _fail(self._span, failure, reason)

    def dropped(self, why: str) -> None:
        self._span.add_event("dropped", {"reason": why})
        self._span.end()


class CommitSpan:
    """A commit's span."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def done(self) -> None:
        self._span.end()

    def failed(self, failure: Exception) -> None:
        _fail(self._span, failure, "aborted")


def links_of(headers: Headers | None) -> list[Link]:
    """Return who produced a record, and for a replay the trace in which it failed."""
    told = {name: value.decode("utf-8", "replace") for name, value in headers or () if value is not None}
    found = []
    producer = trace.get_current_span(_W3C.extract(_carrier(told), contexts.Context())).get_span_context()
    if producer.is_valid:
        found.append(Link(producer))
    failed = told.get(TRACE_ID, "")
    if REPLAY_OF in told and _HEX.fullmatch(failed):
        context = SpanContext(int(failed, 16), _NO_SPAN, is_remote=True)
        found.append(Link(context, {REPLAY_OF: told[REPLAY_OF]}))
    return found


def _carrier(told: Mapping[str, str]) -> dict[str, str]:
    return {name: told[name] for name in CARRIED if name in told}


def _operation(name: str, kind: str) -> dict[str, Any]:
    return {**SYSTEM, "messaging.operation.name": name, "messaging.operation.type": kind}


def _fail(span: Span, failure: Exception, reason: str) -> None:
    # Without the exception's text: it may quote the record.
    span.set_attribute("error.type", type_name(failure))
    span.set_status(Status(StatusCode.ERROR, reason))
    span.end()


__all__ = ["CallSpan", "CommitSpan", "Spans", "links_of"]
