"""Which dead letter a failed record of this worker gets."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from streamapp.clock import Clock
from streamapp.digest import key_hash
from streamapp.errors import OutputRejected, ValidationFailed
from streamapp.events import Event, log_event
from streamapp.pipeline.dead_letter import DeadLetterTopic, Failure, Order, Reason, Redact, Stage, Writer, bury
from streamapp.pipeline.measures import ErrorTypes, Told
from streamapp.records import Headers, Outgoing, RawRecord

if TYPE_CHECKING:
    from streamapp.pipeline.retry import RetryState
    from streamapp.pipeline.spec import AgentSpec

log = logging.getLogger(__name__)

_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*", re.DOTALL)


class Buried(NamedTuple):
    """A dead letter to send, and what is counted of it."""

    outgoing: Outgoing
    told: Told


class Burial:
    """Makes this worker's dead letters."""

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        *,
        dlq_partitions: Mapping[str, int],
        dlq_max_bytes: Mapping[str, int],
        max_record_bytes: int,
        error_types: ErrorTypes,
        redact: Redact | None = None,
        streams_headers: bool = False,
    ) -> None:
        self.written = 0
        self._writer = writer
        self._clock = clock
        self._dlq_partitions = dlq_partitions
        self._dlq_max_bytes = dlq_max_bytes
        self._max_record_bytes = max_record_bytes
        self._error_types = error_types
        self._redact = redact
        self._streams_headers = streams_headers

    def letter(
        self,
        spec: AgentSpec,
        record: RawRecord,
        state: RetryState,
        reason: Reason,
        failure: Exception,
        stage: Stage,
        max_bytes: int | None = None,
        order: Order = "skipped",
    ) -> Buried | None:
        """Return the dead letter of a record that failed for good, or None when the agent has no dead-letter topic."""
        if spec.dlq is None:
            return None
        now = self._clock.wall()
        stage = told_stage(stage, failure)
        trace_id = state.trace_id or _trace_id(record.headers())
        burial = bury(
            record,
            Failure(
                agent=spec.name,
                exception=failure,
                stage=stage,
                reason=reason,
                attempts=state.calls,
                first_failed_at=now if state.first_failed_at is None else state.first_failed_at,
                failed_at=now,
                order=order,
                trace_id=trace_id,
            ),
            writer=self._writer,
            topic=DeadLetterTopic(
                name=spec.dlq,
                partitions=self._dlq_partitions[spec.dlq],
                max_bytes=max_bytes or self._dlq_max_bytes.get(spec.dlq, self._max_record_bytes),
                redact=self._redact,
                streams_headers=self._streams_headers,
            ),
        )
        self.written += 1
        log_event(
            log, logging.WARNING, Event.RECORD_DEAD_LETTERED,
            f"{burial.position}: dead-lettered to {spec.dlq}, {reason} after {state.calls} attempts: {type(failure).__name__}",
            topic=burial.position.topic, partition=burial.position.partition, offset=burial.position.offset, agent=spec.name,
            dlq_id=burial.id, fingerprint=burial.fingerprint, error_type=type(failure).__name__, attempt=state.calls,
            stage=stage, key_hash=key_hash(record.key()), reason=reason, trace_id=trace_id,
        )  # fmt: skip
        if "value" in burial.truncated:
            log_event(
                log, logging.WARNING, Event.DEAD_LETTER_CUT,
                f"{burial.id}: the value did not fit into {spec.dlq} and was left out; a replay needs it from the source topic",
                topic=burial.position.topic, partition=burial.position.partition, offset=burial.position.offset, agent=spec.name,
                dlq_id=burial.id,
            )  # fmt: skip
        told = Told(burial.id, burial.fingerprint, self._error_types.name(failure), reason, stage, now)
        return Buried(burial.outgoing, told)


def _trace_id(headers: Headers | None) -> str | None:
    """Return the trace that the record belongs to; None where it carries none (W3C Trace Context)."""
    told = next((value for name, value in reversed(headers or ()) if name == "traceparent"), None)
    found = None if told is None else _TRACEPARENT.fullmatch(told)
    return None if found is None else found[1].decode()


def told_stage(stage: Stage, failure: Exception) -> Stage:
    """Return the stage as a dead letter tells it."""
    if stage == "decode" and isinstance(failure, ValidationFailed):
        return "validate"
    if isinstance(failure, OutputRejected):
        return "sink"
    return stage
