"""What is set wrongly: names and values that nobody can mean are refused in one line, what may be meant for others is told and ignored."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from tests.support.topics import end_offsets
from tests.support.word_app import WordApp, said
from tests.support.workers import ROOT


def test_unknown_and_foreign_variables_are_told_once_and_the_worker_goes_on(word_app: WordApp) -> None:
    foreign = {"PROCESSING_GUARANTEE": "at_least_once", "WEB_BIND": "0.0.0.0", "STREAMAPP_COMIT_INTERVAL": "9"}
    worker = word_app.start(**foreign)
    word_app.feed(["a", "b", "a"])
    word_app.wait_until_done()
    assert not [each for each in psutil.Process(worker.pid).net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert worker.stop() == 0
    lines = worker.log_text().splitlines()
    assert sum("STREAMAPP_COMIT_INTERVAL" in line and "STREAMAPP_COMMIT_INTERVAL" in line for line in lines) == 1
    assert sum("PROCESSING_GUARANTEE, WEB_BIND" in line and "ignored" in line for line in lines) == 1
    # Ignored indeed: the outputs stand between transaction markers.
    assert sum(end_offsets(word_app.bootstrap, word_app.numbered).values()) > sum(word_app.fed.values())


def test_an_unknown_key_of_the_project_is_refused_with_the_nearest(word_app: WordApp) -> None:
    (word_app.home / "pyproject.toml").write_text(f'[tool.streamapp]\napp_id = "{word_app.app_id}"\ncomit_interval = 0.1\n')
    done = word_app.run("worker")
    assert done.returncode == 2
    assert said(done.stderr) == ["streamapp: comit_interval: no such setting (pyproject.toml); the nearest is commit_interval"]


def test_a_value_of_the_project_is_refused_with_its_range_and_place(word_app: WordApp) -> None:
    (word_app.home / "pyproject.toml").write_text(f'[tool.streamapp]\napp_id = "{word_app.app_id}"\ntransaction_timeout = 901\n')
    done = word_app.run("worker")
    assert done.returncode == 2
    (line,) = said(done.stderr)
    for part in ("STREAMAPP_TRANSACTION_TIMEOUT=901", "1 to 900", "pyproject.toml"):
        assert part in line


@pytest.mark.parametrize(
    ("variable", "option", "value"),
    [
        ("STREAMAPP_CONSUMER_OPTIONS", "isolation.level", "read_uncommitted"),
        ("STREAMAPP_CONSUMER_OPTIONS", "enable.auto.commit", "true"),
        ("STREAMAPP_PRODUCER_OPTIONS", "acks", "1"),
        ("STREAMAPP_BROKER_OPTIONS", "enable.idempotence", "false"),
    ],
)
def test_a_client_option_that_breaks_exactly_once_is_refused(word_app: WordApp, variable: str, option: str, value: str) -> None:
    done = word_app.run("worker", **{variable: json.dumps({option: value})})
    assert done.returncode == 2
    (line,) = said(done.stderr)
    assert variable in line
    assert f"must not set {option}" in line


@pytest.mark.parametrize("variable", ["STREAMAPP_BROKER_OPTIONS", "STREAMAPP_CONSUMER_OPTIONS", "STREAMAPP_PRODUCER_OPTIONS"])
def test_a_client_option_that_the_client_does_not_know_is_refused(word_app: WordApp, variable: str) -> None:
    done = word_app.run("worker", **{variable: "no.such.option=1"})
    assert done.returncode == 2
    (line,) = said(done.stderr)
    assert "no.such.option" in line
    assert variable in line


def test_a_source_by_pattern_is_refused_at_the_call(word_app: WordApp) -> None:
    word_app.declare(more='\napp.topic(pattern="orders.*")\n')
    done = word_app.run("worker")
    assert done.returncode == 2
    assert said(done.stderr) == ['streamapp: topic(pattern=…) is not supported: name the topics: app.topic("a", "b")']


@pytest.mark.parametrize("use", ["print(counts['a'])", "counts['a'] = 1"])
def test_a_table_used_outside_a_worker_is_one_clear_error(word_app: WordApp, use: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from words import counts; {use}"],
        cwd=word_app.home, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        "streamapp.errors.OutsideWorker: table counts can only be used inside a running worker: in agents, timers and crontabs"
    )
