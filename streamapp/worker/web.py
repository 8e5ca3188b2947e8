"""Faust's web server on our settings: our page has `/`, Faust's index `/faust/`, and a token stands before both where one is set."""

from __future__ import annotations

from typing import Any

from faust.web.drivers import aiohttp

from streamapp.worker.gate import Gate
from streamapp.worker.letter_commands import Commands
from streamapp.worker.lifecycle import port_in_use
from streamapp.worker.refusals import refuse

OURS = "/"


class Web(aiohttp.Web):
    """The worker's pages and probes."""

    production_blueprints = (("/faust", "faust.web.apps.production_index:blueprint"),)
    debug_blueprints = (
        ("/graph", "faust.web.apps.graph:blueprint"),
        ("/faust", "faust.web.apps.stats:blueprint"),
    )

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.gate = Gate(app.settings.web)
        self.commands = Commands()
        # First, so that a user's own middlewares see no request that the token does not let in.
        self.web_app.middlewares.insert(0, self.gate.middleware())

    def add_view(self, view_cls: Any, *, prefix: str = "", cors_options: Any = None) -> Any:
        if prefix.rstrip("/") + "/" + view_cls.view_path.lstrip("/") == OURS and view_cls.view_name != "streamapp:page":
            refuse('@app.page("/")', "the operator's page has that path; give yours another")
        return super().add_view(view_cls, prefix=prefix, cors_options=cors_options)

    async def on_stop(self) -> None:
        await self.commands.stop()

    async def start_server(self) -> None:
        try:
            await super().start_server()
        except OSError as failure:
            raise port_in_use(self.app.conf.web_port, failure) from failure


__all__ = ["Web"]
