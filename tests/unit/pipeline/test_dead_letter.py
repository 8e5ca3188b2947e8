"""A dead letter keeps the source record's bytes, stays within its caps, and brings back where the record came from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamapp.errors import DecodeFailed, ValidationFailed
from streamapp.pipeline import dead_letter
from streamapp.pipeline.dead_letter import (
    PREFIX,
    DeadLetterTopic,
    Failure,
    Writer,
    bury,
    fingerprint,
    parse_id,
    read_dead_letter,
    record_size,
    stage_of,
)
from streamapp.pipeline.savepoint import travelling
from streamapp.records import Headers, Position

WRITER = Writer(app="shop", group="shop", worker="w-1", version="1.4.0", transactional_id="shop-w-1")
DLQ = DeadLetterTopic(name="orders-dlq", partitions=8)


class Raw:
    def __init__(
        self,
        key: bytes | None = b"ann",
        value: bytes | None = b"{}",
        headers: Headers | None = None,
        place: tuple[str, int, int] = ("orders", 3, 1842),
        timestamp: tuple[int, int] = (1, 1_700_000_000_123),
    ) -> None:
        self._key, self._value, self._headers, self._place, self._timestamp = key, value, headers, place, timestamp

    def topic(self) -> Any:
        return self._place[0]

    def partition(self) -> Any:
        return self._place[1]

    def offset(self) -> Any:
        return self._place[2]

    def key(self) -> Any:
        return self._key

    def value(self) -> Any:
        return self._value

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> Any:
        return self._timestamp


def raised(exc: BaseException) -> Any:
    try:
        raise exc
    except BaseException as caught:
        return caught


def failure(exc: BaseException | None = None, **fields: Any) -> Any:
    known: dict[str, Any] = {
        "agent": "order_processor", "exception": exc or raised(RuntimeError("boom")), "stage": "handler",
        "reason": "retries-exhausted", "attempts": 2, "first_failed_at": 1_700_000_001.5, "failed_at": 1_700_000_002.0,
    }  # fmt: skip
    return Failure(**(known | fields))


def buried(record: Any = None, fail: Any = None, topic: Any = DLQ) -> Any:
    return bury(record or Raw(), fail or failure(), writer=WRITER, topic=topic)


def headers_of(burial: Any) -> Any:
    return burial.outgoing[5]


def told(burial: Any) -> Any:
    """Our headers, each of which must be there once."""
    ours = [(name.removeprefix(PREFIX), value.decode()) for name, value in headers_of(burial) if name.startswith(PREFIX)]
    assert len(dict(ours)) == len(ours)
    return dict(ours)


def theirs(burial: Any) -> Any:
    return [header for header in headers_of(burial) if not header[0].startswith(PREFIX)]


names = st.text(st.characters(codec="utf-8"), max_size=30)
user_headers = st.lists(
    st.tuples(names.filter(lambda name: not name.startswith(PREFIX)), st.none() | st.binary(max_size=2000)), max_size=8
)
any_headers = st.lists(
    st.tuples(st.sampled_from(["id", "replay-of", "replay-count", "source.offset", "epoch", "x"]).map(PREFIX.__add__) | names,
              st.none() | st.binary(max_size=2000)),
    max_size=12,
)  # fmt: skip
places = st.tuples(st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True), st.integers(0, 10**5), st.integers(0, 2**63 - 1))
texts = st.text(st.characters()) | st.text(min_size=1).map(lambda text: text * 5000)


@st.composite
def exceptions(draw: Any) -> Any:
    def plain() -> Any:
        text = draw(texts)
        base = draw(st.sampled_from([RuntimeError, ValueError, KeyError, OSError, UnicodeError]))
        kind = draw(st.sampled_from(["base", "named", "unprintable", "decode"]))
        if kind == "base":
            return base(text)
        if kind == "decode":
            return draw(st.sampled_from([DecodeFailed, ValidationFailed]))(text, code=draw(texts))
        if kind == "named":
            name = draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=3000))
            return type(name, (base,), {})(text)
        return type("Rude", (base,), {"__str__": lambda self: 1 / 0})()

    exc = raised(plain())
    for _ in range(draw(st.integers(0, 10))):
        outer = raised(draw(st.sampled_from([ExceptionGroup("several", [exc]), RuntimeError("outer")])))
        outer.__cause__ = exc
        exc = outer
    return exc


@given(
    exceptions(), st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=200_000), any_headers, places,
    st.sampled_from([None, 40_000, 100_000]), st.booleans(), st.sampled_from(["handler", "decode", "validate", "process"]),
)  # fmt: skip
def test_whatever_comes_the_record_is_within_the_caps(
    exc: BaseException, key: Any, value: Any, headers: Any, place: Any, max_bytes: int | None, streams: bool, stage: Any
) -> None:
    topic = DeadLetterTopic(name="dlq", partitions=5, max_bytes=max_bytes, streams_headers=streams)
    burial = bury(Raw(key, value, headers, place), failure(exc, stage=stage), writer=WRITER, topic=topic)
    name, out_value, out_key, partition, timestamp, out_headers = burial.outgoing
    assert (name, partition, timestamp) == ("dlq", place[1] % 5, 0)
    if max_bytes is not None:
        assert record_size(out_key, out_value, out_headers) <= max_bytes
    facts = told(burial)
    assert len(facts["exception.message"].encode()) <= 1024
    assert len(facts["exception.stacktrace"].encode()) <= 8 * 1024
    ours = [header for header in out_headers if header[0].startswith((PREFIX, "__streams.errors."))]
    assert sum(len(name) + len(value or b"") for name, value in ours) <= 32 * 1024
    assert (out_value is None) == (value is None or "value" in burial.truncated)
    assert (out_key is None) == (key is None or "key" in burial.truncated)
    assert facts.get("truncated", "") == ",".join(burial.truncated)


@given(st.none() | st.binary(), st.none() | st.binary(), user_headers)
def test_key_value_and_user_headers_are_the_records_bytes(key: Any, value: Any, headers: Any) -> None:
    burial = buried(Raw(key, value, headers))
    assert (burial.outgoing[2], burial.outgoing[1]) == (key, value)
    assert theirs(burial) == headers
    assert headers_of(burial)[: len(headers)] == headers


@given(places, st.tuples(st.integers(0, 2), st.integers(-1, 2**62)))
def test_the_source_is_brought_back_exactly(place: Any, timestamp: Any) -> None:
    letter = read_dead_letter(headers_of(buried(Raw(place=place, timestamp=timestamp))))
    assert letter is not None
    assert letter.source == Position(*place)
    assert letter.timestamp == timestamp[1]
    assert letter.timestamp_type == ("none", "create", "append")[timestamp[0]]
    assert letter.id == f"{place[0]}/{place[1]}/{place[2]}@order_processor"
    assert parse_id(letter.id) == (letter.source, "order_processor")


def test_every_header_is_written_whole() -> None:
    cause = raised(ConnectionRefusedError("no"))
    exc = RuntimeError("boom")
    exc.__cause__ = cause
    burial = buried(fail=failure(raised(exc), trace_id="ab" * 16))
    facts = told(burial)
    stack = facts.pop("exception.stacktrace")
    assert stack.startswith("builtins.RuntimeError: boom\n  ")
    assert "tests/unit" in __file__.replace("\\", "/")
    assert "\ncaused by builtins.ConnectionRefusedError: no\n" in stack
    assert facts == {
        "id": "orders/3/1842@order_processor", "app": "shop", "agent": "order_processor", "source.group": "shop",
        "source.topic": "orders", "source.partition": "3", "source.offset": "1842", "source.timestamp": "1700000000123",
        "source.timestamp-type": "create", "position": "orders/3/1842", "stage": "handler", "reason": "retries-exhausted",
        "attempts": "2", "first-failed-at": "2023-11-14T22:13:21.500Z", "failed-at": "2023-11-14T22:13:22.000Z",
        "order": "skipped", "worker": "w-1", "version": "1.4.0", "transactional-id": "shop-w-1", "trace-id": "ab" * 16,
        "exception.type": "builtins.RuntimeError", "exception.message": "boom",
        "exception.cause": "ConnectionRefusedError: no", "exception.fingerprint": burial.fingerprint,
    }  # fmt: skip
    letter = read_dead_letter(headers_of(burial))
    assert letter is not None
    assert (letter.agent, letter.stage, letter.reason, letter.attempts) == ("order_processor", "handler", "retries-exhausted", 2)
    assert letter.failed_at is not None
    assert letter.failed_at.timestamp() == 1_700_000_002.0
    assert (letter.cause, letter.message, letter.fingerprint) == ("ConnectionRefusedError: no", "boom", burial.fingerprint)


def test_earlier_dead_letter_headers_are_replaced() -> None:
    first = buried(Raw(headers=[("a", b"1"), ("a", None)]))
    again = buried(Raw(headers=headers_of(first), place=("orders", 3, 1900)))
    assert theirs(again) == [("a", b"1"), ("a", None)]
    assert told(again)["id"] == "orders/3/1900@order_processor"


def test_a_replayed_record_keeps_the_identity_of_its_first_failure() -> None:
    replayed: Headers = [
        ("a", b"1"),
        (PREFIX + "replay-of", b"orders/3/1842@order_processor"),
        (PREFIX + "replay-count", b"2"),
        (PREFIX + "replayed-at", b"2023-11-15T00:00:00.000Z"),
    ]
    letter = read_dead_letter(headers_of(buried(Raw(headers=replayed, place=("orders", 3, 2210)))))
    assert letter is not None
    assert (letter.id, letter.source) == ("orders/3/1842@order_processor", Position("orders", 3, 1842))
    assert (letter.position, letter.replay_count, letter.replay_of) == ("orders/3/2210", 2, "orders/3/1842@order_processor")
    assert letter.replayed_at is not None


def test_the_replay_of_another_agents_failure_is_a_first_failure() -> None:
    replayed: Headers = [(PREFIX + "replay-of", b"orders/3/1842@billing")]
    assert buried(Raw(headers=replayed, place=("orders", 3, 2210))).id == "orders/3/2210@order_processor"


def test_the_users_headers_travel_on_and_ours_do_not() -> None:
    assert travelling(None) == []
    user = [("a", b"1"), ("streamapp.trace", b"x"), ("a", None)]
    assert travelling([user[0], (PREFIX + "epoch", b"1"), *user[1:]]) == user


def dive(depth: int) -> None:
    if depth:
        dive(depth - 1)
    raise ValueError("bottom") from raised(KeyError("root"))


def deep(depth: int) -> Any:
    with pytest.raises(ValueError, match="bottom") as caught:
        dive(depth)
    return caught.value


def test_what_does_not_fit_is_cut_in_order() -> None:
    large, small = ("large", b"h" * 2000), ("small", b"h")
    record = Raw(b"k" * 3000, b"v" * 3000, [large, small])

    def cut_at(max_bytes: int | None) -> Any:
        return buried(record, failure(deep(60)), DeadLetterTopic(name="d", partitions=1, max_bytes=max_bytes))

    whole = record_size(*[cut_at(None).outgoing[i] for i in (2, 1, 5)])
    assert cut_at(whole).truncated == ()
    steps = [cut_at(size) for size in range(whole, 1500, -100)]
    assert [*dict.fromkeys(step.truncated for step in steps)] == [
        (), ("stack",), ("stack", "user-headers"), ("stack", "user-headers", "value"), ("stack", "user-headers", "value", "key"),
    ]  # fmt: skip
    last = steps[-1]
    assert theirs(last)[:1] in ([small], [])
    letter = read_dead_letter(headers_of(last))
    assert letter is not None
    assert (letter.truncated, letter.value_size, letter.key_size) == (last.truncated, 3000, 3000)


def test_a_long_message_is_cut_between_characters() -> None:
    burial = buried(fail=failure(raised(RuntimeError("é" * 2000))))
    assert told(burial)["exception.message"] == "é" * 512
    assert burial.truncated == ("message",)


def test_a_deep_stack_keeps_its_inner_frames_and_its_cause() -> None:
    burial = buried(fail=failure(deep(400)))
    stack = told(burial)["exception.stacktrace"]
    assert burial.truncated == ("stack",)
    assert len(stack.encode()) <= 8 * 1024
    assert "caused by builtins.KeyError" in stack
    assert burial.fingerprint == buried(fail=failure(deep(3))).fingerprint


def test_an_exception_that_cannot_be_printed() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert told(buried(fail=failure(raised(Rude()))))["exception.message"] == "<unprintable Rude>"


def test_a_hook_rewrites_message_cause_and_stack() -> None:
    exc = RuntimeError("card 4111")
    exc.__cause__ = ValueError("card 4111")

    def redact(message: str, stack: str) -> Any:
        return message.replace("4111", "…"), stack.replace("4111", "…")

    topic = DeadLetterTopic(name="d", partitions=1, redact=redact, streams_headers=True)
    burial = buried(fail=failure(raised(exc)), topic=topic)
    assert b"4111" not in b"".join(value for _, value in headers_of(burial))


def test_a_hook_that_raises_hides_everything() -> None:
    def fail(message: str, stack: str) -> tuple[str, str]:
        raise ZeroDivisionError

    topic = DeadLetterTopic(name="d", partitions=1, redact=fail)
    facts = told(buried(topic=topic))
    assert (facts["exception.message"], facts["exception.stacktrace"]) == ("<redaction failed: ZeroDivisionError>", "")


def test_kafka_streams_headers_on_request() -> None:
    earlier: Headers = [("__streams.errors.topic", b"old"), ("a", b"1")]
    burial = buried(Raw(headers=earlier), topic=DeadLetterTopic(name="d", partitions=1, streams_headers=True))
    streams = {name: value for name, value in headers_of(burial) if name.startswith("__streams.errors.")}
    assert {name.removeprefix("__streams.errors.") for name in streams} == {
        "exception", "message", "stacktrace", "topic", "partition", "offset",
    }  # fmt: skip
    assert streams["__streams.errors.topic"] == b"orders"
    assert ("a", b"1") in headers_of(burial)


# --- fingerprints ----------------------------------------------------------------------------------------------------

HANDLER = """
def price(order: Any) -> Any:
    {padding}
    raise ValueError({message!r})

