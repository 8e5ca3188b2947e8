"""A contender's process while it is measured, with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks.contenders import Contender
from tests.support.process_cost import cpu_seconds, peak_rss_bytes
from tests.support.topics import TookTooLong
from tests.support.workers import BOUND_TO_US, ROOT

STOP: Final = 30.0


class Running:
    """The process and its descendants: some frameworks run as a child of what starts them."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def require_alive(self, what: str) -> None:
        """Raise AssertionError with `what` when it ended."""
        if (code := self._process.poll()) is not None:
            raise AssertionError(f"the worker ended with {code}, {what}")

    def cpu_seconds(self) -> float:
        """User and system seconds of all of it so far. A child that ended in between counts up to our last look at most."""
        return sum(_of_living(cpu_seconds, self._pids()))

    def peak_rss_bytes(self) -> int:
        """The sum of each living process's most: for several at once an upper bound."""
        return int(sum(_of_living(peak_rss_bytes, self._pids())))

    def _pids(self) -> list[int]:
        self.require_alive("when it was looked at")
        own = psutil.Process(self._process.pid)
        return [own.pid, *(child.pid for child in own.children(recursive=True))]


def _of_living(cost: Callable[[int], float], pids: list[int]) -> Iterator[float]:
    for pid in pids:
        try:
            yield cost(pid)
        except (FileNotFoundError, LookupError):
            continue


@contextmanager
def running(contender: Contender, *, bootstrap: str, app_id: str, home: Path, commit_interval: float) -> Iterator[Running]:
    """Run the contender in a process of its own; it gets SIGTERM at the end, and SIGKILL when that is not enough."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "ORDER_PROCESSOR_"))}
    settings = {
        "STREAMAPP_BROKER": bootstrap,
        "STREAMAPP_APP_ID": app_id,
        "STREAMAPP_WORKER_ID": "w1",
        "STREAMAPP_DATA_DIR": str(home / app_id),
        "STREAMAPP_COMMIT_INTERVAL": str(commit_interval),
        "STREAMAPP_WEB_PORT": "0",
        **dict(contender.env),
    }
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{app_id}.log").open("wb") as log:
        process = subprocess.Popen(
            [*BOUND_TO_US, *contender.command],
            cwd=ROOT,
            env=plain | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(process)
    except AssertionError as error:
        error.add_note(_tail(home / f"{app_id}.log"))
        raise
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP)
    # Also what it started: a child that outlives its parent would run beside the next contender.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        raise TookTooLong(f"process {process.pid} does not end") from None


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(f"  | {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])
