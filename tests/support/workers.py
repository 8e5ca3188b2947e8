"""Real workers as processes: `faust -A streamapp worker`, each with its id, data directory and log.

Every process started here is ended by `Workers.close()`, by its pid, also when a test fails in between.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Any, Final, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.support.process_cost import cpu_seconds
from tests.support.topics import TookTooLong, wait_until
from tests.support.weakening import WEAKEN

ROOT: Final = Path(__file__).parents[2]
FAUST: Final = Path(sys.executable).with_name("faust")
WORKER: Final = (str(FAUST), "-A", "streamapp", "worker", "-l", "info")
# Kept through exec, so the pid is the worker's own. It dies when the thread that started it ends: start it on the main one.
BOUND_TO_US: Final = ("setpriv", "--pdeathsig", "KILL") if which("setpriv") else ()
CRASH_AT: Final = "STREAMAPP_TEST_CRASH_AT"
CLEAN_STOP: Final = 25.0
"""Seconds: the contract's 10 plus the attempt timeout of a call in hand, and some for a busy machine."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Worker:
    """One worker id: its process comes and goes, its data directory and its log stay."""

    def __init__(
        self,
        worker_id: str,
        home: Path,
        env: Mapping[str, str],
        command: Sequence[str],
        *,
        bound: bool = True,
        cwd: Path = ROOT,
    ) -> None:
        self.id, self.command, self.bound, self.cwd = worker_id, list(command), bound, cwd
        self.data_dir = home / worker_id
        self.log = home / f"{worker_id}.log"
        self.env = dict(env)
        self.lives = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, crash_at: str | None = None, **env: str) -> Worker:
        """Start a process, with `env` and the fault point of this life only. It may not be alive already."""
        assert not self.alive, f"{self.id} runs already, pid {self.pid}"
        own = {"STREAMAPP_WORKER_ID": self.id, "STREAMAPP_DATA_DIR": str(self.data_dir), "STREAMAPP_LOG_FORMAT": "text"}
        whole = {**_outside(), **own, **self.env, **env}
        if crash_at is not None:
            whole[CRASH_AT] = crash_at
        self.lives += 1
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"--- {self.id}, life {self.lives} ---\n".encode())
            log.flush()
            # Its own session: a Ctrl-C at the terminal is ours to handle, in our order.
            self._process = subprocess.Popen(
                [*BOUND_TO_US, *self.command] if self.bound else self.command,
                cwd=self.cwd,
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.id} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 after a SIGKILL."""
        return None if self._process is None else self._process.poll()

    @property
    def web_port(self) -> int | None:
        port = int(self.env.get("STREAMAPP_WEB_PORT", "0"))
        return port or None

    def send(self, signal_number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, signal_number)

    def kill(self) -> int:
        """SIGKILL, and return once it is gone."""
        self.send(signal.SIGKILL)
        return self.wait(10)

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def stop(self, deadline: float = CLEAN_STOP) -> int:
        """SIGTERM, and return the exit code: 0 is what the contract promises."""
        self.send(signal.SIGTERM)
        return self.wait(deadline)

    def wait(self, deadline: float = 30.0) -> int:
        """Wait for the exit and return its code. Raises TookTooLong with the log's end."""
        assert self._process is not None, f"{self.id} was never started"
        try:
            return self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"{self.id} (pid {self.pid}) did not exit within {deadline:g} s\n{self.tail()}") from None

    def ready(self, deadline: float = 60.0) -> float:
        """Wait until /readyz answers 200; return the seconds. Needs a web port. Raises at once when the worker exits."""
        port = self.web_port
        assert port is not None, f"{self.id} has no web port: watch committed offsets instead"

        def answers() -> bool:
            assert self.alive, f"{self.id} exited with {self.exit_code}\n{self.tail()}"
            return _status(f"http://127.0.0.1:{port}/readyz") == 200

        return wait_until(answers, deadline=deadline, every=0.1, why=lambda: f"{self.id} is not ready\n{self.tail()}")

    def readiness(self) -> dict[str, Any]:
        """Return what /readyz says, whatever its status; empty where nobody answers. Needs a web port."""
        return _answer(f"http://127.0.0.1:{self.web_port}/readyz")

    def cpu_seconds(self) -> float:
        """User and system seconds of the process so far."""
        return cpu_seconds(self.pid)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 25) -> str:
        return "\n".join(f"  {self.id}| {line}" for line in self.log_text().splitlines()[-lines:])

    def close(self) -> None:
        """End it, whatever state it is in. May be called twice."""
        if self.alive:
            self.resume()  # a stopped process takes SIGTERM only once it goes on
            self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)


class Workers:
    """The workers of one test or demo, on one broker and in one directory. A context manager."""

    def __init__(
        self,
        bootstrap: str,
        home: Path,
        *,
        command: Sequence[str] = WORKER,
        bound: bool = True,
        cwd: Path = ROOT,
        **env: str,
    ) -> None:
        """`bound`: they die with this process, also when it is killed (where util-linux is there to see to it).

        `cwd`: the folder that they run in, another project's for instance.
        """
        self.bootstrap, self.home, self.command, self.bound, self.cwd = bootstrap, home, command, bound, cwd
        self._env = {"STREAMAPP_BROKER": bootstrap, "STREAMAPP_WEB_PORT": "0", **env}
        self.all: dict[str, Worker] = {}

    def start(self, worker_id: str, *, web: bool = False, crash_at: str | None = None, **env: str) -> Worker:
        """Start a worker, or the next life of one that ended. `env` holds for this life only.

        `web` gives it a free port, so that `ready()` works; it keeps the port for later lives.
        """
        worker = self.all.get(worker_id)
        if worker is None:
            own = dict(self._env)
            if web:
                own["STREAMAPP_WEB_PORT"] = str(free_port())
            worker = self.all[worker_id] = Worker(worker_id, self.home, own, self.command, bound=self.bound, cwd=self.cwd)
        return worker.start(crash_at=crash_at, **env)

    def __getitem__(self, worker_id: str) -> Worker:
        return self.all[worker_id]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.all.values() if worker.alive]

    def stop(self, deadline: float = CLEAN_STOP) -> dict[str, int]:
        """SIGTERM to all, then wait for each; return the exit codes."""
        living = self.alive
        for worker in living:
            worker.send(signal.SIGTERM)
        end = time.monotonic() + deadline
        return {worker.id: worker.wait(max(0.1, end - time.monotonic())) for worker in living}

    def close(self) -> None:
        for worker in self.all.values():
            worker.close()

    def tails(self) -> str:
        return "\n".join(worker.tail() for worker in self.all.values())


@pytest.fixture
def workers(bootstrap: str, tmp_path: Path) -> Iterator[Workers]:
    """Workers on the test's broker, all ended with the test; their logs are shown when it fails."""
    with Workers(bootstrap, tmp_path / "workers") as made:
        yield made
        print(made.tails())


def _outside() -> dict[str, str]:
    """Return our environment without settings of the framework or of Faust: a test says all that it means.

    Save which engine a negative control runs with: its workers lack the same rule.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name == WEAKEN or not name.startswith(("STREAMAPP_", "ORDER_PROCESSOR_", "FAUST_", "COVERAGE_"))
    }


def _answer(url: str) -> dict[str, Any]:
    try:
        with urlopen(url, timeout=2) as answer:
            return dict(json.load(answer))
    except HTTPError as error:
        return dict(json.load(error))
    except (URLError, OSError):
        return {}


def _status(url: str) -> int:
    try:
        with urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return 0
