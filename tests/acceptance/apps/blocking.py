"""An agent that blocks the keys of records that it fails on, until MENDED is set."""

from __future__ import annotations

import os
from typing import Any

from streamapp import StreamApp

APP_ID = os.environ["APP_ID"]
app = StreamApp(APP_ID)
counts = app.Table("counts", default=int)
done = app.topic(f"{APP_ID}-done", partitions=2)


@app.agent(app.topic(f"{APP_ID}-in", partitions=2), name="careful", on_error="block_key")
async def careful(stream: Any) -> None:
    async for key, value in stream.items():
        if value == "poison" and not os.environ.get("MENDED"):
            raise ValueError("poison")
        counts[key] += 1
        await done.send(key=key, value=[value, counts[key]])
