"""One agent for each kind of model: what comes in goes into a table, and out again beside what the table held before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import faust
import msgspec
import pydantic

from streamapp import StreamApp, Table, Topic

APP_ID = os.environ["APP_ID"]
app = StreamApp(APP_ID)


class Struct(msgspec.Struct):
    name: str
    n: int = 0


class Record(faust.Record):
    name: str
    n: int = 0


class Model(pydantic.BaseModel):
    name: str
    n: int = 0


@dataclass
class Data:
    name: str
    n: int = 0


def keep(source: Topic, out: Topic, last: Table[str, Any]) -> None:
    async def keeper(stream: Any) -> None:
        async for value in stream:
            before = last.get("last")
            headers = {"type": type(value).__name__, "type-before": type(before).__name__}
            await out.send(key="now", value=value, headers=headers)
            if before is not None:
                await out.send(key="before", value=before)
            last["last"] = value

    app.agent(source, name=f"keeper_{last.name}")(keeper)


for kind in (Struct, Record, Model, Data, dict, bytes, str):
    name = kind.__name__
    keep(
        app.topic(f"{APP_ID}-{name}", value_type=kind, partitions=1),
        app.topic(f"{APP_ID}-{name}-out", value_type=kind, partitions=1),
        app.Table(name, value_type=kind),
    )
