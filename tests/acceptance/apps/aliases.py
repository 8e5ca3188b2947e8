"""An app that calls its settings by Faust's names, and is its own command."""

from __future__ import annotations

import os
from typing import Any

from streamapp import StreamApp

APP_ID = os.environ["APP_ID"]
app = StreamApp(APP_ID, broker_commit_interval=2.0, consumer_auto_offset_reset="latest")
out = app.topic(f"{APP_ID}-out", partitions=1)


@app.agent(app.topic(f"{APP_ID}-in", partitions=1))
async def copy(stream: Any) -> None:
    async for value in stream:
        await out.send(value=value)


if __name__ == "__main__":
    app.main()
