"""The dead letter: a record that failed, as its dead-letter topic keeps it, and how such a record is read back.

Key, value and the user's headers are the source record's bytes, never encoded again; what we know about the failure stands
in `streamapp.dlq.*` headers. Pure functions: time, identity and limits are given.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import CodeType
from typing import Final, Literal, NamedTuple, TypeAlias

from streamapp.errors import DecodeFailed, RecordError, StreamAppError, ValidationFailed
from streamapp.pipeline.retry import chain
from streamapp.pipeline.savepoint import DLQ_HEADER_PREFIX, travelling
from streamapp.records import Headers, Outgoing, Position, RawRecord

PREFIX: Final = DLQ_HEADER_PREFIX
STREAMS_PREFIX: Final = "__streams.errors."

Stage: TypeAlias = Literal["decode", "validate", "handler", "sink", "table", "process"]
Reason: TypeAlias = Literal["permanent", "retries-exhausted", "budget-exhausted", "oversize-output", "killed-worker", "taken"]
Order: TypeAlias = Literal["skipped", "held", "stopped"]
Redact: TypeAlias = Callable[[str, str], tuple[str, str]]
"""Rewrites (message, stack trace); also called with ("Class: text" of the root cause, "")."""

MESSAGE_BYTES: Final = 1024
STACK_BYTES: Final = 8 * 1024
OURS_BYTES: Final = 32 * 1024
"""Our headers together, names included; a dead-letter topic takes 64 KiB more than its source."""
_FACT_BYTES: Final = 512
"""Any other header of ours: 26 of them, message, cause and the stack then stay below `OURS_BYTES`."""
_SMALL_USER_HEADER: Final = 1024

_TIMESTAMP_TYPES: Final = ("none", "create", "append")
_CARRIED: Final = ("replay-count", "replay-of", "replayed-at", "edited-by", "epoch")
"""Facts of a replay: the replayed record brings them and its dead letter keeps them."""
REPLAY_OF: Final = f"{PREFIX}replay-of"
_ID, _APP = f"{PREFIX}id", f"{PREFIX}app"
_REPLAY_COUNT, _EPOCH, _JOB = f"{PREFIX}replay-count", f"{PREFIX}epoch", f"{PREFIX}job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes dead letters: the same for all of a worker's."""

    app: str
    group: str
    worker: str
    version: str
    transactional_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterTopic:
    """Where an agent's dead letters go, and in what form."""

    name: str
    partitions: int
    max_bytes: int | None = None
    """The largest record that topic and producer take; None = no limit."""
    redact: Redact | None = None
    streams_headers: bool = False
    """Write Kafka Streams' six `__streams.errors.*` headers too (setting `dlq_compat=streams`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How one record failed one agent."""

    agent: str
    exception: BaseException
    stage: Stage
    reason: Reason
    attempts: int
    """Calls of the handler by this owner; 0 when decoding failed."""
    first_failed_at: float
    """Seconds since 1970, and so is the next."""
    failed_at: float
    order: Order = "skipped"
    trace_id: str | None = None


class Burial(NamedTuple):
    """A dead letter to produce, and what the log and the metrics say about it."""

    outgoing: Outgoing
    id: str
    position: Position
    fingerprint: str
    truncated: tuple[str, ...]
    """What was cut. With `value`, the source topic's retention bounds what a replay can still fetch: warn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What the headers of a dead letter say."""

    id: str
    agent: str
    stage: str
    source: Position
    """Where the record was when it first failed."""
    timestamp: int | None = None
    """The record's own, in milliseconds since 1970."""
    timestamp_type: str = "none"
    position: str = ""
    app: str = ""
    group: str = ""
    reason: str = ""
    attempts: int = 0
    first_failed_at: datetime | None = None
    failed_at: datetime | None = None
    order: str = ""
    worker: str = ""
    version: str = ""
    transactional_id: str = ""
    trace_id: str | None = None
    exception_type: str = ""
    message: str = ""
    cause: str | None = None
    stacktrace: str = ""
    fingerprint: str = ""
    replay_count: int = 0
    replay_of: str | None = None
    replayed_at: datetime | None = None
    edited_by: str | None = None
    epoch: str | None = None
    truncated: tuple[str, ...] = ()
    value_size: int | None = None
    key_size: int | None = None


def dead_letter_id(position: Position, agent: str) -> str:
    """Return the name that a dead letter keeps through all its replays: `topic/partition/offset@agent`."""
    return f"{position}@{agent}"


