"""The worker's log as lines of JSON, and what is said again and again said seldom.

Every line has `ts`, `level`, `event`, `message`, `worker` and `version`, then what its event tells: the names of `FIELDS` first, in that
order, others behind. Lines without an event of ours (libraries', mostly) have the event `log` and the name of their logger. Of an exception
the types and the frames are told, never the text: a user's may quote a record.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

from streamapp.clock import Clock, SystemClock
from streamapp.events import Event
from streamapp.pipeline.dead_letter import frames_of, rfc3339, type_name
from streamapp.pipeline.retry import chain

FIELDS: Final = (
    "group",
    "topic",
    "partition",
    "offset",
    "agent",
    "key_hash",
    "attempt",
    "stage",
    "error_type",
    "fingerprint",
    "dlq_id",
    "duration_seconds",
    "trace_id",
    "span_id",
)
"""What a line may tell beside what every line has, where it applies."""
FIRST: Final = 5
"""Lines of one event and fingerprint that are written at once."""
THEN_EVERY: Final = 60.0
"""Seconds between two lines of them after that."""
REMEMBERED: Final = 1000
"""Events and fingerprints that are told apart; of more, those that were seen longest ago begin anew."""
ALWAYS: Final[frozenset[str]] = frozenset((Event.RECORD_DEAD_LETTERED,))
"""Events that have a fingerprint and are written each time: of dead letters, every id is to be found."""
FRAMES: Final = 30
"""Innermost frames of each exception of a chain."""


class JsonLines(logging.Formatter):
    """One JSON object per line. `worker` tells the worker's id once it is known; `trace` the ids of trace and span that are going on."""

    def __init__(
        self, worker: Callable[[], str | None], version: str, trace: Callable[[], tuple[str, str] | None] | None = None
    ) -> None:
        super().__init__()
        self._worker = worker
        self._version = version
        self._trace = trace

    def format(self, record: logging.LogRecord) -> str:
        told: Mapping[str, Any] = getattr(record, "fields", None) or {}
        event = getattr(record, "event", None)
        line: dict[str, Any] = {
            "ts": rfc3339(record.created),
            "level": record.levelname.lower(),
            "event": event or Event.LOG.value,
            "message": record.getMessage(),
            "worker": self._worker() or None,
            "version": self._version,
        }
        found = dict(told)
        if self._trace is not None and "trace_id" not in found and (ids := self._trace()) is not None:
            found["trace_id"], found["span_id"] = ids
        failure = record.exc_info[1] if record.exc_info else None
        if failure is not None:
            found.setdefault("error_type", type(failure).__name__)
            found["stack"] = stack(failure)
        if (suppressed := getattr(record, "suppressed", None)) is not None:
            found["suppressed"] = suppressed
        if event is None:
            found["logger"] = record.name
        line |= {name: found[name] for name in FIELDS if found.get(name) is not None}
        line |= {name: value for name, value in found.items() if name not in FIELDS}
        return json.dumps(line, default=str)  # escaped to ASCII, so that no encoding of a terminal or file can fail


def stack(failure: BaseException) -> list[str]:
    """Return types and frames of an exception and its causes, innermost first, without any text of theirs."""
    lines: list[str] = []
    for link in chain(failure):
        lines.append(f"caused by {type_name(link)}" if lines else type_name(link))
        lines += [f"  {frame}" for frame in reversed(frames_of(link)[-FRAMES:])]
    return lines


@dataclass(slots=True)
class _Seen:
    """One event with one fingerprint."""

    written: int = 0
    last: float = 0.0
    """Monotonic seconds of the last line that was written."""
    suppressed: int = 0


class Repeats(logging.Filter):
    """Lets the first few lines of an event with a fingerprint through, then one a minute that says how many it stands for. Any thread."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self._clock = clock or SystemClock()
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        fingerprint = (getattr(record, "fields", None) or {}).get("fingerprint")
        event = getattr(record, "event", "")
        if fingerprint is None or event in ALWAYS:
            return True
        now = self._clock.monotonic()
        with self._lock:
            seen = self._seen.setdefault((event, fingerprint), _Seen())
            self._seen.move_to_end((event, fingerprint))
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            if seen.written >= FIRST and now - seen.last < THEN_EVERY:
                seen.suppressed += 1
                return False
            suppressed, seen.suppressed = seen.suppressed, 0
            seen.written += 1
            seen.last = now
        if suppressed:
            record.suppressed = suppressed
            record.data = {"suppressed": suppressed}  # where Faust's own format looks
        return True


def arrange(handler: logging.Handler, formatter: JsonLines, *, log_format: str, clock: Clock | None = None) -> None:
    """Have `handler` write lines of JSON, where `log_format` says so or its stream is no terminal, and repeats seldom."""
    handler.addFilter(Repeats(clock))
    if log_format == "json" or (log_format == "auto" and not _is_terminal(getattr(handler, "stream", None))):
        handler.setFormatter(formatter)


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # something else that is written to, or closed
        return False


__all__ = ["ALWAYS", "FIELDS", "FIRST", "THEN_EVERY", "JsonLines", "Repeats", "arrange", "stack"]
