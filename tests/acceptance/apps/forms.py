"""Agents in Faust's forms, each on topics of its own, so that one worker runs them all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import faust

from streamapp import Retry, StreamApp, Topic, current_event

APP_ID = os.environ["APP_ID"]
HERE = Path(__file__).parent
app = StreamApp(APP_ID)


def topic(name: str, **options: Any) -> Topic:
    return app.topic(f"{APP_ID}-{name}", **{"partitions": 1, **options})


def place(event: Any) -> dict[str, Any]:
    """Return all that an event says of its record."""
    message = event.message
    return {
        "key": event.key,
        "value": event.value,
        "headers": {name: content.decode() for name, content in event.headers.items()},
        "all headers": [[name, content.decode()] for name, content in message.headers],
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        "tp": list(message.tp),
        "raw": [message.key.decode(), message.value.decode()],
        "idempotency_key": event.idempotency_key,
    }


# --- iteration

events_out = topic("events-out")


@app.agent(topic("events", key_type=str))
async def by_events(stream: Any) -> None:
    async for event in stream.events():
        await events_out.send(value=place(event))


@app.agent(topic("items", key_type=str))
async def by_items(stream: Any) -> None:
    async for key, value in stream.items():
        await app.send(f"{APP_ID}-items-out", key=key, value=[key, value])


@app.agent(topic("current", key_type=str))
async def by_current_event(stream: Any) -> None:
    async for _ in stream:
        event = current_event()
        assert event is not None
        assert event is faust.current_event()
        assert event is stream.current_event
        await app.send(f"{APP_ID}-current-out", value=place(event))


for out in ("items-out", "current-out"):
    topic(out)

# --- values left out, and records sent on as they are

forwarded = topic("forwarded")


@app.agent(topic("moves"))
async def forwarding(stream: Any) -> None:
    async for _ in stream.filter(lambda value: value != "skip"):
        event = current_event()
        assert event is not None
        await event.forward(forwarded, key="new")


# --- yield to sinks

sink_of_agent = topic("sink-agent", partitions=1)
sink_agent_out = topic("sink-agent-out")
called = topic("called")


@app.agent(sink_of_agent)
async def taker(stream: Any) -> None:
    async for value in stream:
        await sink_agent_out.send(value=value + 1)


async def call(value: Any) -> None:
    await called.send(value=value)


@app.agent(topic("yields"), sink=[topic("sink-topic"), taker, call])
async def yielder(stream: Any) -> Any:
    async for value in stream:
        yield value * 10


# --- take

batches = topic("batches")
taken = app.Table("taken", default=int)


@app.agent(topic("take"), retry=Retry(attempts=1))
async def in_batches(stream: Any) -> None:
    async for values in stream.take(3, within=0.5):
        taken["count"] += len(values)
        last = current_event()
        assert last is not None
        await batches.send(value=[values, taken["count"], last.message.offset])
        if "bad" in values:
            raise ValueError("a bad value in the batch")


# --- concurrency

overlapped = topic("overlapped")


@app.agent(topic("overlap"), concurrency=3, retry=Retry(attempts=1))
async def overlapping(stream: Any) -> None:
    async for value in stream:
        (HERE / f"in-hand-{value}").touch()
        if value == "slow":
            while not (HERE / "go-on").exists():  # noqa: ASYNC110 - who makes it is another process
                await asyncio.sleep(0.01)
        if value == "bad":
            raise ValueError("one of many")
        await overlapped.send(value=value)


careless_table = app.Table("careless", default=int)


@app.agent(topic("careless"), concurrency=2)
async def careless(stream: Any) -> None:
    async for value in stream:
        careless_table["n"] += value


# --- two agents on one topic

both = topic("both")
both_out = topic("both-out")


@app.agent(both, name="calm")
async def calm(stream: Any) -> None:
    async for value in stream:
        with (HERE / "calm-saw").open("a") as seen:
            seen.write(f"{value}\n")
        await both_out.send(key="calm", value=value)


@app.agent(both, name="nervous", retry=Retry(attempts=3, unknown_attempts=3), dlq=f"{APP_ID}-nervous-dlq")
async def nervous(stream: Any) -> None:
    async for value in stream:
        with (HERE / "nervous-saw").open("a") as seen:
            seen.write(f"{value}\n")
        await both_out.send(key="nervous", value=value)
        if value == "bad":
            raise ValueError("too much")


# --- on to another topic

per_colour = app.Table("per_colour", default=int)
grouped_out = topic("grouped-out")


@app.agent(topic("paints"), name="grouping")
async def grouping(stream: Any) -> None:
    async for colour, paint in stream.group_by(lambda paint: paint["colour"], name="colour", partitions=2).items():
        per_colour[colour.decode()] += paint["litres"]
        await grouped_out.send(key=colour, value=per_colour[colour.decode()])


@app.agent(topic("before"), name="passing")
async def passing(stream: Any) -> None:
    async for value in stream.through(topic("between")):
        await app.send(f"{APP_ID}-after", value=[value, current_event().message.topic])  # type: ignore[union-attr]  # in an agent


topic("after")

# --- a record that raises

survived = topic("survived")


@app.agent(topic("raises"), name="falling", retry=Retry(attempts=2))
async def falling(stream: Any) -> None:
    seen = 0
    async for value in stream:
        seen += 1
        await survived.send(value=[value, seen])
        if value == "bad":
            try:
                raise KeyError("the cause")
            except KeyError as cause:
                raise ValueError("it raises") from cause
