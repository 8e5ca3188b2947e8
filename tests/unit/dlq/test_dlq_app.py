"""Which app the dead-letter commands are about: the project here, what -A names, or broker and app id alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamapp.cli import main
from streamapp.cli.dlq_options import subject_here
from streamapp.cli.scope import Scope
from streamapp.errors import ConfigurationError
from tests.support.dead_letter_world import DeadLetterWorld

NOWHERE = "127.0.0.1:1"
APP = """
from streamapp import StreamApp

app = StreamApp("shop", broker="kafka://{broker}")
sales = app.topic("sales", value_type=int, partitions=2)
marks = app.dedupe_table("marks", horizon=86400)


@app.agent(sales, name="add_up", dedupe=marks.by(lambda amount: amount))
async def add_up(stream):
    async for amount in stream:
        pass


@app.agent(app.topic("sales-dlq", value_type=bytes), name="look")
async def look(stream):
    async for letter in stream:
        pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app module, and nothing from outside."""
    for name in list(os.environ):
        if name.startswith("STREAMAPP_"):
            monkeypatch.delenv(name)
    (tmp_path / "shop_with_letters.py").write_text(APP.format(broker=NOWHERE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("streamapp.project_app._made", [])  # another test of this process may have made the project's app
    yield tmp_path
    sys.modules.pop("shop_with_letters", None)


def scope(app_name: str | None = None) -> Scope:
    return Scope(click.Context(main), app_name, 0.3, as_json=False, hidden=False)


def test_an_app_says_its_topics_its_agents_and_how_long_it_knows_duplicates() -> None:
    subject = subject_here(scope("shop_with_letters"))
    assert (subject.app_id, subject.declared_dlqs, subject.dlq_sources) == ("shop", ["sales-dlq"], {"sales-dlq": ["sales"]})
    assert (subject.dlq_agents, subject.horizons, subject.unloaded) == ({"sales-dlq": ["look"]}, {"add_up": 86_400.0}, None)
    source = subject.source_of("add_up", "sales")
    assert source is not None
    assert source.decode(b"3") == 3
    assert subject.source_of("add_up", "elsewhere") is None


def test_without_a_project_the_environment_names_app_and_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_APP_ID", "shop")
    monkeypatch.setenv("STREAMAPP_BROKER", "kafka-1:9092")
    subject = subject_here(scope())
    assert (subject.app_id, subject.settings.broker.broker) == ("shop", "kafka-1:9092")
    assert "no pyproject.toml" in (subject.unloaded or "")
    with pytest.raises(ConfigurationError, match=r"no pyproject\.toml"):
        subject_here(scope(), needs_agents=True)


def test_where_the_app_is_not_known_topics_are_found_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_APP_ID", "shop")
    subject = subject_here(scope())
    world = DeadLetterWorld()
    world.kafka.create_topic("sales-dlq", 2, {})
    assert subject.dlqs(world.reader) == ["orders-dlq", "sales-dlq"]
    assert subject.dlqs(world.reader, ["bin"]) == ["bin"]


def test_neither_project_nor_app_id_is_refused() -> None:
    done = CliRunner().invoke(main, ["dlq", "list"])
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert "no pyproject.toml" in done.output


def test_an_app_named_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_APP_ID", "shop")
    done = CliRunner().invoke(main, ["dlq", "list", "-A", "no_such_app"])
    assert (done.exit_code, "-A no_such_app: ModuleNotFoundError" in done.output) == (2, True), done.output


@pytest.mark.parametrize("command", ["list", "tail", "stats", "export", "jobs", "check"])
def test_no_broker_is_exit_code_3_and_names_the_address(command: str) -> None:
    done = CliRunner().invoke(main, ["dlq", command, "-A", "shop_with_letters", "--timeout", "0.2"])
    assert (done.exit_code, NOWHERE in done.output, done.output.count("\n")) == (3, True, 1), done.output
