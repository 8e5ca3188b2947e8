"""What a foreign contender is installed into: a directory of its own below `build/bench/`, made once, whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Final

from rich.console import Console
from rich.text import Text

from tests.support.workers import ROOT

HOME: Final = ROOT / "build" / "bench"
STEP: Final = 300.0
"""Seconds that one command of an installation may take; the longest took 20 s with a cold cache."""

Told = Callable[[str], None]
"""Called with what an installation is doing; often, so it must be cheap."""


class Unavailable(Exception):
    """A contender cannot be had here; the message is the sentence that its user reads."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A directory that counts as made once `finish` has said what it is made of; anything else there is swept away."""

    home: Path
    made_of: str

    def is_ready(self) -> bool:
        try:
            return self._mark.read_text(encoding="utf-8") == self.made_of
        except OSError:
            return False

    def begin(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)

    def finish(self) -> None:
        self._mark.write_text(self.made_of, encoding="utf-8")

    @property
    def _mark(self) -> Path:
        return self.home / "complete"


@contextmanager
def progress(console: Console, announcement: str) -> Iterator[Told]:
    """Print the announcement, and show on one line what is told, as far as the console is a terminal."""
    console.print(Text(announcement), soft_wrap=True)
    with console.status("") as status:
        yield lambda told: status.update(Text(told))


def run_step(command: Sequence[str], what: str, log: Path, told: Told, *, allowed: float = STEP) -> None:
    """Run `command` to its end, all that it prints into `log`, whose last line is told meanwhile. Raises Unavailable."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(process, what, log, told, allowed)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its children too: pip starts compilers
            process.wait(10)
    if process.returncode != 0:
        raise Unavailable(f"{what} failed: {complaint_in(log.read_text(errors='replace'))} (all of it in {log})")


def _wait(process: subprocess.Popen[bytes], what: str, log: Path, told: Told, allowed: float) -> None:
    began = time.monotonic()
    while True:
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            spent = time.monotonic() - began
            if spent > allowed:
                raise Unavailable(f"{what} was not done within {allowed:.0f} s (see {log})") from None
            told(f"{what}, {spent:.0f} s: {_last_line(log)}")
        else:
            return


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip()[:80] for line in reversed(lines) if line.strip()), "")


def complaint_in(output: str) -> str:
    """Return the line that says what went wrong: the first that is called an error (what follows is aftermath), else the last.

    Its beginning, that is: pip names every version that it has not chosen.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    called = (line for line in lines if "error:" in line.lower())
    return shorten(next(called, lines[-1] if lines else "it said nothing"), 200, placeholder=" …")
