"""`GET /streamapp/status.json`: the status document. Told from memory, so also during a rebalance, a restore, and without a broker."""

from __future__ import annotations

from typing import Any, Final

from faust import web

from streamapp.monitor.status import STATUS_PATH
from streamapp.worker.gate import HEADERS
from streamapp.worker.peers import OWN

HISTORIES: Final = ("30m", "24h")


class StatusView(web.View):
    """`?history=30m` or `24h` adds each partition's samples, `?own=1` leaves the other workers' partitions out. 400: another history."""

    view_name = "streamapp:status"
    view_path = STATUS_PATH

    async def get(self, request: web.Request) -> web.Response:
        app: Any = self.app
        query: Any = request.query
        history = query.get("history")
        if history is not None and history not in HISTORIES:
            return self.json({"error": f"history={history[:20]}: 30m or 24h"}, status=400, headers=dict(HEADERS))
        told = await app.status_json(history=history, own_only=OWN in query)
        return self.bytes(told, content_type="application/json", headers=dict(HEADERS))


__all__ = ["StatusView"]
