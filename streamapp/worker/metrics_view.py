"""`GET /metrics`: for Prometheus."""

from __future__ import annotations

from typing import Any

from faust import web

from streamapp.monitor.metrics import Exposition
from streamapp.worker.told import document_of, facts_of


class Metrics(web.View):
    """The worker's figures from memory: a scrape asks nobody else."""

    view_name = "streamapp:metrics"
    view_path = "/metrics"

    def __post_init__(self) -> None:
        app: Any = self.app
        self._exposition = Exposition(app.settings.observe.lag_drain_target)

    async def get(self, request: web.Request) -> web.Response:
        body = self._exposition.text(document_of(self.app), facts_of(self.app))
        return self.bytes(body, headers={"Content-Type": self._exposition.content_type})


__all__ = ["Metrics"]
