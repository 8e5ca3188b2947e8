"""A worker that dies, fails or freezes at a named fault point, because a test said so in its environment. For tests only.

STREAMAPP_TEST_CRASH_AT=after-commit                  SIGKILL to its own process when it first gets there
STREAMAPP_TEST_CRASH_AT=after-flush:3                 the third time
STREAMAPP_TEST_CRASH_AT=after-flush=raise             the unit of work is refused there, as a broker may refuse it
STREAMAPP_TEST_CRASH_AT=after-flush=fence             the producer is of no more use there, as when the broker fenced it
STREAMAPP_TEST_CRASH_AT=in-assign=stop                SIGSTOP: frozen until somebody sends SIGCONT
STREAMAPP_TEST_CRASH_AT=after-flush=raise,abort-before-rewind    the first unit aborts, and the abort is where it dies
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn

from streamapp import faults
from streamapp.errors import CommitRefused, ProducerUnusable, SettingInvalid
from streamapp.faults import FaultPoint

CRASH_AT: Final = "STREAMAPP_TEST_CRASH_AT"
"""The variable. Its prefix is no setting's, so a worker's settings ignore it."""

_FORM: Final = re.compile(r"(?P<point>[a-z-]+)(:(?P<time>[1-9][0-9]*))?(=(?P<how>[a-z]+))?")


class How(StrEnum):
    """What happens at the point."""

    KILL = "kill"
    RAISE = "raise"
    FENCE = "fence"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Crash:
    """One thing to happen: at `point`, when it is reached for the `time`-th time."""

    point: FaultPoint
    time: int = 1
    how: How = How.KILL


def install_from(environ: Mapping[str, str]) -> bool:
    """Take the fault hook as `environ` says; return whether it says anything. Raises SettingInvalid: it names no fault point."""
    text = environ.get(CRASH_AT, "")
    if not text:
        return False
    faults.hook = _Hook(read(text))
    return True


def read(text: str) -> tuple[Crash, ...]:
    """Return what the variable's value stands for. Raises SettingInvalid."""
    return tuple(_one(part.strip()) for part in text.split(","))


def _one(text: str) -> Crash:
    form = _FORM.fullmatch(text)
    if form is None or form["point"] not in list(FaultPoint) or (form["how"] or How.KILL) not in list(How):
        points = ", ".join(FaultPoint)
        raise SettingInvalid(f"{CRASH_AT}={text}: must be point[:n][=kill|raise|fence|stop], the point one of {points}")
    return Crash(FaultPoint(form["point"]), int(form["time"] or 1), How(form["how"] or How.KILL))


class _Hook:
    def __init__(self, crashes: tuple[Crash, ...]) -> None:
        self._crashes = crashes
        self._reached: dict[FaultPoint, int] = {}
        self._lock = threading.Lock()  # points are reached on several threads

    def __call__(self, point: FaultPoint) -> None:
        with self._lock:
            times = self._reached[point] = self._reached.get(point, 0) + 1
        for crash in self._crashes:
            if crash.point is point and crash.time == times:
                _happen(crash)


def _happen(crash: Crash) -> None:
    match crash.how:
        case How.KILL:
            _die()
        case How.STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        case How.RAISE:
            raise CommitRefused(f"{CRASH_AT}: refused at {crash.point}")
        case How.FENCE:
            raise ProducerUnusable(f"{CRASH_AT}: unusable at {crash.point}")


def _die() -> NoReturn:
    # Nothing may run after it on this thread, and a signal to oneself need not arrive before kill() returns.
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(60)


__all__ = ["CRASH_AT", "Crash", "How", "install_from", "read"]
