"""The web server's port: `/livez` is answered while the loop is blocked, everything else by the loop, as it was sent."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from streamapp.worker.door import Door
from tests.support.workers import free_port

Answer = tuple[int, bytes]


@asynccontextmanager
async def door(livez: Callable[[], tuple[int, dict[str, Any]]] = lambda: (200, {"live": True})) -> AsyncIterator[int]:
    """Serve an app behind a door; return the port."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(
            text=f"{request.method} {request.path_qs} {await request.text()} on {threading.current_thread().name}"
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await Door(runner, "127.0.0.1", port, livez).start()
    try:
        yield port
    finally:
        await runner.cleanup()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def beside(call: Callable[..., Answer], *arguments: Any) -> Answer:
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


async def test_livez_is_answered_while_the_loop_is_blocked() -> None:
    async with door(lambda: (503, {"live": False, "failing": "loop"})) as port:
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(ask(port, "/livez")))
        asking.start()
        asking.join(20)  # on the loop, which turns no more until the answer is there
    assert [(status, json.loads(body)) for status, body in answers] == [(503, {"live": False, "failing": "loop"})]


async def test_every_other_request_reaches_the_loop_as_it_was_sent() -> None:
    async with door() as port:
        assert await beside(ask, port, "/livezoo?x=1") == (200, b"GET /livezoo?x=1  on MainThread")
        assert await beside(ask, port, "/", "POST", b"body") == (200, b"POST / body on MainThread")
        assert await beside(ask, port, "/livez", "POST", b"") == (200, b"POST /livez  on MainThread")
        assert json.loads((await beside(ask, port, "/livez?verbose"))[1]) == {"live": True}


async def test_a_connection_that_the_loop_has_stays_with_it() -> None:
    async with door() as port:

        def twice() -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                for path in ("/first", "/second"):
                    connection.request("GET", path)
                    last = connection.getresponse()
                    answer = last.status, last.read()
                return answer
            finally:
                connection.close()

        assert await beside(twice) == (200, b"GET /second  on MainThread")


async def test_a_request_that_comes_in_pieces_is_answered_whole() -> None:
    async with door() as port:

        def in_pieces(first: bytes, *more: bytes) -> Answer:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in (first, *more):
                    caller.sendall(piece)
                answer = http.client.HTTPResponse(caller)
                answer.begin()
                return answer.status, answer.read()

        assert json.loads((await beside(in_pieces, b"GET /livez HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"))[1]) == {"live": True}
        assert (await beside(in_pieces, b"GE", b"T /other HTTP/1.1\r\nHost: x\r\n\r\n"))[1] == b"GET /other  on MainThread"


async def test_half_a_request_is_not_answered() -> None:
    """Closed with a part unread, the connection would be reset under the answer."""
    async with door() as port:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(b"GET /livez HTTP/1.1\r\n")
            assert (await beside(ask, port, "/livez"))[0] == 200  # whoever came later was answered
            caller.setblocking(False)
            with pytest.raises(BlockingIOError):
                caller.recv(1)


async def test_silent_callers_and_those_that_hang_up_keep_nobody_out() -> None:
    async with door() as port:
        with socket.create_connection(("127.0.0.1", port)):
            socket.create_connection(("127.0.0.1", port)).close()
            assert (await beside(ask, port, "/livez"))[0] == 200
            assert (await beside(ask, port, "/page"))[0] == 200


async def test_a_port_that_is_taken_cannot_be_had() -> None:
    async with door() as port:
        runner = web.AppRunner(web.Application(), access_log=None)
        await runner.setup()
        with pytest.raises(OSError, match="in use"):
            await Door(runner, "127.0.0.1", port, lambda: (200, {})).start()
        await runner.cleanup()
        assert (await beside(ask, port, "/livez"))[0] == 200
