"""`GET /streamapp/dead-letters`: the unresolved dead letters of the partitions that this worker owns. It tells neither keys nor values."""

from __future__ import annotations

import os
from typing import Any, Final

from faust import web

from streamapp.pipeline.dead_letter import rfc3339
from streamapp.pipeline.resolution import status_topic

DEAD_LETTERS_PATH: Final = "/streamapp/dead-letters"


class DeadLetterPage(web.View):
    """One row per partition; a partition that no agent reads is nobody's, and in no worker's answer."""

    view_name = "streamapp:dead-letters"
    view_path = DEAD_LETTERS_PATH

    async def get(self, request: web.Request) -> web.Response:
        app: Any = self.app
        app_id = app.settings.identity.app_id
        rows = [
            {
                "topic": each.partition.topic,
                "partition": each.partition.number,
                "unresolved": each.count,
                "lower_bound": each.is_lower_bound,
                "oldest": None if each.oldest is None else rfc3339(each.oldest),
                "read": each.is_read,
            }
            for each in app.unresolved()
        ]
        return self.json({"app_id": app_id, "pid": os.getpid(), "status_topic": status_topic(app_id), "partitions": rows})


__all__ = ["DEAD_LETTERS_PATH", "DeadLetterPage"]
