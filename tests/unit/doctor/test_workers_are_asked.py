"""Live workers tell the doctor what only they know; one that is silent, foreign or of another version is named, and the others count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from streamapp.doctor.workers import addresses, ask
from streamapp.identity import WEB_FILE
from streamapp.monitor.status import STATUS_PATH, StatusDocument
from streamapp.settings import Settings, load
from tests.support.doctor_facts import APP, a_worker

PATIENCE = 10.0


def settings(**given: object) -> Settings:
    return load({"app_id": APP, **given}, {}, {})


def a_document(worker: str = "w-0", *, ahead: float = 0.0, pid: int = 7) -> StatusDocument:
    return msgspec.structs.replace(a_worker(worker, pid=pid).document, at=time.time() + ahead)


@contextmanager
def a_server(answer: Callable[[], bytes], *, token: str | None = None) -> Iterator[str]:
    """Serve what `answer` returns as a worker's status; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if token is not None and self.headers.get("Authorization") != f"Bearer {token}":
                self.send_error(401)
            elif self.path != STATUS_PATH:
                self.send_error(404)
            else:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer())

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:
        yield lambda answer, **options: stack.enter_context(a_server(answer, **options))


def test_each_process_is_heard_once_with_its_clock_against_ours(serve: Callable[..., str]) -> None:
    one = a_document("w-0")
    first, again = (serve(lambda: msgspec.json.encode(msgspec.structs.replace(one, at=time.time()))) for _ in range(2))
    late = serve(lambda: msgspec.json.encode(a_document("w-1", ahead=-100.0, pid=8)))
    heard, silent = ask([first, again, late], settings(), PATIENCE)
    assert [each.document.worker.worker for each in heard] == ["w-0", "w-1"]
    assert silent == {}
    assert abs(heard[1].clock - heard[0].clock + 100) < PATIENCE


def test_two_processes_of_one_name_are_both_heard(serve: Callable[..., str]) -> None:
    urls = [serve(lambda pid=pid: msgspec.json.encode(a_document("w-0", pid=pid))) for pid in (7, 9)]
    heard, _ = ask(urls, settings(), PATIENCE)
    assert [each.document.worker.pid for each in heard] == [7, 9]


def test_who_does_not_tell_is_named_with_the_reason(serve: Callable[..., str]) -> None:
    foreign = msgspec.structs.replace(a_document(), app_id="billing")
    newer = msgspec.structs.replace(a_document(), schema=99)
    urls = {
        "http://127.0.0.1:1": "Connection refused",
        serve(lambda: msgspec.json.encode(foreign)): "a worker of app billing answers there",
        serve(lambda: msgspec.json.encode(newer)): "schema 99",
        serve(lambda: b"<html>"): "no status of a streamapp worker",
        serve(lambda: b"", token="let-me-in"): "STREAMAPP_WEB_TOKEN",
    }
    heard, silent = ask(urls, settings(), PATIENCE)
    assert heard == []
    assert all(part in silent[url] for url, part in urls.items()), silent


def test_the_token_of_the_settings_opens_the_door(serve: Callable[..., str]) -> None:
    url = serve(lambda: msgspec.json.encode(a_document()), token="let-me-in")
    heard, silent = ask([url], settings(web_token="let-me-in"), PATIENCE)
    assert (len(heard), silent) == (1, {})


def test_workers_are_looked_for_where_the_settings_say_unless_the_command_does(tmp_path: Path) -> None:
    peers = ("http://a:1", "http://b:2/")
    assert addresses(settings(web_peers=peers, data_dir=tmp_path), ["http://c:3/"]) == ["http://c:3"]
    assert addresses(settings(web_peers=peers, data_dir=tmp_path), []) == ["http://a:1", "http://b:2", "http://127.0.0.1:6066"]
    assert addresses(settings(web_port=0, data_dir=tmp_path), []) == []
    (tmp_path / WEB_FILE).write_text("http://127.0.0.1:7000\n")
    assert addresses(settings(data_dir=tmp_path), []) == ["http://127.0.0.1:7000"]