def stage_of(exc: BaseException) -> Stage:
    """Return the stage of a decoding failure: `validate` where the document was read, else `decode`."""
    return "validate" if isinstance(exc, ValidationFailed) else "decode"


# --- making one ------------------------------------------------------------------------------------------------------


def bury(record: RawRecord, failure: Failure, *, writer: Writer, topic: DeadLetterTopic) -> Burial:
    """Return the dead letter of `record`, within every cap: an oversize record would abort its whole unit.

    1 facts     what we know, each in a header, earlier `streamapp.dlq.*` replaced
    2 caps      message 1 KiB, stack 8 KiB, ours together 32 KiB
    3 fit       cut until `max_bytes` holds: stack, user headers over 1 KiB, value, key; what must go beyond that goes too
    """
    position = Position(record.topic() or "", record.partition() or 0, record.offset() or 0)
    headers = record.headers() or []
    facts, cut = _facts(record, failure, position=position, writer=writer, redact=topic.redact)
    draft = _Draft(
        key=record.key(),
        value=record.value(),
        user=_user_headers(headers, topic),
        facts=facts,
        cut=cut,
        topic=topic,
        position=position,
    )
    draft.fit()
    # Timestamp 0: the topic stamps on append, or an old record's letter would meet retention at once.
    partition = position.partition % topic.partitions
    outgoing: Outgoing = (topic.name, draft.value, draft.key, partition, 0, [*draft.user, *draft.ours()])
    return Burial(outgoing, facts["id"], position, facts["exception.fingerprint"], tuple(draft.cut))


def _user_headers(headers: Headers, topic: DeadLetterTopic) -> Headers:
    user = travelling(headers)
    if topic.streams_headers:
        user = [header for header in user if not header[0].startswith(STREAMS_PREFIX)]
    return user


def _facts(
    record: RawRecord, failure: Failure, *, position: Position, writer: Writer, redact: Redact | None
) -> tuple[dict[str, str], list[str]]:
    """Return our headers, in the order in which they are written, and what the caps cut."""
    earlier = _dlq_headers(record.headers())
    kind, milliseconds = record.timestamp()
    facts = {
        "id": dead_letter_id(position, failure.agent),
        "app": writer.app,
        "agent": failure.agent,
        "source.group": writer.group,
        "source.topic": position.topic,
        "source.partition": str(position.partition),
        "source.offset": str(position.offset),
        "source.timestamp": str(milliseconds),
        "source.timestamp-type": _TIMESTAMP_TYPES[kind] if 0 <= kind < len(_TIMESTAMP_TYPES) else "none",
        "position": str(position),
        "stage": failure.stage,
        "reason": failure.reason,
        "attempts": str(failure.attempts),
        "first-failed-at": rfc3339(failure.first_failed_at),
        "failed-at": rfc3339(failure.failed_at),
        "order": failure.order,
        "worker": writer.worker,
        "version": writer.version,
        "transactional-id": writer.transactional_id,
    }
    if failure.trace_id:
        facts["trace-id"] = failure.trace_id
    # The first failure of this agent is what the record is known by; a replay of another agent's failure is news here.
    first = parse_id(earlier.get("replay-of", ""))
    if first is not None and first[1] == failure.agent:
        source = first[0]
        facts |= {"id": earlier["replay-of"], "source.topic": source.topic}
        facts |= {"source.partition": str(source.partition), "source.offset": str(source.offset)}
        if _time(earlier.get("first-failed-at")) is not None:
            facts["first-failed-at"] = earlier["first-failed-at"]
    if "replay-of" in earlier:
        facts |= {name: earlier[name] for name in _CARRIED if name in earlier}
    facts = {name: clip(value, _FACT_BYTES) for name, value in facts.items()}
    told, cut = _told(failure.exception, redact)
    return facts | told | {"exception.fingerprint": fingerprint(failure.exception, failure.stage)}, cut


def _told(exc: BaseException, redact: Redact | None) -> tuple[dict[str, str], list[str]]:
    """Return what is told about the exception, within its caps, and which of it was cut."""
    message, root = text_of(exc), root_cause(exc)
    cause = None if root is exc else f"{type(root).__name__}: {text_of(root)}"
    stack, complete = stacktrace(exc)
    if redact is not None:
        message, stack = _redacted(redact, message, stack)
        cause = None if cause is None else _redacted(redact, cause, "")[0]
    told = {
        "exception.type": clip(type_name(exc), _FACT_BYTES),
        "exception.message": clip(message, MESSAGE_BYTES),
        "exception.cause": clip(cause or "", MESSAGE_BYTES),
        "exception.stacktrace": clip(stack, STACK_BYTES),
    }
    cut = ["message"] if told["exception.message"] != _encodable(message) else []
    if not complete or told["exception.stacktrace"] != _encodable(stack):
        cut.append("stack")
    if cause is None:
        del told["exception.cause"]
    return told, cut


