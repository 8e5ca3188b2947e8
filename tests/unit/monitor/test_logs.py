"""The log as lines of JSON: the promised fields in their order, no key and no text of a user's exception, repeats seldom."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamapp.digest import hashed
from streamapp.errors import Permanent
from streamapp.events import Event, log_event
from streamapp.monitor.logs import ALWAYS, FIELDS, FIRST, THEN_EVERY, JsonLines, Repeats, arrange
from tests.support.pipeline import agent, each, running

EVERY_LINE = ["ts", "level", "event", "message", "worker", "version"]
log = logging.getLogger("streamapp.test.logs")


class Turned:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class Written:
    """A handler as Faust makes one, and what is written to it."""

    def __init__(self, log_format: str = "auto", *, terminal: bool = False, trace: Any = None) -> None:
        self.stream = io.StringIO()
        self.stream.isatty = lambda: terminal  # type: ignore[method-assign]
        self.clock = Turned()
        self.handler = logging.StreamHandler(self.stream)
        arrange(self.handler, JsonLines(lambda: "w-1", "1.4.0", trace), log_format=log_format, clock=self.clock)
        self.logger = logging.Logger("streamapp.test.logs")  # noqa: LOG001 - no parent hears it
        self.logger.addHandler(self.handler)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def test_a_line_has_the_promised_fields_in_their_order() -> None:
    written = Written(trace=lambda: ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"))
    told: dict[str, Any] = {name: f"some {name}" for name in reversed(FIELDS) if name not in ("trace_id", "span_id")}
    log_event(written.logger, logging.WARNING, Event.RECORD_DEAD_LETTERED, "100 % gone", counters={"records": 3}, **told)
    (line,) = written.lines
    assert list(line) == [*EVERY_LINE, *FIELDS, "counters"]
    assert (line["level"], line["event"], line["message"]) == ("warning", "record_dead_lettered", "100 % gone")
    assert (line["worker"], line["version"], line["counters"]) == ("w-1", "1.4.0", {"records": 3})
    assert (line["trace_id"], line["span_id"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    moment = datetime.fromisoformat(line["ts"])
    assert line["ts"].endswith("Z") and moment.tzinfo == UTC


def test_what_does_not_apply_is_left_out_and_one_line_stays_one() -> None:
    written = Written()
    log_event(written.logger, logging.INFO, Event.WORKER_READY, "two\nlines, one “object”\ud800", key_hash=None, odd=Path("/x"))
    assert len(written.stream.getvalue().splitlines()) == 1
    (line,) = written.lines
    assert "key_hash" not in line and line["odd"] == "/x"


def test_lines_of_libraries_go_the_same_way() -> None:
    written = Written()
    written.logger.name = "faust.web"
    written.logger.info("Ready on %s", "port")
    (line,) = written.lines
    assert (line["event"], line["message"], line["logger"]) == ("log", "Ready on port", "faust.web")


def test_an_exception_is_told_by_types_and_frames_and_never_by_its_text() -> None:
    written = Written()
    try:
        try:
            raise KeyError("customer jane@example.com")
        except KeyError as why:
            raise Permanent("order of jane@example.com") from why
    except Permanent as failure:
        log_event(written.logger, logging.ERROR, Event.TASK_FAILED, "a timer failed", exc_info=failure)
    (line,) = written.lines
    assert "jane" not in json.dumps(line)
    assert line["error_type"] == "Permanent"
    assert [frame for frame in line["stack"] if not frame.startswith("  ")] == [
        "streamapp.errors.Permanent",
        "caused by builtins.KeyError",
    ]
    assert any("test_logs.py:" in frame for frame in line["stack"])


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("text", False, False)],
)
def test_the_format_is_json_where_nobody_reads_along_or_where_it_is_set(log_format: str, terminal: bool, is_json: bool) -> None:
    written = Written(log_format, terminal=terminal)
    written.logger.info("hello")
    assert written.stream.getvalue().startswith("{") is is_json


def repeat(written: Written, times: int, fingerprint: str = "9c1f04be77a2", event: Event = Event.RECORD_RETRIED) -> None:
    for _ in range(times):
        log_event(written.logger, logging.INFO, event, "again", fingerprint=fingerprint)


def test_repeats_of_a_fingerprint_are_written_five_times_then_once_a_minute_with_their_number() -> None:
    written = Written()
    repeat(written, FIRST + 20)
    assert len(written.lines) == FIRST
    written.clock.now += THEN_EVERY - 1
    repeat(written, 1)
    written.clock.now += 1
    repeat(written, 10)
    assert len(written.lines) == FIRST + 1
    assert [line.get("suppressed") for line in written.lines] == [None] * FIRST + [21]
    written.clock.now += THEN_EVERY
    repeat(written, 1)
    assert written.lines[-1]["suppressed"] == 9
    repeat(written, 1, fingerprint="51d0a7e2c3f8")
    assert "suppressed" not in written.lines[-1], "another kind of failure is its own"


def test_dead_letters_and_lines_without_a_fingerprint_are_written_each_time() -> None:
    written = Written()
    repeat(written, FIRST + 20, event=Event.RECORD_DEAD_LETTERED)
    for _ in range(FIRST + 20):
        written.logger.info("no fingerprint")
    assert len(written.lines) == 2 * (FIRST + 20)
    assert set(ALWAYS) == {"record_dead_lettered"}


def test_what_was_suppressed_is_told_in_text_too() -> None:
    written = Written("text")
    written.handler.setFormatter(logging.Formatter("%(message)s %(data)s", defaults={"data": ""}))
    repeat(written, FIRST + 3)
    written.clock.now += THEN_EVERY
    repeat(written, 1)
    assert written.stream.getvalue().splitlines()[-1] == "again {'suppressed': 3}"


def test_a_bounded_number_of_kinds_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.monitor.logs.REMEMBERED", 2)
    repeats = Repeats(Turned())

    def passes(fingerprint: str) -> bool:
        record = logging.LogRecord("x", logging.INFO, "", 0, "", None, None)
        record.__dict__ |= {"event": "record_retried", "fields": {"fingerprint": fingerprint}}
        return repeats.filter(record)

    assert [passes("a") for _ in range(FIRST + 1)][-1] is False
    assert all((passes("b"), passes("c"), passes("a")))


def test_a_closed_stream_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    handler = logging.StreamHandler(closed)
    arrange(handler, JsonLines(lambda: None, "1"), log_format="auto")
    assert isinstance(handler.formatter, JsonLines)


async def test_a_dead_letters_line_has_its_id_and_a_hash_for_the_key(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(value: bytes) -> None:
        raise ValueError(f"secret {value!r}")

    with caplog.at_level(logging.INFO):
        async with running(agent(each(refuse))) as bench:
            bench.broker.feed("in", 0, b"private", key=b"jane")
            await bench.caught_up()
    records = [record for record in caplog.records if hasattr(record, "event")]
    lines = [json.loads(JsonLines(lambda: "w1", "1").format(record)) for record in records]
    (buried,) = [line for line in lines if line["event"] == "record_dead_lettered"]
    told = {name: buried[name] for name in ("dlq_id", "key_hash", "stage", "error_type", "attempt", "agent", "topic", "offset")}
    assert told == {
        "dlq_id": "in/0/0@agent",
        "key_hash": hashed(b"jane"),
        "stage": "handler",
        "error_type": "ValueError",
        "attempt": 2,
        "agent": "agent",
        "topic": "in",
        "offset": 0,
    }
    assert not any(word in json.dumps(lines) for word in ("jane", "private", "secret"))


async def test_assign_and_leader_are_logged_with_counts_and_duration(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with running(agent(each(_nothing)), partitions={"in": 2}) as bench:
            await bench.until(lambda: any(getattr(record, "event", "") == "leader_changed" for record in caplog.records))
    told = [record.__dict__["fields"] for record in caplog.records if getattr(record, "event", "") == "partitions_assigned"]
    assert [(fields["count"], fields["held"]) for fields in told] == [(2, 2), (2, 2)]
    assert told[-1]["duration_seconds"] >= 0


async def _nothing(value: bytes) -> None:
    """Be done with it."""


def test_every_event_is_logged_by_somebody() -> None:
    """The list is closed from both sides: no event that nobody writes."""
    room = Path(sys.modules["streamapp"].__file__ or "").parent
    text = "".join(path.read_text() for path in room.rglob("*.py") if path.name != "events.py")
    others = {"DOCTOR_FINDING", "STATUS_CHANGED", "RECORD_RETRIED"}
    assert {name for name in Event.__members__ if f"Event.{name}" not in text} <= others
