"""A worker's web server with a status document to show: the real one, on a port of its own, without a broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
from aiohttp.web import AppRunner, TCPSite

from streamapp import StreamApp
from streamapp.monitor.status import StatusDocument
from tests.support import status_documents


class Shop(StreamApp):
    """An app whose status is what a test wants to see."""

    shown: StatusDocument
    asked: list[str | None]

    def status(self, history: str | None = None) -> StatusDocument:
        self.asked.append(history)
        return self.shown

    async def status_json(self, *, history: str | None = None, own_only: bool = False) -> bytes:
        return msgspec.json.encode(self.status(history))


def shop(shown: StatusDocument | None = None, **options: Any) -> Shop:
    """Return an app that reads neither the environment nor this project's settings."""
    app = Shop("shop", **options)
    app.shown = status_documents.document() if shown is None else shown
    app.asked = []
    return app


@asynccontextmanager
async def serving(app: Shop) -> AsyncIterator[str]:
    """Serve the app's pages, and give their URL."""
    web: Any = app.web
    web.init_server()
    runner = AppRunner(web.web_app, access_log=None)
    await runner.setup()
    site = TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await web.commands.stop()
        await runner.cleanup()


@contextmanager
def served(app: Shop) -> Iterator[str]:
    """As `serving`, on a thread, for a test that waits for a browser."""
    started, ended = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with serving(app) as url:
            found.append(url)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="page server")
    thread.start()
    try:
        assert started.wait(30)
        yield found[0]
    finally:
        ended.set()
        thread.join(30)


__all__ = ["Shop", "served", "serving", "shop"]
