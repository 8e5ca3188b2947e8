"""An app of a test's own on the broker, and the commands of upkeep run on it in this process, by either door."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import faust.cli.base
import pytest
import rich.console
from click.testing import CliRunner

from streamapp.cli import faust_commands, main
from tests.support.topics import watermarks

APP: Final = """
from streamapp import StreamApp

app = StreamApp("{app_id}", commit_interval=0.05, session_timeout=6.0)
sales = app.topic("{app_id}-sales", key_type=str, value_type=int, partitions=2)
totals = app.topic("{app_id}-totals", partitions=2)
sums = app.Table("sums", default=int)


@app.agent(sales, name="add_up")
async def add_up(stream):
    async for shop, amount in stream.items():
        sums[shop] += amount
        await totals.send(key=shop, value=sums[shop])
"""
faust_commands.register()


@dataclass(frozen=True, slots=True)
class Said:
    """What one run said."""

    code: int
    stdout: str
    stderr: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def rows(self) -> list[list[str]]:
        """Return the cells of the lines, as a pipe gets them."""
        return [line.split("\t") for line in self.stdout.splitlines()]


class UpkeepApp:
    """The app, in a module of its own."""

    def __init__(self, bootstrap: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bootstrap, self.folder = bootstrap, folder
        self.id = f"shop-{uuid4().hex[:8]}"
        self.module = self.id.replace("-", "_")
        self.sales, self.totals = f"{self.id}-sales", f"{self.id}-totals"
        self.changelog, self.dlq, self.status = f"{self.id}-sums-changelog", f"{self.sales}-dlq", f"{self.id}-dlq-status"
        self.meta = f"{self.id}-meta"
        self._monkeypatch = monkeypatch
        for name in list(os.environ):
            if name.startswith("STREAMAPP_") and not name.startswith("STREAMAPP_TEST_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("STREAMAPP_BROKER", bootstrap)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        self.declare(APP)

    def declare(self, source: str) -> None:
        """Write the app's module; `{app_id}` stands for its id."""
        sys.modules.pop(self.module, None)
        (self.folder / f"{self.module}.py").write_text(source.replace("{app_id}", self.id))

    def run(self, *words: str, **env: str) -> Said:
        """Run `streamapp VERB … -A module`."""
        return self._said(main, [*words, "-A", self.module], env)

    def faust(self, *words: str, **env: str) -> Said:
        """Run `faust -A module VERB …`."""
        return self._said(faust.cli.base.cli, ["-A", self.module, *words], env)

    def _said(self, command: Any, words: list[str], env: dict[str, str]) -> Said:
        sys.modules.pop(self.module, None)  # each command finds the app anew, as its own process would
        with self._monkeypatch.context() as patched:
            for name, value in env.items():
                patched.setenv(name, value)
            done = CliRunner().invoke(command, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return Said(done.exit_code, done.stdout, done.stderr)

    def screen(self, *words: str) -> str:
        """Return what `streamapp VERB …` shows on a terminal, without its colours: stdout, then stderr."""
        shown = io.StringIO()
        terminal = rich.console.Console(file=shown, force_terminal=True, color_system=None, width=60)
        with self._monkeypatch.context() as patched:
            for verb in ("app_reset", "config", "offsets", "topics", "transactions"):
                patched.setattr(importlib.import_module(f"streamapp.cli.{verb}"), "console", lambda: terminal)
            said = self.run(*words)
        return shown.getvalue() + said.stdout + said.stderr

    def forget(self) -> None:
        sys.modules.pop(self.module, None)

    def held(self, topic: str) -> int:
        """Return in how many partitions readers get no further than an open transaction."""
        return sum(stable < high for stable, high in watermarks(self.bootstrap, [topic]).values())


@pytest.fixture
def upkeep_app(bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UpkeepApp]:
    made = UpkeepApp(bootstrap, tmp_path, monkeypatch)
    yield made
    made.forget()
