"""`GET /metrics`: for Prometheus."""

from __future__ import annotations

from faust import web

from streamapp.monitor.metrics import Exposition
from streamapp.worker.told import document_of, facts_of


class Metrics(web.View):
    """The worker's figures from memory: a scrape asks nobody else."""

    view_name = "streamapp:metrics"
    view_path = "/metrics"

    def __post_init__(self) -> None:
        self._exposition = Exposition()

    async def get(self, request: web.Request) -> web.Response:
        body = self._exposition.text(document_of(self.app), facts_of(self.app))
        return self.bytes(body, headers={"Content-Type": self._exposition.content_type})


__all__ = ["Metrics"]
