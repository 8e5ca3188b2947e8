"""Processes known by pid and start time, so that a pid which the system gave to another program is never signalled.

Run as a script, this file is the watchdog of `die_with_parent`: it waits for the end of its standard input, which is
the death of whoever holds the other end, then ends the process that it was told. Standard library only, for that reason.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

POLL = 0.05
"""Seconds between two looks at a process that is no child of ours, which no call of the system can wait for."""


def _from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name stands in brackets and may hold spaces and brackets itself; state is field 3, start time field 22.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _from_ps(pid: int) -> str | None:
    listing = subprocess.run(
        ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)],
        env={"LC_ALL": "C", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    state, _, started = listing.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def identity(pid: int) -> str | None:
    """Return what tells this process from every other that has or had its pid; None when it is dead or a zombie."""
    return _from_proc(pid) if Path("/proc/self/stat").exists() else _from_ps(pid)


@dataclass(frozen=True, slots=True)
class Process:
    """One process for ever, whoever gets its pid later."""

    pid: int
    identity: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the live process that has this pid now, or None."""
        known = identity(pid)
        return None if known is None else cls(pid, known)

    def is_alive(self) -> bool:
        return identity(self.pid) == self.identity

    def signal(self, number: int) -> None:
        """Send the signal, or do nothing when the process is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    def end(self, seconds: float, *, kill_after: bool = True) -> bool:
        """SIGTERM, wait `seconds`, then SIGKILL; return whether the process went by itself. A paused one is resumed first."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if self.gone_within(seconds):
            return True
        if kill_after:
            self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone. Raises TimeoutError: the system did not end it within 20 s."""
        self.signal(signal.SIGKILL)
        if not self.gone_within(20):
            raise TimeoutError(f"process {self.pid} outlived SIGKILL by 20 s")


def watch(process: Process) -> subprocess.Popen[bytes]:
    """Start a watchdog that ends `process` once we are dead or close the returned process's standard input."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(process.pid), process.identity],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C in our terminal is ours to handle
    )


def _watchdog(pid: str, known: str) -> None:
    process = Process(int(pid), known)
    sys.stdin.buffer.read()
    process.end(10)


if __name__ == "__main__":
    _watchdog(sys.argv[1], sys.argv[2])
