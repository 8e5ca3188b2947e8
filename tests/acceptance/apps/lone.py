"""One topic of one partition, or of PARTITIONS, and an agent that counts its records: more workers than that have nothing to do."""

from __future__ import annotations

import os
from typing import Any

from streamapp import StreamApp

APP_ID = os.environ["APP_ID"]
app = StreamApp(APP_ID)
clicks = app.topic(f"{APP_ID}-clicks", partitions=int(os.environ.get("PARTITIONS", "1")))
seen = app.Table("seen", default=int)


@app.agent(clicks)
async def count(stream: Any) -> None:
    async for _ in stream:
        seen["all"] += 1