def _redacted(redact: Redact, message: str, stack: str) -> tuple[str, str]:
    try:
        told, trace = redact(message, stack)
        return str(told), str(trace)
    except Exception as exc:  # user code; what it was to hide stays hidden, and the record is still buried
        return f"<redaction failed: {type(exc).__name__}>", ""


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A dead letter while it is cut to size."""

    key: bytes | None
    value: bytes | None
    user: Headers
    facts: dict[str, str]
    cut: list[str]
    topic: DeadLetterTopic
    position: Position
    sizes: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = {
            f"{name}-size": str(len(data)) for name, data in (("value", self.value), ("key", self.key)) if data is not None
        }

    def ours(self) -> Headers:
        facts = self.facts
        if self.cut:
            facts = facts | {"truncated": ",".join(self.cut)} | self.sizes
        headers: Headers = [(PREFIX + name, value.encode()) for name, value in facts.items()]
        if self.topic.streams_headers:
            headers += self._streams_headers()
        return headers

    def _streams_headers(self) -> Headers:
        told = {
            "exception": self.facts["exception.type"],
            "message": self.facts["exception.message"],
            "stacktrace": self.facts["exception.stacktrace"],
            "topic": self.position.topic,
            "partition": str(self.position.partition),
            "offset": str(self.position.offset),
        }
        return [(STREAMS_PREFIX + name, value.encode()) for name, value in told.items()]

    def fit(self) -> None:
        while (stack := self.facts["exception.stacktrace"]) and (excess := _size_of(self.ours()) - OURS_BYTES) > 0:
            self._shorten("stack", "exception.stacktrace", max(0, len(stack.encode()) - excess))
        for step in (self._drop_stack, self._drop_large_user_headers, self._drop_value, self._drop_key, self._drop_user_headers):
            if self._fits():
                return
            step()

    def _fits(self) -> bool:
        limit = self.topic.max_bytes
        return limit is None or record_size(self.key, self.value, [*self.user, *self.ours()]) <= limit

    def _note(self, what: str) -> None:
        if what not in self.cut:
            self.cut.append(what)

    def _shorten(self, what: str, name: str, size: int) -> None:
        self.facts[name] = clip(self.facts[name], size)
        self._note(what)

    def _drop_stack(self) -> None:
        self._shorten("stack", "exception.stacktrace", 0)

    def _drop_large_user_headers(self) -> None:
        # Gone, not shortened: half a header would be taken for a whole one by whoever reads the replayed record.
        kept = [(name, value) for name, value in self.user if len(name.encode()) + len(value or b"") <= _SMALL_USER_HEADER]
        if len(kept) < len(self.user):
            self.user = kept
            self._note("user-headers")

    def _drop_value(self) -> None:
        if self.value is not None:
            self.value = None
            self._note("value")

    def _drop_key(self) -> None:
        if self.key is not None:
            self.key = None
            self._note("key")

    def _drop_user_headers(self) -> None:
        # Thousands of small ones: the last that can go before the record blocks its partition.
        if self.user:
            self.user = []
            self._note("user-headers")


def record_size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return an upper bound of the bytes that the broker counts: batch and record framing included, compression not."""
    return 61 + 40 + len(key or b"") + len(value or b"") + _size_of(headers)


def _size_of(headers: Headers) -> int:
    return sum(len(name.encode()) + len(value or b"") + 10 for name, value in headers)  # two varints of at most 5 bytes


# --- what is told about an exception ---------------------------------------------------------------------------------


def type_name(exc: BaseException) -> str:
    return f"{type(exc).__module__}.{type(exc).__qualname__}"


def text_of(exc: BaseException) -> str:
    """Return `str(exc)`, also of an exception whose own `__str__` raises."""
    try:
        return str(exc)
    except Exception:  # foreign code; the record is buried all the same
        return f"<unprintable {type(exc).__name__}>"


def named(exc: BaseException) -> str:
    """Return what the log says of an exception: a user's or a record's by its class and where in the user's code, as its text may quote
    the record; any other with its text."""
    if isinstance(exc, StreamAppError) and not isinstance(exc, RecordError):
        return f"{type(exc).__name__}: {text_of(exc)}"
    place = next((str(frame) for frame in reversed(frames_of(exc)) if frame.is_users), None)
    return type(exc).__name__ if place is None else f"{type(exc).__name__} at {place}"


