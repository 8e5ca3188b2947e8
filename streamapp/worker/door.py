"""The web server's port, kept by a thread: it answers `/livez` itself, and hands every other connection to the loop.

A blocked loop cannot say that it is blocked. Faust could run the whole server in a thread (`web_in_thread`), but then every page, also the
user's own, would read tables and engine beside the loop that writes them, and neither has locks for that. So one request leaves the loop,
which reads one frozen value of the loop's last turn, and all others stay where they were: their sockets reach aiohttp unread.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from aiohttp.web import BaseRunner, BaseSite

from streamapp.worker.probes import LIVEZ

BACKLOG: Final = 128
SPEAKS_WITHIN: Final = 2.0
"""Seconds that a new connection may be silent at the door before the loop has it, whose server knows what to do with silence."""
ASKS: Final = tuple(f"GET {LIVEZ}{end}".encode() for end in (" ", "?"))
REQUEST_BYTES: Final = 8192
"""Bytes of the largest request that a probe sends."""
WAITS_AFTER_REFUSAL: Final = 0.1
"""Seconds: no more files may be opened; a connection that waits would be reported at once again."""


class Door(BaseSite):
    """Listens on host and port. `livez` returns status and body; it is called on the door's thread."""

    __slots__ = ("_host", "_livez", "_loop", "_port", "_sockets", "_stopping", "_taken", "_thread", "_wake")

    def __init__(self, runner: BaseRunner, host: str | None, port: int, livez: Callable[[], tuple[int, dict[str, Any]]]) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._livez = livez
        self._sockets: list[socket.socket] = []
        self._stopping = False
        self._taken: set[asyncio.Task[Any]] = set()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        return f"http://{self._host or '0.0.0.0'}:{self._port}"  # noqa: S104 - a name, and nothing that listens

    async def start(self) -> None:
        """Listen. Raises OSError: the port cannot be had."""
        await super().start()
        self._loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None
        # Which sockets a host name means is asyncio's to say; it binds them, and lets us listen.
        bound = await self._loop.create_server(server, self._host, self._port, start_serving=False)
        try:
            self._sockets = [socket.socket(fileno=os.dup(each.fileno())) for each in bound.sockets]
        finally:
            bound.close()
        try:
            for each in self._sockets:
                each.listen(BACKLOG)
                each.setblocking(False)
        except OSError:
            for each in self._sockets:
                each.close()
            raise
        self._wake, told = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, args=(told,), name="web", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Listen no more; connections that the loop has stay with it."""
        await super().stop()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping = True
        self._wake.close()
        await self._loop.run_in_executor(None, thread.join)

    # --- on the door's thread

    def _serve(self, told: socket.socket) -> None:
        waiting: dict[socket.socket, float] = {}
        heard: dict[socket.socket, bytes] = {}
        """Those who ask whether the worker lives, and have not asked to the end."""
        with selectors.DefaultSelector() as selector:
            for each in (told, *self._sockets):
                selector.register(each, selectors.EVENT_READ)
            try:
                while not self._stopping:
                    first = min(waiting.values(), default=None)
                    for key, _ in selector.select(None if first is None else max(0.0, first - time.monotonic())):
                        caller = key.fileobj
                        assert isinstance(caller, socket.socket)
                        if caller in self._sockets:
                            self._let_in(caller, selector, waiting)
                        elif caller is not told and (caller in heard or self._asks_for_life(caller)):
                            self._answer(caller, selector, waiting, heard)
                        elif caller is not told:
                            self._pass_on(caller, selector, waiting)
                    for caller in [each for each, until in waiting.items() if until <= time.monotonic()]:
                        if caller in heard:
                            self._forget(caller, selector, waiting)
                            heard.pop(caller)
                            caller.close()
                        else:
                            self._pass_on(caller, selector, waiting)
            finally:
                for each in (told, *self._sockets, *waiting):
                    each.close()

    @staticmethod
    def _let_in(door: socket.socket, selector: selectors.BaseSelector, waiting: dict[socket.socket, float]) -> None:
        try:
            caller, _ = door.accept()
        except BlockingIOError:
            return
        except OSError:  # gone again, or no more files may be opened
            time.sleep(WAITS_AFTER_REFUSAL)
            return
        caller.setblocking(False)
        waiting[caller] = time.monotonic() + SPEAKS_WITHIN
        selector.register(caller, selectors.EVENT_READ)

    @staticmethod
    def _asks_for_life(caller: socket.socket) -> bool:
        """Return whether the connection's first bytes are a probe's; they stay in the socket."""
        try:
            return caller.recv(len(ASKS[0]), socket.MSG_PEEK).startswith(ASKS)
        except OSError:
            return False

    def _answer(
        self,
        caller: socket.socket,
        selector: selectors.BaseSelector,
        waiting: dict[socket.socket, float],
        heard: dict[socket.socket, bytes],
    ) -> None:
        """Answer once the request is whole: closed with a part of it unread, the connection would be reset under the answer."""
        try:
            more = caller.recv(REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        request = heard[caller] = heard.get(caller, b"") + more
        if more and b"\r\n\r\n" not in request and len(request) < REQUEST_BYTES:
            return
        self._forget(caller, selector, waiting)
        del heard[caller]
        with suppress(OSError), caller:
            if more:
                caller.sendall(_response(*self._livez()))
                caller.shutdown(socket.SHUT_WR)

    def _pass_on(self, caller: socket.socket, selector: selectors.BaseSelector, waiting: dict[socket.socket, float]) -> None:
        self._forget(caller, selector, waiting)
        try:
            self._loop.call_soon_threadsafe(self._take, caller)
        except RuntimeError:  # the loop is closed
            caller.close()

    @staticmethod
    def _forget(caller: socket.socket, selector: selectors.BaseSelector, waiting: dict[socket.socket, float]) -> None:
        selector.unregister(caller)
        del waiting[caller]

    # --- on the loop

    def _take(self, caller: socket.socket) -> None:
        server = self._runner.server
        if server is None:
            caller.close()
            return
        taken = self._loop.create_task(self._connect(server, caller), name="web connection")
        self._taken.add(taken)
        taken.add_done_callback(self._taken.discard)

    async def _connect(self, server: Callable[[], asyncio.BaseProtocol], caller: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(server, caller)
        except OSError:  # it hung up meanwhile
            caller.close()


def _response(status: int, body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + text


__all__ = ["Door"]
