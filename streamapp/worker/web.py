"""Faust's web server on our settings: a port that cannot be had refuses the start by the setting's name."""

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
from streamapp.worker.health import Health
from streamapp.worker.lifecycle import port_in_use
from streamapp.worker.probes import livez

log = logging.getLogger(__name__)


class Web(aiohttp.Web):
    """The worker's pages and probes."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.health = Health(app)

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
