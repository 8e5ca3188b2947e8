"""`GET /`: the operator's page; `GET /streamapp/status.json`: what it shows, for scripts, commands and the other workers."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import msgspec
from faust import web

from streamapp.monitor.page.document import render
from streamapp.monitor.page.shown import RANGES, Shown
from streamapp.monitor.status import STATUS_PATH
from streamapp.worker.gate import page_headers

HISTORIES: Final = ("30m", "24h")


class Page(web.View):
    """Nine panels of the status document: nothing is asked of the broker, and nothing of a record's content is shown."""

    view_name = "streamapp:page"
    view_path = "/"
    poll: float = 5.0
    """Seconds between two looks of the page's script."""

    async def get(self, request: web.Request) -> web.Response:
        app: Any = self.app
        gate, commands = cast("Any", self.web).gate, cast("Any", self.web).commands
        query = request.query
        wanted = query.get("range", "30m")
        shown = Shown(
            only_lag=query.get("only") == "lag",
            chart=query.get("chart"),
            range=wanted if wanted in RANGES else "30m",
            may_write=gate.is_writable and commands.prefix is not None,
            has_login=gate.has_login(request),
            shows_values=app.settings.web.web_show_values,
            poll=self.poll,
        )
        document = app.status(history="30m")
        long = None if shown.range == "30m" else app.status(history="24h")
        # Tens of milliseconds of a wide page are the loop's that calls the agents.
        text = await asyncio.get_running_loop().run_in_executor(None, render, document, shown, long)
        return self.html(text, headers=page_headers())


class StatusJson(web.View):
    """The status document; 400 for a history that is not kept."""

    view_name = "streamapp:status"
    view_path = STATUS_PATH

    async def get(self, request: web.Request) -> web.Response:
        app: Any = self.app
        history = request.query.get("history")
        if history is not None and history not in HISTORIES:
            return self.json({"error": f"history={history}: must be one of {', '.join(HISTORIES)}"}, status=400)
        return self.bytes(msgspec.json.encode(app.status(history=history)), content_type="application/json")


__all__ = ["HISTORIES", "Page", "StatusJson"]
