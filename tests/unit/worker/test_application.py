"""StreamApp is a faust.App whose record path is ours: nothing of Faust's own can be reached by accident."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import faust
import pytest

from streamapp import StreamApp
from streamapp.errors import BrokerUnreachable, ConfigurationError, InvariantBroken, SettingInvalid, Unsupported
from streamapp.worker import lifecycle
from streamapp.worker.lifecycle import exit_code
from tests.unit.worker.shop import new_app


def test_it_is_a_faust_app(app: StreamApp) -> None:
    assert isinstance(app, faust.App)
    assert app.conf.id == "shop"


def test_fausts_own_variables_and_defaults_never_act(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BROKER_URL": "kafka://evil", "WEB_BIND": "0.0.0.0", "PROCESSING_GUARANTEE": "at_least_once"}.items():
        monkeypatch.setenv(name, value)
    app = new_app()
    assert str(app.conf.broker[0]) == "kafka://127.0.0.1:9092"
    assert app.conf.web_bind == "127.0.0.1"
    assert str(app.settings.transaction.processing_guarantee) == "exactly_once"


def test_the_environment_wins_over_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_BROKER", "there:1234")
    app = new_app(broker="kafka://here:1", commit_interval=0.5)
    assert app.settings.broker.broker == "there:1234"
    assert app.settings.transaction.commit_interval == 0.5


def test_the_settings_of_another_apps_project_do_not_leak_in(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.streamapp]\napp_id = "orders"\ncommit_interval = 0.7\n')
    assert new_app().settings.transaction.commit_interval == 0.2
    assert StreamApp("orders").settings.transaction.commit_interval == 0.7


def test_version_is_part_of_the_id() -> None:
    assert new_app(version=2).conf.id == "shop-v2"


def test_an_option_that_nobody_knows_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingInvalid, match="broker"):
        new_app(brokr="x")


@pytest.mark.parametrize(
    "options",
    [
        {"transport": "memory://"},
        {"broker_consumer": "kafka://x"},
        {"Agent": object},
        {"Topic": faust.Topic},
        {"TableManager": object},
        {"PartitionAssignor": object},
    ],
)
def test_foreign_parts_are_refused(options: Any) -> None:
    with pytest.raises(Unsupported):
        new_app(**options)


@pytest.mark.parametrize("part", ["consumer", "transport", "assignor", "_fetcher", "router", "_reply_consumer"])
def test_parts_that_the_engine_replaces_say_so(app: StreamApp, part: Any) -> None:
    stand_in = getattr(app, part)
    assert not hasattr(stand_in, "commit_all")
    with pytest.raises(AttributeError, match="engine does that work"):
        stand_in.start()


async def test_calls_that_cannot_hold_the_promise_are_refused(app: StreamApp) -> None:
    @app.agent(app.topic("a"))
    async def agent(stream: Any) -> None: ...

    calls: list[Any] = [agent.ask, agent.ask_nowait, agent.join, lambda: app.commit(None)]
    for call in calls:
        with pytest.raises(Unsupported):
            await call()
    refusals: list[Any] = [app.channel, lambda: app.stream([1]), app.LiveCheck, agent, agent.map, agent.kvmap]
    for refused in refusals:
        with pytest.raises(Unsupported):
            refused()


def test_services_are_sensors_web_and_engine(monkeypatch: pytest.MonkeyPatch, app: StreamApp) -> None:
    monkeypatch.setenv("STREAMAPP_WEB_PORT", "0")
    assert [type(service).__name__ for service in new_app().boot_strategy.server()] == ["EngineService"]
    monkeypatch.setenv("STREAMAPP_WEB_PORT", "6066")
    assert [type(service).__name__ for service in new_app().boot_strategy.server()] == ["CacheBackend", "Web", "EngineService"]


def test_readiness_names_what_is_missing(app: StreamApp) -> None:
    class Engine:
        ready = False
        has: frozenset[Any] = frozenset()

        def assignment(self) -> frozenset[Any]:
            return self.has

        def restored(self) -> set[Any]:
            return set()

        def restoring(self) -> list[dict[str, Any]]:
            return [{"table": "totals", "partition": 0}]

    assert app.readiness() == {"ready": False, "failing": "starting"}
    app.engine_started(cast("Any", Engine()))
    assert app.readiness()["failing"] == "not assigned"
    Engine.has = frozenset({("a", 0)})
    assert app.readiness()["failing"] == "restoring"
    assert app.readiness()["restoring"] == [{"table": "totals", "partition": 0}]
    Engine.ready, Engine.has = True, frozenset()
    assert app.readiness() == {"ready": True, "assigned": 0, "restored": 0, "idle": True}
    app.draining = True
    assert app.readiness()["failing"] == "draining"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (None, 0),
        (ConfigurationError("no"), 2),
        (BrokerUnreachable("no"), 3),
        (InvariantBroken("no"), 1),
        (ValueError("no"), 1),
        (SystemExit(4), 4),
    ],
)
def test_exit_codes(failure: Any, code: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(lifecycle, "say", said.append)
    assert exit_code(failure) == code
    assert said == ([failure] if isinstance(failure, (ConfigurationError, BrokerUnreachable, InvariantBroken)) else [])


async def test_timers_run_as_ticks_of_the_engine_and_a_failing_one_goes_on(app: StreamApp) -> None:
    from streamapp.worker.timers import run_once

    runs: list[str] = []

    class Engine:
        async def tick(self, function: Any, *, name: str, on_leader: bool = False) -> None:
            runs.append(name)
            await function()

        def is_leader(self) -> bool:
            return False

    async def job() -> None:
        runs.append("ran")
        raise ValueError("logged")

    async def with_app(given: Any) -> None:
        assert given is app
        runs.append("given")

    await run_once(app, job, name="early", on_leader=False)
    app.engine_started(cast("Any", Engine()))
    await run_once(app, job, name="job", on_leader=False)
    await run_once(app, with_app, name="with_app", on_leader=False)
    await run_once(app, job, name="leader", on_leader=True)
    assert runs == ["job", "ran", "with_app", "given"]
