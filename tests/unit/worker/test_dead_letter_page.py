"""`GET /streamapp/dead-letters` tells the unresolved dead letters of what this worker owns, whether or not it runs yet."""

from __future__ import annotations

from typing import Any, cast

from streamapp import StreamApp
from streamapp.pipeline.dead_letter_counts import Unresolved
from streamapp.records import Partition
from streamapp.worker.dead_letter_page import DeadLetterPage


class Engine:
    """What the shell asks of a running engine."""

    def unresolved(self) -> list[Unresolved]:
        dlq = Partition("orders-dlq", 0)
        return [
            Unresolved(partition=dlq, count=3, is_lower_bound=True, oldest=1_764_237_600.0, is_read=True),
            Unresolved(partition=dlq._replace(number=4), count=0, is_lower_bound=False, oldest=None, is_read=False),
        ]


class Answers:
    """Stands where Faust's web server makes answers."""

    def json(self, value: object, *, status: int = 200, **options: object) -> tuple[int, Any]:
        return status, value


async def asked(app: StreamApp) -> tuple[int, dict[str, Any]]:
    return cast("tuple[int, dict[str, Any]]", await DeadLetterPage(app, cast("Any", Answers())).get(cast("Any", None)))


async def test_it_has_a_row_per_owned_partition(app: StreamApp) -> None:
    app.engine_started(cast("Any", Engine()))
    code, answer = await asked(app)
    assert (code, answer["app_id"], answer["status_topic"]) == (200, "shop", "shop-dlq-status")
    assert answer["partitions"] == [
        {
            "topic": "orders-dlq",
            "partition": 0,
            "unresolved": 3,
            "lower_bound": True,
            "oldest": "2025-11-27T10:00:00.000Z",
            "read": True,
        },
        {"topic": "orders-dlq", "partition": 4, "unresolved": 0, "lower_bound": False, "oldest": None, "read": False},
    ]


async def test_before_the_engine_runs_nothing_is_owned(app: StreamApp) -> None:
    code, answer = await asked(app)
    assert (code, answer["partitions"]) == (200, [])


async def test_the_worker_serves_it(app: StreamApp) -> None:
    class Server:
        def __init__(self) -> None:
            self.views: dict[str, Any] = {}

        def add_view(self, view: Any) -> None:
            self.views[view.view_path] = view

    server = Server()
    app.on_webserver_init(server)
    assert server.views["/streamapp/dead-letters"] is DeadLetterPage
