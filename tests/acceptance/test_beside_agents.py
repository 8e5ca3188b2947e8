"""Timers, crontabs, tasks, commands, scripts, pages, signals and sensors of an app work on our engine, and nothing of Faust's does.

One worker runs apps/outside.py; the commands and scripts are processes of their own beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.own_project import OwnProject, documents
from tests.support.topics import wait_until, watermarks

NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def project(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnProject]:
    """The app with its worker, which has gone on until each timer ran a few times."""
    with OwnProject(bootstrap, tmp_path_factory.mktemp("outside"), "outside") as made:
        made.worker()
        made.wait_for_all({"ticks": 5, "failing": 2, "led": 3, "crontabs": 1, "counted": 2})
        yield made


@pytest.fixture(scope="module")
def inside(project: OwnProject) -> dict[str, Any]:
    return dict(project.page(project.workers["w1"], "/inside/"))


# --- timers, crontabs, tasks


def test_each_run_of_a_timer_reads_what_the_last_one_wrote(project: OwnProject) -> None:
    values = documents(project.read("ticks"))
    assert values == list(range(1, len(values) + 1))


@pytest.mark.parametrize("name", ["ticks", "crontabs", "tasks"])
def test_what_no_record_caused_leaves_in_the_workers_transaction(project: OwnProject, name: str) -> None:
    # A commit leaves a marker behind the records of each partition that it wrote: offsets that no record has.
    topic = project.topic(name)
    (_, high) = watermarks(project.bootstrap, [topic])[topic, 0]
    everything = project.read(name, committed_only=False)
    assert high > 0
    assert any(rec.offset != place for place, rec in enumerate(everything)) or high > len(everything)


def test_a_timers_sends_and_its_table_write_are_one(project: OwnProject) -> None:
    found = project.wait_for_all({"ticks": 6, "twins": 6})
    changelog = project.lanes(f"{project.app_id}-counts-changelog")[0]
    written = [int(rec.value or b"0") for rec in changelog if rec.key == b'"ticks"']
    sent = documents(found["ticks"])
    assert documents(found["twins"])[: len(sent)] == sent[: len(documents(found["twins"]))]
    # The changelog keeps the last value of a commit only.
    assert set(written) <= set(range(1, max(written) + 1))
    assert max(written) >= len(sent)


def test_a_timer_that_raised_leaves_nothing_is_logged_and_runs_again(project: OwnProject) -> None:
    assert documents(project.read("failing"))[:2] == [3, 4]
    log = project.workers["w1"].log_text()
    assert len(re.findall(r"fails_twice failed: .*; nothing of this run is kept", log)) == 2
    assert "this run is lost" in log


def test_a_leaders_timer_runs_on_the_leader(project: OwnProject) -> None:
    assert set(documents(project.read("led"))) == {True}


def test_a_crontab_runs_and_gets_the_app(project: OwnProject) -> None:
    assert set(documents(project.read("crontabs"))) == {project.app_id}


def test_tasks_and_timers_send_to_topics_and_agents(project: OwnProject) -> None:
    assert documents(project.read("tasks")) == [project.app_id]
    assert {"from a task", "from a timer"} <= {value for value, _ in documents(project.read("counted"))}


# --- commands and scripts


def test_a_command_sends_and_its_records_are_delivered_when_it_ends(project: OwnProject) -> None:
    done = project.faust("place", "one")
    assert (done.returncode, done.stdout) == (0, "placed\n"), done.stderr
    assert {"command one", "command one to the agent"} <= set(documents(project.read("incoming")))


def test_a_command_whose_records_do_not_arrive_ends_with_1(project: OwnProject) -> None:
    done = project.faust("place", "two", STREAMAPP_BROKER=NOWHERE, STREAMAPP_TRANSACTION_TIMEOUT="2")
    assert done.returncode == 1
    assert said(done.stderr).startswith("streamapp: topic ")


def test_fausts_send_command_delivers_to_topics_and_agents(project: OwnProject) -> None:
    to_topic = project.faust("send", project.topic("incoming"), "7", "--key", "k")
    assert to_topic.returncode == 0, to_topic.stderr
    assert json.loads(to_topic.stdout)["offset"] >= 0
    to_agent = project.faust("send", "@count", '"by hand"')
    assert to_agent.returncode == 0, to_agent.stderr
    assert (b"k", 7) in [(rec.key, value) for rec, value in with_values(project, "incoming")]
    assert "by hand" in documents(project.read("incoming"))


def test_a_plain_script_sends(project: OwnProject) -> None:
    (project.folder / "script.py").write_text(
        """
