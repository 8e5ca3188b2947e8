"""A worker's status document gives lag its history; who answers otherwise is named with what it said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from streamapp.errors import SettingInvalid
from streamapp.monitor.lag.inputs import Change
from streamapp.monitor.status import Mark, TableStatus
from streamapp.records import Partition
from streamapp.verify.told import ask, ask_one_of, told_by
from streamapp.verify.workers import WorkerSilent
from tests.support.lag_documents import document, told
from tests.support.lag_series import NOW, ramp, sample

ORDERS_3 = Partition("orders", 3)


class Server:
    """Answers everything with one document, and remembers what it was asked."""

    def __init__(self) -> None:
        self.code, self.body, self.asked, self.token = 200, b"", "", None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked, server.token = self.path, self.headers["Authorization"]
                self.send_response(server.code)
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def test_half_an_hour_is_asked_for_with_the_token_where_there_is_one(server: Server) -> None:
    whole = document(told(ORDERS_3, ramp(60, lambda t: 5)))
    server.body = msgspec.json.encode(whole)
    assert ask(f"{server.url}/", 5) == whole
    assert (server.asked, server.token) == ("/streamapp/status.json?history=30m", None)
    ask(server.url, 5, token="secret")
    assert server.token == "Bearer secret"


@pytest.mark.parametrize(
    ("code", "body", "said"),
    [
        (404, b"", "HTTP 404: is it a streamapp worker of this version?"),
        (401, json.dumps({"error": "no token"}).encode(), "HTTP 401: no token"),
        (200, b"<html>", "this is no answer of a streamapp worker"),
        (200, b"{}", "this is no answer of a streamapp worker"),
    ],
)
def test_another_answer_is_told(server: Server, code: int, body: bytes, said: str) -> None:
    server.code, server.body = code, body
    with pytest.raises(WorkerSilent, match=said.replace("?", r"\?")):
        ask(server.url, 5)


def test_nobody_and_no_url_are_told() -> None:
    with pytest.raises(WorkerSilent, match="no answer"):
        ask("http://127.0.0.1:1", 5)
    with pytest.raises(SettingInvalid, match="--from localhost:6066: must be the http"):
        ask("localhost:6066", 5)


def test_a_worker_of_another_app_is_not_taken_for_one_of_ours(server: Server) -> None:
    server.body = msgspec.json.encode(document(app_id="billing"))
    with pytest.raises(SettingInvalid, match="this is a worker of the app billing, not of order-processor"):
        ask_one_of("order-processor", server.url, 5)
    assert ask_one_of("billing", server.url, 5).app_id == "billing"


def test_history_and_marks_are_samples_and_events() -> None:
    series = ramp(60, lambda t: 5)
    mark = Mark(at=NOW - 20, change="deployed", worker="w-1", version="1.4.1")
    found = told_by([document(told(ORDERS_3, series, marks=[mark, Mark(at=NOW, change="eclipse")]))], "order-processor")[ORDERS_3]
    assert [(each.at, each.committed, each.oldest_unread) for each in found.samples] == [
        (each.at, each.committed, each.oldest_unread) for each in series
    ]
    assert [(each.change, each.version) for each in found.events] == [(Change.DEPLOYED, "1.4.1")]
    assert found.last_commit == pytest.approx(NOW - 0.1)


def test_a_trailing_marker_in_the_history_is_no_lag() -> None:
    read = sample(NOW, 99, 100, position=100, unmerged=0)
    (found,) = told_by([document(told(ORDERS_3, [read]))], "order-processor")[ORDERS_3].samples
    assert (found.position, found.unmerged) == (100, 0)


def test_of_two_that_tell_of_a_partition_the_one_with_the_longer_past_is_heard() -> None:
    short, long = document(told(ORDERS_3, ramp(20, lambda t: 5))), document(told(ORDERS_3, ramp(60, lambda t: 5)))
    for order in ([short, long], [long, short]):
        assert len(told_by(order, "order-processor")[ORDERS_3].samples) == 7


def test_a_partition_that_is_restored_tells_how_far_it_is() -> None:
    row = msgspec.structs.replace(told(ORDERS_3, [sample(NOW, 5, 9)]), state="restoring")
    tables = (
        TableStatus(table="totals", partition=3, state="restoring", keys=None, bytes=None, restored=30, remaining=70, rate=5.0, seconds_left=14.0),
        TableStatus(table="marks", partition=3, state="restoring", keys=None, bytes=None, restored=10, remaining=0, rate=0.0),
        TableStatus(table="totals", partition=4, state="restoring", keys=None, bytes=None, restored=1, remaining=1, rate=1.0),
    )  # fmt: skip
    whole = msgspec.structs.replace(document(row), tables=tables)
    restore = told_by([whole], "order-processor")[ORDERS_3].restore
    assert restore is not None
    assert (restore.restored, restore.remaining, restore.seconds_left, restore.moving) == (40, 70, 14.0, True)
    assert told_by([document(told(ORDERS_3, [sample(NOW, 5, 9)]))], "order-processor")[ORDERS_3].restore is None
