"""`streamapp top` beside workers that are web servers of the test: whom it asks, what it says of those that do not answer, how it ends."""

from __future__ import annotations

import importlib
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from streamapp.cli import main
from streamapp.monitor.top import Heard
from streamapp.settings import load
from tests.support.documents import ROOT
from tests.support.top_world import document, restoring
from tests.support.topics import Countdown

TOKEN: Final = "s3cret"
top_command: Final = importlib.import_module("streamapp.cli.top")
"""By its name: in its package, `top` is the command."""


class Worker(BaseHTTPRequestHandler):
    body = b""
    status = 200
    asked: Final[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def worker(body: Any, status: int = 200) -> Iterator[str]:
    """Serve one answer; give the URL."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    Worker.asked.clear()
    with HTTPServer(("127.0.0.1", 0), type("One", (Worker,), {"body": raw, "status": status})) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture
def nobody() -> str:
    """The URL of a port on which nobody listens."""
    with HTTPServer(("127.0.0.1", 0), Worker) as server:
        return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An app whose settings a test may change."""
    found = SimpleNamespace()

    def given(**code: object) -> None:
        found.settings = load({"app_id": "order-processor", **code}, {}, {})
        found.conf = SimpleNamespace(web_bind=found.settings.web.web_bind, web_port=found.settings.web.web_port)

    found.given = given
    given()
    monkeypatch.setattr(top_command, "find_app", lambda context, name: found)
    return found


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["top", *arguments], env={"COLUMNS": "140", "NO_COLOR": "1"})


def test_it_shows_the_workers_that_it_is_pointed_at(app: SimpleNamespace) -> None:
    with worker(document()) as one, worker(restoring()) as other:
        result = typed("--once", "--from", one, "--from", f"{other}/")
    assert result.exit_code == 0, result.output
    assert "↗ FALLING_BEHIND  order-processor w-0" in result.output
    assert "orders/5" in result.output
    assert {path for path, _ in Worker.asked} == {"/streamapp/status.json?history=30m"}


def test_by_default_it_asks_this_machines_worker_and_the_peers(app: SimpleNamespace, nobody: str) -> None:
    with worker(document()) as one:
        app.given(web_port=int(one.rpartition(":")[2]), web_bind="0.0.0.0", web_peers=(nobody, one))
        result = typed("--once")
    assert result.exit_code == 0, result.output
    assert len(Worker.asked) == 1, "it is its own peer, and is asked once"
    assert f"not answering: {nobody}: " in result.output


def test_where_its_output_is_no_terminal_it_looks_once(app: SimpleNamespace) -> None:
    with worker(document()) as one:
        assert "orders/3" in typed("--from", one).output


def test_a_token_is_shown_to_the_workers_and_to_nobody_else(app: SimpleNamespace) -> None:
    app.given(web_token=TOKEN)
    with worker(document()) as one:
        result = typed("--once", "--from", one)
    assert [shown for _, shown in Worker.asked] == [f"Bearer {TOKEN}"]
    assert TOKEN not in result.output


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 401, "HTTP 401: it wants STREAMAPP_WEB_TOKEN"),
        (b"", 404, "HTTP 404: is it a streamapp worker of this version?"),
        (b"<html>", 200, "this is no answer of a streamapp worker"),
        (b'{"schema": 1}', 200, "this is no answer of a streamapp worker"),
        (msgspec.structs.replace(document(), schema=2), 200, "its document has schema 2, this command reads 1"),
    ],
)
def test_what_is_no_workers_document_is_said_and_not_shown(app: SimpleNamespace, body: Any, status: int, told: str) -> None:
    with worker(document()) as one, worker(body, status) as other:
        result = typed("--once", "--from", one, "--from", other)
    assert result.exit_code == 0
    assert f"not answering: {other}: {told}" in result.output


def test_where_no_worker_answers_it_ends_with_3_and_one_line(app: SimpleNamespace, nobody: str) -> None:
    result = typed("--once", "--from", nobody)
    assert result.exit_code == 3
    assert result.output.startswith(f"streamapp: no worker answers: {nobody} (")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--from", "w-0:6066"), "--from w-0:6066: must be the http"),
        ((), "name a worker with --from URL"),
        (("--every", "0"), "--every"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(app: SimpleNamespace, arguments: tuple[str, ...], told: str) -> None:
    app.given(web_port=0)
    result = typed("--once", *arguments)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("no_color", [True, False])
def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    said = StringIO()
    console = Console(file=said, force_terminal=True, width=140)
    console.print(top_command._frame(console, [Heard("http://w-0:6066", document())], 50))
    assert ("\x1b[33m" in said.getvalue()) is not no_color
    assert "↗ FALLING_BEHIND" in said.getvalue()


def test_ctrl_c_leaves_with_0_and_gives_the_terminal_back(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    with worker(document()) as one:
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "140", "LINES": "40", "STREAMAPP_APP_ID": "any"}
        # A process that is told to ignore Ctrl-C hands that down: a shell does so with what it runs in the background.
        heard = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
        typed = [str(Path(sys.executable).with_name("streamapp")), "top", "--from", one, "--every", "0.5"]
        command = [sys.executable, "-c", heard, *typed]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        try:
            seen = _read_until(leader, "FALLING_BEHIND", Countdown(60))
            process.send_signal(signal.SIGINT)
            seen += _read_until(leader, None, Countdown(60))
            assert process.wait(30) == 0, seen
        finally:
            process.kill()
            process.wait(10)
            os.close(leader)
    assert seen.index("\x1b[?1049h") < seen.index("FALLING_BEHIND") < seen.index("\x1b[?1049l")
    assert "Traceback" not in seen


def _read_until(leader: int, wanted: str | None, countdown: Countdown) -> str:
    """Return what is written until `wanted` is in it; None: until the end."""
    raw = b""
    while not countdown.over:
        if not select.select([leader], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(leader, 65_536)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        raw += part
        text = raw.decode(errors="replace")
        if not part or (wanted is not None and wanted in text):
            return text
    raise AssertionError(f"no {wanted or 'end'} in {raw.decode(errors='replace')}")
