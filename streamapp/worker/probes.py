"""`GET /readyz` and `/livez`: what a supervisor asks a worker."""

from __future__ import annotations

from faust import web


class Readyz(web.View):
    """200 once partitions are assigned and their tables restored (a worker without partitions is ready), else 503."""

    view_name = "streamapp:readyz"
    view_path = "/readyz"

    async def get(self, request: web.Request) -> web.Response:
        status = self.app.readiness()  # type: ignore[attr-defined]  # the app is a StreamApp
        return self.json(status, status=200 if status["ready"] else 503)


class Livez(web.View):
    """200: the loop that answers is the one that works. Depends neither on the broker nor on a rebalance: a restart cures neither."""

    view_name = "streamapp:livez"
    view_path = "/livez"

    async def get(self, request: web.Request) -> web.Response:
        return self.json({"live": True})


__all__ = ["Livez", "Readyz"]
