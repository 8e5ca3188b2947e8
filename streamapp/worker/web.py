"""Faust's web server on our settings: a port that cannot be had refuses the start by the setting's name."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp.web import BaseSite
from faust.web.drivers import aiohttp

from streamapp.worker.door import Door
from streamapp.worker.health import Health
from streamapp.worker.lifecycle import port_in_use
from streamapp.worker.probes import livez


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

    def _new_transport_tcp(self) -> BaseSite:
        conf = self.app.conf
        if conf.web_ssl_context is not None:
            return super()._new_transport_tcp()  # what is asked there cannot be seen at the door
        return Door(self._runner, conf.web_bind, conf.web_port, partial(livez, self.health))


__all__ = ["Web"]
