"""A progress bar is gone from the screen when a command prints: what it says stands in lines of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.console import Said, Terminal
from tests.support.workers import ROOT

COMMAND = """
import click

from streamapp.cli.verify_screen import Progress

with Progress() as progress:
    for what in ("reading", "reading on"):
        progress.begin(what, 3)
        progress.advance(2)
        progress._bar.refresh()  # it is drawn ten times a second, if there is the time
        progress.end()
        click.echo(f"done {what}")
    progress.begin("given up", 3)
    progress._bar.refresh()
click.echo("all done")
"""


def test_what_is_printed_behind_a_bar_has_its_line_to_itself(tmp_path: Path) -> None:
    (tmp_path / "command.py").write_text(COMMAND)
    terminal = Terminal(tmp_path, {"PYTHONPATH": str(ROOT)})
    assert terminal.run(f"{sys.executable} command.py") == Said(("done reading", "done reading on", "all done"), 0)
