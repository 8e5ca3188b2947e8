"""`GET /streamapp/status.json` is served in every state of the worker, from memory, and adds histories where they are asked for."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from streamapp import StreamApp
from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.status import STATUS_PATH, StatusDocument
from streamapp.monitor.watch import Around, LagWatch, Past
from streamapp.pipeline.dead_letter_counts import Unresolved
from streamapp.pipeline.facts import EngineFacts
from streamapp.records import Partition
from streamapp.worker.status_view import StatusView
from tests.support.lag_world import CONFIG, ORDERS, ends, facts, lane


class Lag:
    """What the reporter asks of a sampler."""

    def __init__(self) -> None:
        watch = LagWatch(CONFIG, Past(version="1", worker="w-1"), {"orders": 8}, tables={})
        self.view = watch.sample(facts(10.0, [lane()]), ends(120), {ORDERS: 0}, [], Around(), reachable=True)
        self.around = Around(workers=2)
        self.loop_lag = 0.002
        self.asked: list[bool] = []

    def history(self, partition: Partition, *, of_a_day: bool = False) -> list[Sample]:
        self.asked.append(of_a_day)
        return []


class Engine:
    """What the shell asks of a running engine."""

    ready = False

    def __init__(self) -> None:
        self.sampler = Lag()

    def facts(self) -> EngineFacts:
        return facts(12.0, [lane()])

    def assignment(self) -> set[Partition]:
        return {ORDERS}

    def restored(self) -> set[Partition]:
        return set()

    def restoring(self) -> list[dict[str, Any]]:
        return [{"table": "totals", "partition": 3, "state": "reading", "offset": 1, "target": 5, "records": 1}]

    def unresolved(self) -> list[Unresolved]:
        return [Unresolved(partition=Partition("orders-dlq", 0), count=3, is_lower_bound=False, oldest=5.0, is_read=True)]


class Request:
    def __init__(self, **query: str) -> None:
        self.query = query


class Answers:
    """Stands where Faust's web server makes answers."""

    def bytes(self, value: bytes, **options: object) -> tuple[int, Any]:
        return 200, value

    def json(self, value: object, *, status: int = 200, **options: object) -> tuple[int, Any]:
        return status, value


async def asked(app: StreamApp, **query: str) -> tuple[int, Any]:
    return cast("tuple[int, Any]", await StatusView(app, cast("Any", Answers())).get(cast("Any", Request(**query))))


async def told(app: StreamApp, **query: str) -> StatusDocument:
    status, body = await asked(app, **query)
    assert status == 200
    return msgspec.json.decode(body, type=StatusDocument)


async def test_a_worker_that_starts_or_drains_tells_as_much(app: StreamApp) -> None:
    document = await told(app)
    assert (document.app_id, document.worker.ready, document.worker.failing, document.partitions) == (
        "shop",
        False,
        "starting",
        (),
    )
    app.draining = True
    assert (await told(app)).worker.draining


async def test_in_the_middle_of_a_restore_it_tells_the_restore(app: StreamApp) -> None:
    app.engine_started(cast("Any", Engine()))
    document = await told(app)
    assert (document.worker.ready, document.worker.failing, document.worker.loop_lag) == (False, "restoring", 0.002)
    assert [(each.table, each.state, each.remaining) for each in document.tables] == [("totals", "reading", 4)]
    assert [(each.topic, each.lag, each.state) for each in document.partitions] == [("orders", 20, "running")]
    assert [(each.unresolved, each.oldest, each.loss) for each in document.dead_letters] == [(3, 5.0, None)]


@pytest.mark.parametrize(("query", "of_a_day"), [({}, []), ({"history": "30m"}, [False]), ({"history": "24h"}, [True])])
async def test_a_history_is_added_where_it_is_asked_for(app: StreamApp, query: dict[str, str], of_a_day: list[bool]) -> None:
    engine = Engine()
    app.worker_id = "w-1"
    app.engine_started(cast("Any", engine))
    document = await told(app, **query)
    assert engine.sampler.asked == of_a_day
    assert (document.partitions[0].history is None) == (not of_a_day)


async def test_another_history_is_refused(app: StreamApp) -> None:
    assert (await asked(app, history="1y"))[0] == 400


async def test_no_secret_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_WEB_TOKEN", "hush-hush")
    _, body = await asked(StreamApp("shop"))
    assert b"hush-hush" not in body


async def test_the_worker_serves_it(app: StreamApp) -> None:
    class Server:
        def __init__(self) -> None:
            self.views: dict[str, Any] = {}

        def add_view(self, view: Any) -> None:
            self.views[view.view_path] = view

    server = Server()
    app.on_webserver_init(server)
    assert server.views[STATUS_PATH] is StatusView