import asyncio

import shop


async def main() -> None:
    delivered = await (await shop.incoming.send(key="a", value="awaited"))
    print(delivered.offset >= 0)
    await shop.count.send(value="not awaited")


asyncio.run(main())
shop.incoming.send_soon(value="soon")
"""
    )
    done = project.python("script.py")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert {"awaited", "not awaited", "soon"} <= set(documents(project.read("incoming")))


def test_a_table_read_in_a_command_is_one_line_that_says_where_tables_live(project: OwnProject) -> None:
    done = project.faust("peek")
    assert done.returncode == 1
    assert "inside a running worker" in said(done.stderr)


def test_a_table_read_in_a_script_is_one_clear_error(project: OwnProject) -> None:
    done = project.python("-c", "import shop; shop.counts['a']")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "streamapp.errors.OutsideWorker: table counts can only be used inside a running worker"
    )


def said(stderr: str) -> str:
    """Return the one line that says why, and see that it is no traceback."""
    assert "Traceback" not in stderr, stderr
    [line] = [line for line in stderr.splitlines() if line.startswith("streamapp: ")]
    return line


def with_values(project: OwnProject, name: str) -> Iterator[tuple[Any, Any]]:
    records = project.read(name)
    return zip(records, documents(records), strict=True)


# --- pages


def test_a_page_reads_the_committed_tables(project: OwnProject) -> None:
    shown = project.page(project.workers["w1"], "/counts/")
    assert shown["ticks"] >= 5
    assert shown["failing"] >= 3
    assert shown["of task"] == 5


# --- nothing of Faust's


def test_the_services_of_a_worker_are_fausts_shell_and_our_engine(inside: dict[str, Any], project: OwnProject) -> None:
    assert inside["services"] == [
        "faust.sensors.monitor.Monitor",
        "faust.web.cache.backends.memory.CacheBackend",
        "faust.web.drivers.aiohttp.Server",
        "shop.Extra",
        "shop.Sensed",
        "streamapp.application.StreamApp",
        "streamapp.worker.lifecycle.EngineService",
        "streamapp.worker.lifecycle.Worker",
        "streamapp.worker.web.Web",
    ]


def test_the_parts_of_faust_that_the_engine_replaces_are_ours_or_stand_ins(inside: dict[str, Any]) -> None:
    stand_in = "streamapp.worker.refusals.StandIn"
    assert inside["parts"] == {
        "agents": "faust.agents.manager.AgentManager",
        "consumer": stand_in,
        "producer": "streamapp.worker.client.ClientProducer",
        "topics": "streamapp.application._Topics",
        "tables": "streamapp.worker.tables.Tables",
        "assignor": stand_in,
        "_leader_assignor": stand_in,
        "transport": stand_in,
        "producer_transport": stand_in,
        "router": stand_in,
        "_fetcher": stand_in,
        "_reply_consumer": stand_in,
        "engine_service": "streamapp.worker.lifecycle.EngineService",
    }


def test_fausts_kafka_driver_and_store_are_not_even_loaded(inside: dict[str, Any]) -> None:
    assert inside["loaded"] == []


# --- signals and sensors


def test_sensors_hear_of_rebalances_and_the_monitor_counts_them(inside: dict[str, Any]) -> None:
    ours, monitors, ended, going_on = inside["sensed"]
    assert ours == monitors == ended >= 1
    assert going_on is False


def test_signals_tell_what_came_when_it_is_restored_and_what_went(project: OwnProject) -> None:
    worker = project.workers["w1"]
    signals = project.folder / "signals"
    wait_until(lambda: "complete" in signals.read_text(), why=signals.read_text)
    assert worker.stop() == 0, worker.tail()
    told = signals.read_text().splitlines()
    told.remove("service")
    assert told == ["assigned incoming/0", "complete", "shutdown", "revoked incoming/0"]
    assert "a handler that raises" in worker.log_text()


def test_the_worker_says_when_it_is_ready(project: OwnProject) -> None:
    assert "[^Worker]: Ready" in project.workers["w1"].log_text()