def root_cause(exc: BaseException) -> BaseException:
    """Return the last link of the cause chain; of a group, its first member's."""
    root = exc
    for _ in range(8):
        *_, root = chain(root)
        if not isinstance(root, BaseExceptionGroup):
            break
        root = root.exceptions[0]
    return root


def fingerprint(exc: BaseException, stage: Stage) -> str:
    """Return the name of this kind of failure: the same across deploys, messages and line numbers, 12 hex digits."""
    parts = [stage, type_name(exc), type_name(root_cause(exc))]
    if stage in ("decode", "validate"):
        parts.append(exc.code if isinstance(exc, DecodeFailed) else "undecodable")
    else:
        # Each function once: a recursion's depth depends on the record.
        parts.extend(dict.fromkeys(f"{frame.module}:{frame.function}" for frame in frames_of(exc) if frame.is_users))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]


class Frame(NamedTuple):
    """One line of a stack trace."""

    module: str
    function: str
    file: str
    line: int

    @property
    def is_users(self) -> bool:
        """Whether it is neither ours, nor Faust's, nor the standard library's, nor an installed package's."""
        if self.module.partition(".")[0] in ("streamapp", "faust", "mode"):
            return False
        if "site-packages" in self.file or "dist-packages" in self.file:
            return False
        return not self.file.startswith((*_STDLIB, "<frozen "))

    def __str__(self) -> str:
        return f"{_short(self.file, self.module)}:{self.line} {self.function}"


_STDLIB: Final = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib")})  # noqa: PTH118  # text only


def frames_of(exc: BaseException) -> list[Frame]:
    """Return the exception's frames, outermost first."""
    frames = []
    step = exc.__traceback__
    while step is not None:
        code: CodeType = step.tb_frame.f_code
        module = step.tb_frame.f_globals.get("__name__")
        frames.append(Frame(str(module or "?"), code.co_qualname, code.co_filename, step.tb_lineno))
        step = step.tb_next
    return frames


def _short(file: str, module: str) -> str:
    """Return the file's path from the package on: `agents/orders.py`."""
    parts = file.replace("\\", "/").split("/")
    depth = module.count(".") + 1 + (parts[-1] == "__init__.py")
    return "/".join(parts[-depth:])


def stacktrace(exc: BaseException, limit: int = STACK_BYTES) -> tuple[str, bool]:
    """Return the stack as text of at most `limit` bytes, innermost frames first, causes behind; and whether it is complete.

    What is cut are the outer frames: the inner ones and the causes say what happened.
    """
    blocks = [(_title(link), [str(frame) for frame in reversed(frames_of(link))]) for link in chain(exc)]
    if len(_stack_text(blocks, None).encode()) <= limit:
        return _stack_text(blocks, None), True
    depth = 1
    while depth < 4096 and len(_stack_text(blocks, depth + 1).encode()) <= limit:
        depth += 1
    text = _stack_text(blocks, depth)
    if len(text.encode()) > limit:
        text = _stack_text([blocks[0], *blocks[1:][-1:]], 1)
    return clip(text, limit), False


def _title(exc: BaseException) -> str:
    return clip(f"{type_name(exc)}: {text_of(exc)}", MESSAGE_BYTES)


def _stack_text(blocks: Iterable[tuple[str, Sequence[str]]], depth: int | None) -> str:
    return _encodable("\ncaused by ".join("\n  ".join([title, *frames[:depth]]) for title, frames in blocks))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def clip(text: str, size: int) -> str:
    """Return `text` as at most `size` bytes of UTF-8; half a surrogate pair is written as its escape."""
    return text.encode("utf-8", "backslashreplace")[:size].decode("utf-8", "ignore")


