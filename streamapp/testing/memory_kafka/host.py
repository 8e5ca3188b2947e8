"""What dies together: the clients of one process, and the faults that strike their calls."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from streamapp.testing.memory_kafka.broker import MemoryKafka

T = TypeVar("T")


class ProcessDied(BaseException):
    """The process that made this call is dead. A BaseException, so that nothing of it goes on as after an error."""


class Call(StrEnum):
    """What of a client can be struck by a fault."""

    INIT = "init"
    BEGIN = "begin"
    PRODUCE = "produce"
    """The local hand-over of one record."""
    DELIVER = "deliver"
    """The way of one record to the broker, in flush, wait or serve."""
    FLUSH = "flush"
    SEND_OFFSETS = "send_offsets"
    COMMIT = "commit"
    ABORT = "abort"
    COMMITTED = "committed"
    SOURCE_COMMIT = "source_commit"
    CHANGELOG_BOUNDS = "changelog_bounds"
    CHANGELOG_READ = "changelog_read"


@dataclass(slots=True, kw_only=True)
class Fault:
    """What one call does instead of, or beside, its work."""

    error: Exception | None = None
    """What it raises."""
    is_done: bool = False
    """Whether the broker does the work all the same: the answer is lost."""
    dies: bool = False
    """The process dies there: before the work, or after it where `is_done`."""
    is_late: bool = False
    """Of send_offsets, commit and abort: a second copy of the request is under way (`strays`), and the client knows that it took long."""
    hold: threading.Event | None = None
    """The call waits for it: before the work, or with its answer where `is_done`."""


class MemoryHost:
    """One process: its clients see its death at their next call. Thread-safe."""

    def __init__(self, broker: MemoryKafka, name: str) -> None:
        self.broker = broker
        self.name = name
        self.is_alive = True
        self.strays: list[Callable[[], None]] = []
        """Copies of requests that are still on their way; calling one lets it arrive. It may raise Refused: so it did no harm."""
        self.struck: list[Call] = []
        self.holding = 0
        """Calls that wait in a fault's `hold`."""
        self._faults: dict[Call, deque[Fault]] = {}

    def fail(self, call: Call, *faults: Fault) -> None:
        """Let the next calls of this kind fail, one after the other."""
        with self.broker.lock:
            self._faults.setdefault(call, deque()).extend(faults)

    def forget_faults(self) -> None:
        """Take back what has not struck yet."""
        with self.broker.lock:
            self._faults.clear()

    def kill(self) -> None:
        """No client of it reaches the broker any more; what it left open stays open, as after SIGKILL."""
        with self.broker.changed:
            self.is_alive = False
            self.broker.changed.notify_all()

    def check_alive(self) -> None:
        if not self.is_alive:
            raise ProcessDied(self.name)

    def strike(self, call: Call) -> Fault | None:
        """Return the fault that strikes this call, if any. Raises ProcessDied."""
        self.check_alive()
        with self.broker.lock:
            queue = self._faults.get(call)
            fault = queue.popleft() if queue else None
            if fault is not None:
                self.struck.append(call)
        return fault

    def call(self, call: Call, work: Callable[[], T], *, fault: Fault | None = None) -> T:
        """Do `work` as `fault` (or the next of its kind) lets it."""
        fault = self.strike(call) if fault is None else fault
        if fault is None:
            return work()
        if not fault.is_done:
            self._end(fault)
        done = work()
        if fault.is_done:
            self._end(fault)
        return done

    def _end(self, fault: Fault) -> None:
        if fault.hold is not None:
            self._wait(fault.hold)
        if fault.dies:
            self.kill()
            raise ProcessDied(self.name)
        if fault.error is not None:
            raise fault.error

    def _wait(self, hold: threading.Event) -> None:
        with self.broker.lock:
            self.holding += 1
        try:
            while not hold.wait(0.02):
                self.check_alive()
            self.check_alive()
        finally:
            with self.broker.lock:
                self.holding -= 1
