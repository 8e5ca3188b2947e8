"""Asks in a child process what a worker may not ask itself (DESIGN rule 19). Never waits: `answer` looks whether it has come."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Final

import msgspec

from streamapp.clock import Clock, SystemClock
from streamapp.kafka.surroundings import LIFE, Question, Surroundings

AGAIN_AFTER_FAILURE: Final = 30.0
"""Seconds after which an enquiry that came to nothing is made again."""
APART: Final = 5.0
"""Seconds between two enquiries at least, however often a group turns."""
_COMMAND: Final = (sys.executable, "-m", "streamapp.kafka.surroundings")


class Enquiry:
    """One child process at a time, every `every` seconds. One thread; `stop` ends what runs."""

    def __init__(
        self,
        question: Callable[[], Question],
        *,
        every: float,
        first: float,
        command: tuple[str, ...] = _COMMAND,
        clock: Clock | None = None,
    ) -> None:
        """`first`: seconds until the first one; a worker's start has better things to do."""
        self._question = question
        self._every = every
        self._command = command
        self._clock = clock or SystemClock()
        self._asked = -math.inf
        self._due = self._clock.monotonic() + first
        self._process: subprocess.Popen[bytes] | None = None
        self._files: tuple[IO[bytes], IO[bytes]] | None = None
        self._give_up = 0.0

    def soon(self) -> None:
        """Ask at once, or `APART` seconds after the last time. Any thread."""
        self._due = min(self._due, max(self._clock.monotonic(), self._asked + APART))

    def answer(self) -> Surroundings | None:
        """Return what was found out since the last call, None where nothing was; starts the next enquiry when it is due."""
        now = self._clock.monotonic()
        if self._process is None:
            if now >= self._due:
                self._start(now)
            return None
        if self._process.poll() is None:
            if now >= self._give_up:
                self._end()
            return None
        return self._take(now)

    def stop(self) -> None:
        """End the child, if there is one. May be called twice."""
        self._end()

    def _start(self, now: float) -> None:
        self._asked, self._due = now, now + self._every
        # Files, not pipes: a pipe that nobody reads at once stops whoever fills it. They have no name, and only we can open them.
        asked, told = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        self._files = asked, told
        asked.write(msgspec.json.encode(self._question()))
        asked.seek(0)
        try:
            self._process = subprocess.Popen(self._command, stdin=asked, stdout=told, stderr=subprocess.DEVNULL)
        except OSError:  # no memory, no process left: later, then
            self._end()
            return
        self._give_up = now + LIFE

    def _take(self, now: float) -> Surroundings | None:
        process, files = self._process, self._files
        assert process is not None
        assert files is not None
        found = None
        if process.returncode == 0:
            files[1].seek(0)
            with contextlib.suppress(msgspec.DecodeError):
                found = msgspec.json.decode(files[1].read(), type=Surroundings)
        if found is None:
            self._due = min(self._due, now + AGAIN_AFTER_FAILURE)
        self._end()
        return found

    def _end(self) -> None:
        process, self._process = self._process, None
        files, self._files = self._files, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        for file in files or ():
            file.close()


__all__ = ["Enquiry"]
