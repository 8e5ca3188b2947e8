"""Faust's web server on our settings: a port that cannot be had refuses the start by the setting's name."""

from __future__ import annotations

from faust.web.drivers import aiohttp

from streamapp.worker.lifecycle import port_in_use


class Web(aiohttp.Web):
    """The worker's pages and probes."""

    async def start_server(self) -> None:
        try:
            await super().start_server()
        except OSError as failure:
            raise port_in_use(self.app.conf.web_port, failure) from failure


__all__ = ["Web"]
