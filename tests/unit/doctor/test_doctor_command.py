"""`streamapp doctor`: what it prints where, how it ends, and what it refuses before it asks any broker."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from streamapp.cli import main
from streamapp.cli.doctor_screen import print_findings, summary
from streamapp.doctor.facts import Facts
from streamapp.monitor.finding import Finding, Level
from tests.support.doctor_facts import a_sample, healthy, of_orders

NOWHERE = "127.0.0.1:1"
APP = """
from streamapp import StreamApp

app = StreamApp("shop", broker="kafka://{broker}")
"""

ILL = [
    Finding("X03", Level.ERROR, "Apache Kafka 4.3", "Apache Kafka 4.3 on a single broker", "transactions stay open", "use 4.2.x"),
    Finding("G01", Level.WARNING, "orders", "6 workers, 4 partitions: 2 idle", "one worker each", "run 4"),
    Finding("G08", Level.UNCHECKED, "-", "no worker answers", "never a pass", ""),
    Finding("G02", Level.INFORMATION, "orders", "headroom\n1.3×", "keep 2×", "topics plan"),
]
SCREEN = """\
X03  ✗ error  Apache Kafka 4.3 on a single broker
     why  transactions stay open
     fix  use 4.2.x
G01  ! warning  6 workers, 4 partitions: 2 idle
     why  one worker each
     fix  run 4
G08  ? could not check  no worker answers
G02  · info  headroom\\n1.3×
     why  keep 2×
     fix  topics plan
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app module, and nothing from outside."""
    for name in list(os.environ):
        if name.startswith("STREAMAPP_"):
            monkeypatch.delenv(name)
    (tmp_path / "shop_to_examine.py").write_text(APP.format(broker=NOWHERE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("shop_to_examine", None)


def doctor(*options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "-A", "shop_to_examine", "--timeout", "0.3", *options])


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is seen of the cluster: changes to a healthy one."""
    changes: dict[str, Any] = {}

    class Gathered:
        def __init__(self, app: object, timeout: float, **options: Any) -> None:
            self._keys = options["show_keys"]

        def facts(self, checks: object) -> Facts:
            return healthy(**changes, show_keys=self._keys)

        def close(self) -> None: ...

    monkeypatch.setattr("streamapp.doctor.gather.Gatherer", Gathered)
    monkeypatch.setattr("streamapp.kafka.versions.await_broker", lambda *_, **__: None)
    return changes


def test_a_terminal_shows_what_is_wrong_why_and_what_to_do() -> None:
    screen = io.StringIO()
    print_findings(Console(file=screen, force_terminal=True, no_color=True, width=40, highlight=False, color_system=None), ILL)
    assert screen.getvalue() == SCREEN
    assert summary("shop", 39, ILL) == "shop: 39 checks, 1 error, 1 warning, 1 note, 1 not checked"
    assert summary("shop", 39, []) == "shop: 39 checks, nothing found"


def test_a_pipe_gets_one_tab_separated_line_each(facts: dict[str, Any]) -> None:
    facts["kafka"] = 33
    line = doctor().stdout.rstrip("\n").split("\t")
    assert (line[:2], len(line)) == (["X03", "warning"], 6)


def test_json_has_one_object_per_line_with_stable_keys(facts: dict[str, Any]) -> None:
    facts["kafka"] = 33
    (row,) = [json.loads(line) for line in doctor("--json").stdout.splitlines()]
    assert list(row) == ["kind", "id", "level", "subject", "line", "why", "fix"]
    assert (row["kind"], row["id"], row["level"]) == ("finding", "X03", "warning")


@pytest.mark.parametrize(
    ("changes", "options", "code"),
    [
        ({}, [], 0),
        ({}, ["--fail-on", "info"], 0),
        ({"kafka": 33}, [], 0),
        ({"kafka": 33}, ["--fail-on", "warn"], 1),
        ({"kafka": 33}, ["--fail-on", "warn", "--ignore", "X03"], 0),
        ({"kafka": 33}, ["--fail-on", "warn", "--only", "G,P"], 0),
        ({"kafka": 30, "brokers": (1,)}, [], 1),
    ],
)
def test_the_exit_code_is_1_with_a_finding_at_or_above_fail_on(
    facts: dict[str, Any], changes: dict[str, Any], options: list[str], code: int
) -> None:
    facts |= changes
    assert doctor(*options).exit_code == code


def test_keys_are_hashed_unless_they_are_asked_for(facts: dict[str, Any]) -> None:
    facts |= {"rates": of_orders({0: 1.0, 1: 1.0, 2: 90.0}), "samples": of_orders({2: a_sample(hot=90)})}
    assert "ann" not in doctor("--only", "P04").stdout
    assert "'ann'" in doctor("--only", "P04", "--show-keys").stdout


def test_no_broker_is_exit_code_3_and_names_the_address() -> None:
    done = doctor()
    assert (done.exit_code, NOWHERE in done.output, done.output.count("\n")) == (3, True, 1), done.output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--only", "G99"], "--only G99: must be one of G01"),
        (["--from", "localhost:6066"], "must be the http:// or https:// URL"),
        (["--fail-on", "everything"], "--fail-on"),
    ],
)
def test_options_that_cannot_be_are_exit_code_2(options: list[str], told: str) -> None:
    done = doctor(*options)
    assert (done.exit_code, told in done.output) == (2, True), done.output


def test_the_list_names_every_check_and_asks_nobody() -> None:
    done = doctor("--list", "--only", "X")
    assert done.exit_code == 0
    assert [line.split("\t")[:3] for line in done.stdout.splitlines()] == [
        ["X01", "error", "-"],
        ["X02", "warning", "-"],
        ["X03", "error", "start"],
    ]
