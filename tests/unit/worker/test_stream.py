"""A record is done when the loop asks for the next one, whatever operator it came through."""

from __future__ import annotations

from typing import Any

import faust
import pytest
from faust.exceptions import ImproperlyConfigured

from streamapp import Stream, StreamApp, current_event
from streamapp.errors import Unsupported
from streamapp.pipeline.spec import SourceSpec
from streamapp.worker.events import CurrentEvent, set_current_event
from tests.unit.worker.shop import FakeCursor, Stopped

SOURCE = SourceSpec(topic="sales", decode=int, decode_key=bytes.decode)


def stream_over(app: StreamApp, cursor: FakeCursor) -> Stream[Any]:
    @app.agent(app.topic("sales"), name="agent")
    async def agent(stream: Any) -> None: ...

    current = CurrentEvent(app, cursor, {"sales": SOURCE})
    set_current_event(current)
    return Stream.over(cursor, agent, current)


async def seen(iterable: Any) -> list[Any]:
    found: list[Any] = []
    try:
        async for value in iterable:
            found.append(value)  # noqa: PERF401 - what came before the end counts
    except Stopped:
        return found
    raise AssertionError("a stream has no end")


async def test_values_come_in_order_and_each_is_done_when_the_next_is_asked_for(app: StreamApp) -> None:
    cursor = FakeCursor(1, 2, 3)
    stream = stream_over(app, cursor)
    async for value in stream:
        assert cursor.done == list(range(value - 1))
        if value == 3:
            break
    assert cursor.done == [0, 1]


async def test_anext_is_the_cursors_own_coroutine(app: StreamApp) -> None:
    cursor = FakeCursor(1)
    waiting = stream_over(app, cursor).__anext__()
    assert waiting.__qualname__ == "FakeCursor.__anext__"  # type: ignore[attr-defined]
    assert await waiting == 1


async def test_a_stream_without_processors_is_iterated_as_its_cursor_and_takes_none_after_that(app: StreamApp) -> None:
    cursor = FakeCursor(1)
    stream = stream_over(app, cursor)
    assert aiter(stream) is cursor
    with pytest.raises(ImproperlyConfigured, match="before the loop"):
        stream.add_processor(str)
    processed = stream_over(StreamApp("other"), FakeCursor(1))
    processed.add_processor(str)
    assert await anext(aiter(processed)) == "1"


async def test_items_events_and_enumerate(app: StreamApp) -> None:
    assert await seen(stream_over(app, FakeCursor(1, 2)).items()) == [("key0", 1), ("key1", 2)]
    app = StreamApp("other")
    assert await seen(stream_over(app, FakeCursor("a", "b")).enumerate(5)) == [(5, "a"), (6, "b")]
    app = StreamApp("third")
    events = await seen(stream_over(app, FakeCursor("a", "b")).events())
    assert [(event.value, event.key, event.message.offset) for event in events] == [("a", "key0", 0), ("b", "key1", 1)]


async def test_the_current_event_is_built_when_asked_and_once(app: StreamApp) -> None:
    stream = stream_over(app, FakeCursor({"n": 1}))
    value = await anext(stream.__aiter__())
    event = current_event()
    assert event is not None
    assert event is current_event() is faust.current_event() is stream.current_event is event()
    assert event.value is value
    assert event.idempotency_key == "sales-2-0"
    assert event.message.tp == faust.TP("sales", 2) if hasattr(faust, "TP") else event.message.tp == ("sales", 2)
    assert event.message.timestamp == 5.0


async def test_filter_leaves_out_values_and_their_records_are_done(app: StreamApp) -> None:
    cursor = FakeCursor(1, 2, 3, 4)

    async def odd(value: int) -> bool:
        return value % 2 == 1

    assert await seen(stream_over(app, cursor).filter(odd)) == [1, 3]
    assert cursor.done == [0, 1, 2, 3]


async def test_processors_change_values_in_order(app: StreamApp) -> None:
    stream = stream_over(app, FakeCursor(1, 2))
    stream.add_processor(lambda value: value + 1)
    stream.add_processor(lambda value: value * 10)
    assert await seen(stream) == [20, 30]


async def test_echo_sends_each_value_on(app: StreamApp) -> None:
    cursor = FakeCursor(1)
    stream = stream_over(app, cursor).echo("copy")
    await anext(stream.__aiter__())
    assert cursor.savepoint.outputs == [("copy", b"1", None, -1, 5000, [])]


async def test_take_gives_lists_and_a_filter_applies_to_each_value(app: StreamApp) -> None:
    stream = stream_over(app, FakeCursor(1, 2, 3, 4, 5)).filter(lambda value: value != 2)
    assert await seen(stream.take(3, within=1)) == [[1, 3], [4, 5]]


async def test_take_events_have_their_own_offsets(app: StreamApp) -> None:
    batches = await seen(stream_over(app, FakeCursor("a", "b", "c")).take_events(2, within=1))
    assert [[(event.value, event.message.offset) for event in batch] for batch in batches] == [[("a", 0), ("b", 1)], [("c", 2)]]


async def test_take_with_timestamp_puts_seconds_into_dicts(app: StreamApp) -> None:
    batches = await seen(stream_over(app, FakeCursor({}, 7)).take_with_timestamp(2, 1, "at"))
    assert batches == [[{"at": 5.0}, 7]]


async def test_take_without_within_cannot_wait_for_more_than_a_lane_holds(app: StreamApp) -> None:
    with pytest.raises(ImproperlyConfigured, match="STREAMAPP_STREAM_BUFFER_MAXSIZE"):
        stream_over(app, FakeCursor()).take(1_000_000)


async def test_event_ack_ends_the_record_early_and_only_once(app: StreamApp) -> None:
    cursor = FakeCursor(1)
    stream = stream_over(app, cursor)
    await anext(stream.__aiter__())
    event = current_event()
    assert event is not None
    assert event.ack() is True
    assert event.ack() is False
    assert cursor.done == [0]


async def test_async_with_event_acks_unless_the_body_raised(app: StreamApp) -> None:
    cursor = FakeCursor(1, 2)
    stream = stream_over(app, cursor)
    await stream.__anext__()
    event = current_event()
    assert event is not None
    with pytest.raises(ValueError, match="no"):
        async with event:
            raise ValueError("no")
    assert cursor.done == []
    async with event:
        pass
    assert cursor.done == [0]


@pytest.mark.parametrize(
    ("call", "idiom"),
    [
        (lambda stream: stream.join(), "table.get"),
        (lambda stream: stream.left_join(), "table.get"),
        (lambda stream: stream & stream, 'app.topic("a", "b")'),
        (lambda stream: stream.combine(stream), 'app.topic("a", "b")'),
        (lambda stream: stream.noack(), "take"),
    ],
)
async def test_what_does_not_work_is_refused_with_the_idiom_that_does(app: StreamApp, call: Any, idiom: Any) -> None:
    with pytest.raises(Unsupported) as refused:
        call(stream_over(app, FakeCursor()))
    assert idiom in str(refused.value)
