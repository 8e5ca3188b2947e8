"""What an app does beside its agents: timers, crontabs, tasks, commands, pages, sensors and signals."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, cast

import faust
from faust import web
from faust.cli import argument
from mode import Service, ServiceT

from streamapp import StreamApp, Topic

APP_ID = os.environ["APP_ID"]
HERE = Path(__file__).parent
app = StreamApp(APP_ID)


def topic(name: str) -> Topic:
    return app.topic(f"{APP_ID}-{name}", partitions=1)


incoming = topic("incoming")
ticks, twins, crontabs, tasks, failing = (topic(name) for name in ("ticks", "twins", "crontabs", "tasks", "failing"))
counts = app.Table("counts", default=int)


@app.agent(incoming)
async def count(stream: Any) -> None:
    async for value in stream:
        counts["incoming"] += 1
        await app.send(f"{APP_ID}-counted", value=[value, counts["incoming"]])


topic("counted")


# --- what no record causes


@app.timer(interval=0.2)
async def tick() -> None:
    counts["ticks"] += 1
    await ticks.send(value=counts["ticks"])
    await twins.send(value=counts["ticks"])


@app.timer(interval=0.2)
async def fails_twice() -> None:
    marks = HERE / "failed"
    with marks.open("a") as written:
        written.write("x")
    run = len(marks.read_text())
    counts["failing"] = run
    await failing.send(value=run)
    if run <= 2:
        raise ValueError("this run is lost")


@app.timer(interval=0.2, on_leader=True)
async def lead() -> None:
    await app.send(f"{APP_ID}-led", value=app.is_leader())


@app.timer(interval=0.2)
async def send_to_agent() -> None:
    if not (HERE / "sent-to-agent").exists():
        (HERE / "sent-to-agent").touch()
        await count.send(value="from a timer")


@app.crontab("* * * * * */1")
async def each_second(given: StreamApp) -> None:
    await crontabs.send(value=given.conf.id)


@app.task
async def at_start(given: StreamApp) -> None:
    await tasks.send(key="task", value=given.conf.id)
    await count.send(value="from a task")
    counts["of task"] = 5


topic("led")

# --- commands and pages


@app.command(argument("name"))
async def place(self: Any, name: str) -> None:
    """Send one record."""
    await incoming.send(value=f"command {name}")
    await count.send(value=f"command {name} to the agent")
    self.say("placed")


@app.command()
async def peek(self: Any) -> None:
    """Read a table where there is none."""
    self.say(str(counts["ticks"]))


@app.page("/counts/")
async def show(view: Any, request: web.Request) -> Any:
    return view.json({"ticks": counts["ticks"], "failing": counts["failing"], "of task": counts["of task"]})


# --- what looks on


class Sensed(faust.Sensor):
    rebalances = 0

    def on_rebalance_end(self, app: Any, state: dict[str, Any]) -> None:
        super().on_rebalance_end(app, state)
        Sensed.rebalances += 1


app.sensors.add(Sensed())


def note(what: str, partitions: Any = ()) -> None:
    with (HERE / "signals").open("a") as written:
        written.write(
            " ".join([what, *sorted(f"{tp.topic.removeprefix(APP_ID + '-')}/{tp.partition}" for tp in partitions)]) + "\n"
        )


async def assigned(given: Any, *partitions: Any, **_: Any) -> None:
    note("assigned", *partitions)
    raise ValueError("a handler that raises")


async def complete(given: Any, *_: Any, **__: Any) -> None:
    engine = given.engine
    note("complete" if engine is not None and engine.restored() == engine.assignment() else "complete too early")


async def revoked(given: Any, *partitions: Any, **_: Any) -> None:
    note("revoked", *partitions)


async def shutdown(given: Any, *_: Any, **__: Any) -> None:
    note("shutdown")


# As decorators they work as well, but the types of `connect` refuse them.
handlers: dict[Any, Any] = {
    app.on_partitions_assigned: assigned,
    app.on_rebalance_complete: complete,
    app.on_partitions_revoked: revoked,
    app.on_before_shutdown: shutdown,
}
for signal, handler in handlers.items():
    signal.connect(handler)


@app.service
class Extra(Service):
    async def on_start(self) -> None:
        note("service")


@app.page("/inside/")
async def inside(view: Any, request: web.Request) -> Any:
    """Show what runs in this process: the started services, the app's parts, and which of the modules in question are loaded."""
    services: list[Any] = [node.data for node in cast("Any", app.beacon.root).traverse() if isinstance(node.data, ServiceT)]
    services += [child for each in services for child in getattr(each, "_children", ())]
    return view.json(
        {
            "services": sorted({class_of(each) for each in services if each.started}),
            "parts": {name: class_of(getattr(app, name)) for name in PARTS},
            "loaded": [name for name in ("faust.transport.drivers.aiokafka", "faust.stores.rocksdb") if name in sys.modules],
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "sensed": [Sensed.rebalances, app.monitor.rebalances, len(app.monitor.rebalance_end_latency), app.rebalancing],
        }
    )


def class_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


PARTS = (
    "agents", "consumer", "producer", "topics", "tables", "assignor", "_leader_assignor", "transport", "producer_transport",
    "router", "_fetcher", "_reply_consumer", "engine_service",
)  # fmt: skip
