"""Probes: alive while the loop turns and records move or wait on purpose, ready once restored, started for good; each names what fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from streamapp.monitor.status import StatusDocument
from streamapp.pipeline.facts import EngineFacts, InHand, Standstill
from streamapp.worker.health import Health
from streamapp.worker.metrics_view import Metrics
from streamapp.worker.probes import Healthz, Livez, Readyz, Startupz, livez
from tests.support.operator_figures import agent, document, facts, lane, partition

READY = {"ready": True, "assigned": 2, "restored": 2}
RESTORING = {
    "ready": False,
    "assigned": 2,
    "restored": 0,
    "failing": "restoring",
    "restoring": [
        {"table": "totals", "partition": 0, "state": "reading", "offset": 100, "target": 1100, "seconds_left": 2.5},
        {"table": "totals", "partition": 1, "state": "reading", "offset": 0, "target": 500, "seconds_left": 4.0},
    ],
}


@dataclass
class Worker:
    """What probes ask: an app, its engine, a clock and the server."""

    answers: dict[str, Any] = field(default_factory=lambda: dict(READY))
    told: EngineFacts = field(default_factory=facts)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.engine: Worker | None = self
        self.health = Health(self, clock=self)
        self.settings = SimpleNamespace(observe=SimpleNamespace(lag_drain_target=900.0))

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def readiness(self) -> dict[str, Any]:
        return self.answers

    def facts(self) -> EngineFacts:
        return self.told

    def status(self, *, own_only: bool = False) -> StatusDocument:
        assert own_only, "a sum over workers has each partition once"
        return document(partition(lag=3))

    def after(self, seconds: float) -> tuple[int, dict[str, Any]]:
        """Let the loop turn through these seconds; return what `/livez` says then."""
        self.now += seconds
        self.health.look()
        return livez(self.health)

    async def get(self, view: type[Any], **query: str) -> tuple[int, dict[str, Any]]:
        server = SimpleNamespace(health=self.health, json=lambda body, **options: (options.get("status", 200), body))
        status, body = await view(self, server).get(SimpleNamespace(query=query))
        return status, body


def held(seconds: float, *standing: str) -> EngineFacts:
    standstills = tuple(Standstill(kind=kind, since=0.0) for kind in standing)  # type: ignore[arg-type]
    return facts(lanes=(lane(in_hand=InHand("prices", 7, seconds), standstills=standstills),), agents=(agent(processed=5),))


def test_a_loop_that_has_not_turned_for_ten_seconds_is_dead() -> None:
    worker = Worker()
    assert worker.after(0)[0] == 200
    worker.now += 9.9
    assert livez(worker.health) == (200, {"live": True})
    worker.now += 0.2
    status, body = livez(worker.health)
    assert (status, body["live"], body["failing"]) == (503, False, "loop")
    assert worker.after(0)[0] == 200


def test_a_record_that_is_in_hand_for_five_minutes_while_nothing_is_done_is_the_end() -> None:
    worker = Worker(told=held(1))
    assert worker.after(0)[0] == 200
    worker.told = held(301)
    status, body = worker.after(301)
    assert (status, body["failing"]) == (503, "progress")
    assert "orders/0@7 has been with agent prices for 301 s" in body["detail"]
    worker.told = facts(lanes=worker.told.lanes, agents=(agent(processed=6),))
    assert worker.after(1)[0] == 200, "another record was done"


def test_a_record_that_came_a_moment_ago_after_an_idle_hour_has_time() -> None:
    worker = Worker(told=held(1))
    worker.after(0)
    assert worker.after(3600)[0] == 200


@pytest.mark.parametrize("standing", ["retrying", "breaker", "stopped", "unwritten", "restoring"])
def test_waiting_on_purpose_may_take_as_long_as_it_takes(standing: str) -> None:
    worker = Worker(told=held(4000, standing))
    worker.after(0)
    assert worker.after(4000)[0] == 200


@pytest.mark.parametrize("standing", ["revoked", "paused", "suspect"])
def test_other_standstills_excuse_nothing(standing: str) -> None:
    worker = Worker(told=held(4000, standing))
    worker.after(0)
    assert worker.after(4000)[0] == 503


async def test_neither_broker_nor_rebalance_is_a_reason_to_restart() -> None:
    worker = Worker(answers={"ready": False, "failing": "not assigned", "assigned": 0, "restored": 0})
    worker.after(0)
    assert worker.after(5000) == (200, {"live": True})
    worker.engine = None
    assert worker.after(5000) == (200, {"live": True})
    assert await worker.get(Livez) == (200, {"live": True})


async def test_readiness_is_the_apps_and_names_what_it_waits_for() -> None:
    worker = Worker(answers=dict(RESTORING))
    assert await worker.get(Readyz) == (503, RESTORING)
    worker.answers = {**READY, "idle": True}
    assert await worker.get(Readyz) == (200, {**READY, "idle": True})


async def test_a_start_is_over_with_the_first_restore_for_good() -> None:
    worker = Worker(answers=dict(RESTORING))
    status, body = await worker.get(Startupz)
    assert (status, body["failing"], body["remaining_records"], body["seconds_left"]) == (503, "restoring", 1500, 4.0)
    worker.answers = dict(READY)
    assert await worker.get(Startupz) == (
        200,
        {"started": True, "remaining_records": 0, "seconds_left": 0.0, "restoring": []},
    )
    worker.answers = dict(RESTORING)
    assert (await worker.get(Startupz))[0] == 200


async def test_a_first_restore_that_nobody_asked_about_counts() -> None:
    worker = Worker()
    worker.after(0)
    worker.answers = dict(RESTORING)
    assert (await worker.get(Startupz))[0] == 200


async def test_what_is_left_is_unknown_while_one_restore_cannot_say() -> None:
    waiting = {"table": "totals", "partition": 1, "state": "failed", "trouble": "disk"}
    worker = Worker(answers={**RESTORING, "restoring": [RESTORING["restoring"][0], waiting]})  # type: ignore[index]
    _, body = await worker.get(Startupz)
    assert (body["remaining_records"], body["seconds_left"]) == (None, None)


async def test_health_answers_always_and_lists_every_check_when_asked() -> None:
    standing = (Standstill(kind="breaker", since=0.0), Standstill(kind="stopped", since=0.0))
    worker = Worker(answers=dict(RESTORING), told=facts(lanes=(lane(standstills=standing),)))
    worker.after(0)
    assert await worker.get(Healthz) == (200, {"well": False, "failing": "ready"})
    status, body = await worker.get(Healthz, verbose="")
    found = {each["check"]: each["ok"] for each in body["checks"]}
    assert status == 200
    assert found == {
        "loop": True,
        "progress": True,
        "ready": False,
        "startup": False,
        "breakers": False,
        "dead letters": True,
        "partitions": False,
    }


async def test_metrics_are_the_documents_and_the_engines() -> None:
    worker = Worker(told=facts(lanes=(lane(),), agents=(agent(processed=41),)))
    server = SimpleNamespace(bytes=lambda body, **options: (body, options["headers"]["Content-Type"]))
    view: Any = Metrics(worker, server)  # type: ignore[arg-type]
    body, kind = await view.get(SimpleNamespace())
    assert kind.startswith("text/plain; version=")
    assert b'streamapp_consumer_lag_records{group="shop",partition="0",topic="orders"} 3.0' in body
    assert b'streamapp_records_processed_total{agent="prices"} 41.0' in body
