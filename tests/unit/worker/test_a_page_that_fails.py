"""A page whose code raises answers 500 and is logged by its pattern and the place of the error, without what was asked for."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aiohttp import ClientSession, web
from faust.web import View

from streamapp import StreamApp
from tests.support.workers import free_port


class Failing(View):
    view_name = "failing"
    view_path = "/rows/{key}"

    async def get(self, request: Any, key: str) -> Any:
        raise ValueError(f"no row {key}")


async def test_it_is_logged_and_no_other_page_suffers(app: StreamApp, caplog: pytest.LogCaptureFixture) -> None:
    server: Any = app.web
    server.init_server()
    server.add_view(Failing)
    runner = web.AppRunner(server.web_app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    with caplog.at_level(logging.ERROR):
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/rows/jane") as failed:
                assert (failed.status, await failed.json()) == (500, {"error": "failed; the log says where"})
            async with session.get("/livez") as well:
                assert well.status == 200
            async with session.get("/rows") as missing:
                assert missing.status == 404
    await runner.cleanup()
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "web_failed"]
    assert record.getMessage().startswith("GET /rows/{key} failed: ValueError at test_a_page_that_fails.py:")
    assert record.__dict__["fields"] == {"page": "/rows/{key}", "error_type": "ValueError"}
