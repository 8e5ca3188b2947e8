"""A contender from PyPI: its packages in a virtual environment, and a program that is run there."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.benchmarks.foreign.contender import Installed, Missing, Ready
from tests.benchmarks.foreign.environment import HOME, Environment, Unavailable, progress, run_step

PROGRAMS: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonContender:
    name: str
    promise: str
    jobs: tuple[str, ...]
    records_share: float
    directory: str
    """Its environment's, below build/bench/; contenders of the same packages share it."""
    program: str
    """Below this directory. It is given the job, then `arguments`."""
    requirements: tuple[str, ...]
    shown: tuple[str, ...]
    """The packages whose versions say what is measured."""
    arguments: tuple[str, ...] = ()
    home: Path = HOME

    def prepare(self, console: Console) -> Ready | Missing:
        environment = Environment(self.home / self.directory, "\n".join((platform.python_version(), *self.requirements)))
        if not environment.is_ready():
            try:
                self._install(environment, console)
            except Unavailable as cause:
                return Missing(str(cause))
            except OSError as cause:
                return Missing(f"nothing can be kept in {environment.home}: {cause.strerror or cause}")
        return self.ready(environment.home)

    def ready(self, home: Path) -> Installed:
        # Isolated: what the benchmark's own environment puts on the path is none of theirs.
        start = (str(_python_in(home)), "-I", str(PROGRAMS / self.program))
        return Installed({job: (*start, job, *self.arguments) for job in self.jobs}, self._versions(home))

    def group(self, app_id: str) -> str:
        return app_id

    def _install(self, environment: Environment, console: Console) -> None:
        environment.begin()
        home, log, python = environment.home, environment.home / "install.log", str(_python_in(environment.home))
        with progress(console, f"installing {self.name} ({', '.join(self.requirements)}) into {home}, once") as told:
            run_step((sys.executable, "-m", "venv", str(home / "venv")), f"making {home / 'venv'}", log, told)
            pip = (python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
            run_step((*pip, "--prefer-binary", *self.requirements), f"installing {self.name}", log, told)
        environment.finish()

    def _versions(self, home: Path) -> dict[str, str]:
        installed = {
            found.name.lower(): found.version
            for lib in (home / "venv").glob("lib/python*/site-packages")
            for found in distributions(path=[str(lib)])
        }
        return {package: installed.get(package, "unknown") for package in self.shown} | {"Python": platform.python_version()}


def _python_in(home: Path) -> Path:
    return home / "venv" / "bin" / "python"