def rfc3339(seconds: float) -> str:
    """Return seconds since 1970 as UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- reading one -----------------------------------------------------------------------------------------------------


def read_dead_letter(headers: Headers | None) -> DeadLetter | None:
    """Return what the headers say; None where they are no dead letter's (someone else's record in the topic)."""
    told = _dlq_headers(headers)
    first = parse_id(told.get("id", ""))
    topic, partition, offset = told.get("source.topic"), _number(told, "source.partition"), _number(told, "source.offset")
    if first is None or topic is None or partition is None or offset is None:
        return None
    return DeadLetter(
        id=told["id"],
        agent=told.get("agent", first[1]),
        stage=told.get("stage", ""),
        source=Position(topic, partition, offset),
        timestamp=_number(told, "source.timestamp"),
        timestamp_type=told.get("source.timestamp-type", "none"),
        position=told.get("position", ""),
        app=told.get("app", ""),
        group=told.get("source.group", ""),
        reason=told.get("reason", ""),
        attempts=_number(told, "attempts") or 0,
        first_failed_at=_time(told.get("first-failed-at")),
        failed_at=_time(told.get("failed-at")),
        order=told.get("order", ""),
        worker=told.get("worker", ""),
        version=told.get("version", ""),
        transactional_id=told.get("transactional-id", ""),
        trace_id=told.get("trace-id"),
        exception_type=told.get("exception.type", ""),
        message=told.get("exception.message", ""),
        cause=told.get("exception.cause"),
        stacktrace=told.get("exception.stacktrace", ""),
        fingerprint=told.get("exception.fingerprint", ""),
        replay_count=_number(told, "replay-count") or 0,
        replay_of=told.get("replay-of"),
        replayed_at=_time(told.get("replayed-at")),
        edited_by=told.get("edited-by"),
        epoch=told.get("epoch"),
        truncated=tuple(told["truncated"].split(",")) if told.get("truncated") else (),
        value_size=_number(told, "value-size"),
        key_size=_number(told, "key-size"),
    )


def id_of(headers: Headers | None, app: str) -> str | None:
    """Return the id of one of `app`'s dead letters; None where it is none, or another app's."""
    id_ = None
    for name, value in headers or ():
        if name == _ID:
            id_ = _text(value)
        elif name == _APP and _text(value) != app:
            return None
    return None if id_ is None or parse_id(id_) is None else id_


def replay_of(headers: Headers | None) -> tuple[str, int] | None:
    """Return which dead letter a record replays, and for the how manieth time; None where it is no replay."""
    id_, count = None, 0
    for name, value in headers or ():
        if name == REPLAY_OF:
            id_ = _text(value)
        elif name == _REPLAY_COUNT:
            count = _digits(_text(value)) or 0
    return None if id_ is None else (id_, count)


def epoch_of(headers: Headers | None) -> str | None:
    """Return the epoch of a record that was replayed to be processed whatever dedupe says (`--force-reprocess`); None for all others."""
    return next((_text(value) for name, value in reversed(headers or ()) if name == _EPOCH and value is not None), None)


def job_of(headers: Headers | None) -> str | None:
    """Return which job replayed a record; None where it is no replay, or an older version's."""
    return next((_text(value) for name, value in reversed(headers or ()) if name == _JOB and value is not None), None)


def replayed_from(headers: Iterable[tuple[str, bytes | None]] | Mapping[str, bytes | None] | None) -> Position | None:
    """Return where a replayed dead letter first failed; None for any other record."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    told = [value for name, value in pairs if name == REPLAY_OF and value is not None]
    first = parse_id(told[-1].decode("utf-8", "backslashreplace")) if told else None
    return None if first is None else first[0]


def parse_id(text: str) -> tuple[Position, str] | None:
    """Return position and agent of an id; None where it is none."""
    place, at, agent = text.partition("@")
    parts = place.rsplit("/", 2)
    if not at or not agent or len(parts) != 3 or not parts[0]:
        return None
    partition, offset = _digits(parts[1]), _digits(parts[2])
    return None if partition is None or offset is None else (Position(parts[0], partition, offset), agent)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "backslashreplace")


def _dlq_headers(headers: Headers | None) -> dict[str, str]:
    """Return the `streamapp.dlq.*` headers by short name; the last of a name counts."""
    return dict(_decoded(headers or ()))


def _decoded(headers: Iterable[tuple[str, bytes | None]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name.startswith(PREFIX) and value is not None:
            yield name[len(PREFIX) :], value.decode("utf-8", "backslashreplace")


def _digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else None


def _number(told: dict[str, str], name: str) -> int | None:
    text = told.get(name, "")
    number = _digits(text.removeprefix("-"))
    return -number if number is not None and text.startswith("-") else number


def _time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


__all__ = [
    "PREFIX",
    "REPLAY_OF",
    "Burial",
    "DeadLetter",
    "DeadLetterTopic",
    "Failure",
    "Writer",
    "bury",
    "dead_letter_id",
    "epoch_of",
    "fingerprint",
    "id_of",
    "job_of",
    "named",
    "parse_id",
    "read_dead_letter",
    "record_size",
    "replay_of",
    "replayed_from",
    "stage_of",
]
