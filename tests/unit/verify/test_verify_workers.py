"""A worker that answers otherwise than a worker does is said to, whatever it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streamapp.errors import SettingInvalid
from streamapp.verify.workers import HeldPartition, LiveTable, LiveWorker, WorkerSilent


class Server:
    """Answers each path as the test says."""

    def __init__(self) -> None:
        answers: dict[str, tuple[int, bytes]] = {}
        shown: list[str | None] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown.append(self.headers["Authorization"])
                code, body = answers.get(self.path, (404, b"not here"))
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self.answers = answers
        self.shown = shown
        """What each request presented."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, path: str, document: object, code: int = 200) -> None:
        self.answers[f"/streamapp/tables{path}"] = (code, json.dumps(document).encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


HELD = HeldPartition("totals", 3)


@pytest.mark.parametrize(("token", "presented"), [(None, None), ("s3cret", "Bearer s3cret")])
def test_a_worker_is_shown_the_apps_token(server: Server, token: str | None, presented: str | None) -> None:
    server.answer("", {"app_id": "shop", "pid": 7, "tables": []})
    LiveWorker(server.url, 5, token).held()
    assert server.shown == [presented]


def test_what_a_worker_has_is_read_in_order(server: Server) -> None:
    server.answer("", {"app_id": "shop", "pid": 7, "tables": [{"table": "totals", "partition": at} for at in (3, 1)]})
    worker = LiveWorker(f"{server.url}/", 5)
    assert worker.held() == [HeldPartition("totals", 1), HELD]
    assert (worker.app_id, worker.pid) == ("shop", 7)


def test_a_digest_is_read_and_one_that_went_away_is_none(server: Server) -> None:
    server.answer("/totals/3", {"offset": 9, "keys": 2, "digest": "ab"})
    server.answer("/totals/4", {"error": "closed"}, code=409)
    worker = LiveWorker(server.url, 5)
    assert worker.digest("totals", 3) == LiveTable(9, 2, "ab")
    assert worker.digest("totals", 4) is None
    assert worker.digest("totals", 5) is None


@pytest.mark.parametrize(
    "document",
    [[], {}, {"app_id": "shop"}, {"app_id": "shop", "pid": "x", "tables": []}, {"app_id": "s", "pid": 1, "tables": [3]}, 3],
)
def test_another_kind_of_answer_is_told(server: Server, document: object) -> None:
    server.answer("", document)
    with pytest.raises(WorkerSilent, match="no answer of a streamapp worker"):
        LiveWorker(server.url, 5).held()


def test_text_that_is_no_json_is_told(server: Server) -> None:
    server.answers["/streamapp/tables"] = (200, b"<html>")
    with pytest.raises(WorkerSilent, match="no answer of a streamapp worker"):
        LiveWorker(server.url, 5).held()


def test_a_server_that_is_no_worker_and_one_that_is_busy_are_told_apart(server: Server) -> None:
    with pytest.raises(WorkerSilent, match="404: is it a streamapp worker of this version"):
        LiveWorker(server.url, 5).held()
    server.answer("/totals/3", {"error": "digests are being computed for others; ask again"}, code=503)
    with pytest.raises(WorkerSilent, match="503: digests are being computed"):
        LiveWorker(server.url, 5).digest("totals", 3)


def test_nobody_there_is_told_with_the_url() -> None:
    with pytest.raises(WorkerSilent, match=r"http://127\.0\.0\.1:1: no answer"):
        LiveWorker("http://127.0.0.1:1", 2).held()


@pytest.mark.parametrize("url", ["localhost:6066", "ftp://host", "http://", "http://a b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SettingInvalid, match="--worker"):
        LiveWorker(url, 5)