def handler(order: Any) -> Any:
    return price(order)
"""


def fail_in(source: str, module: str = "agents.pricing", file: str = "/srv/shop/agents/pricing.py") -> Any:
    scope: dict[str, Any] = {"__name__": module}
    exec(compile(source, file, "exec"), scope)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message varies
        scope["handler"](None)
    trace = caught.value.__traceback__
    return caught.value.with_traceback(trace.tb_next if trace else None)  # without this function's own frame


@given(st.text(max_size=50), st.integers(0, 40))
@example("", 0)
def test_a_fingerprint_outlives_lines_and_messages(message: str, lines: int) -> None:
    exc = fail_in("\n" * lines + HANDLER.format(padding="pass", message=message))
    parts = ["handler", "builtins.ValueError", "builtins.ValueError", "agents.pricing:handler", "agents.pricing:price"]
    frames = [frame for frame in dead_letter.frames_of(exc) if frame.is_users]
    assert [f"{frame.module}:{frame.function}" for frame in frames] == parts[3:]
    assert fingerprint(exc, "handler") == hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def test_a_fingerprint_tells_functions_stages_and_causes_apart() -> None:
    here = HANDLER.format(padding="pass", message="x")
    exc, elsewhere = fail_in(here), fail_in(here.replace("price", "cost"))
    kinds = {fingerprint(exc, "handler"), fingerprint(exc, "sink"), fingerprint(elsewhere, "handler")}
    exc.__cause__ = KeyError()
    assert len(kinds | {fingerprint(exc, "handler")}) == 4


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("streamapp.pipeline.process", "/srv/shop/streamapp/pipeline/process.py"),
        ("faust.agents", "/src/faust/agents.py"),
        ("httpx", "/venv/lib/python3.11/site-packages/httpx/__init__.py"),
        ("json.decoder", json.decoder.__file__),
        ("importlib._bootstrap", "<frozen importlib._bootstrap>"),
    ],
)
def test_only_the_users_frames_count(module: str, file: str) -> None:
    exc = fail_in(HANDLER.format(padding="pass", message="x"), module, file)
    assert [frame.function for frame in dead_letter.frames_of(exc) if frame.is_users] == []


def test_a_decoding_failure_is_known_by_its_code() -> None:
    missing, other = ValidationFailed("a", code="missing:quantity"), ValidationFailed("b", code="missing:quantity")
    assert fingerprint(raised(missing), "validate") == fingerprint(other, "validate")
    assert fingerprint(missing, "validate") != fingerprint(ValidationFailed(code="missing:sku"), "validate")
    assert fingerprint(RuntimeError(), "decode") != fingerprint(missing, "decode")
    assert (stage_of(missing), stage_of(DecodeFailed())) == ("validate", "decode")


# --- reading ---------------------------------------------------------------------------------------------------------


@given(any_headers)
def test_foreign_headers_are_no_dead_letter_and_raise_nothing(headers: Any) -> None:
    letter = read_dead_letter(headers)
    assert letter is None or letter.id


@pytest.mark.parametrize("text", ["", "a", "a/1", "a/1/2", "a/1/2@", "/1/2@x", "a/x/2@x", "a/1/-2@x", "a/1/²@x"])
def test_text_that_is_no_id(text: str) -> None:
    assert parse_id(text) is None


def test_an_agent_may_have_an_at_sign_in_its_name() -> None:
    assert parse_id("a/1/2@x@y") == (Position("a", 1, 2), "x@y")


def test_times_and_numbers_that_cannot_be_read_are_left_out() -> None:
    headers = [*headers_of(buried()), (PREFIX + "failed-at", b"soon"), (PREFIX + "attempts", b"many")]
    letter = read_dead_letter(headers)
    assert letter is not None
    assert (letter.failed_at, letter.attempts) == (None, 0)
    assert read_dead_letter(None) is None
