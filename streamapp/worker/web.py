"""Faust's web server on our settings: our page has `/`, Faust's index `/faust/`, and a token stands before both where one is set."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.web import BaseSite
from faust.web.drivers import aiohttp

from streamapp.events import Event, log_event
from streamapp.pipeline.dead_letter import named
from streamapp.worker.door import Door
from streamapp.worker.gate import Gate
from streamapp.worker.health import Health
from streamapp.worker.letter_commands import Commands
from streamapp.worker.lifecycle import port_in_use
from streamapp.worker.probes import livez
from streamapp.worker.refusals import refuse

log = logging.getLogger(__name__)
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
        self.health = Health(app)
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
        self.health.start()
        try:
            await super().start_server()
        except OSError as failure:
            raise port_in_use(self.app.conf.web_port, failure) from failure

    async def stop_server(self) -> None:
        await super().stop_server()
        self.health.stop()

    def _wrap_into_asyncdef(self, handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        async def dispatch(request: Any) -> Any:
            try:
                return await handler(request)
            except web.HTTPException:
                raise
            except Exception as failure:  # a page's code, ours or the user's: its request fails, and no other
                where = request.match_info.route.resource.canonical  # the pattern: what stands in its place may be a key
                log_event(
                    log, logging.ERROR, Event.WEB_FAILED, f"{request.method} {where} failed: {named(failure)}",
                    exc_info=failure, page=where, error_type=type(failure).__name__,
                )  # fmt: skip
                return self.json({"error": "failed; the log says where"}, status=500)

        return dispatch

    def _new_transport_tcp(self) -> BaseSite:
        conf = self.app.conf
        if conf.web_ssl_context is not None:
            return super()._new_transport_tcp()  # what is asked there cannot be seen at the door
        return Door(self._runner, conf.web_bind, conf.web_port, partial(livez, self.health))


__all__ = ["Web"]
