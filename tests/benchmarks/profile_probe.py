"""A worker with a probe: `python -m tests.benchmarks.profile_probe -A app worker …`, notes to the file that BENCH_PROFILE names.

The main thread is sampled: a timer interrupts it between two bytecodes, and what CPU it used since the last sample goes to the stage that
its stack is in (time goes by the clock, as the kernel's timers of CPU time tick every 4 ms only). Clocks around the functions of a record would cost as much as the functions (0.3 µs for a
read of a thread's CPU clock, some fourteen a record). The transaction thread's parts come five times a second, so they have clocks. All
other threads are read off the kernel's books.
"""

from __future__ import annotations

import atexit
import functools
import linecache
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from tests.benchmarks.profile_stages import ELSEWHERE, MAIN, Frame, Snapshot, stage_of

NOTES: Final = "BENCH_PROFILE"

EVERY: Final = 0.001
"""Seconds between two samples; each takes some 10 µs."""

NOTE_EVERY: Final = 0.4
"""Seconds between two notes: a few in the shortest run, and half a millisecond each."""

PARTS: Final = {
    "produce waiting outputs": "streamapp.pipeline.commit:Commit._produce_outbox",
    "produce changelog": "streamapp.pipeline.commit:Commit._produce_changelog",
    "flush": "streamapp.kafka.producer:KafkaProducer.flush",
    "send offsets": "streamapp.kafka.producer:KafkaProducer.send_offsets",
    "commit": "streamapp.kafka.producer:KafkaProducer.commit",
    "apply": "streamapp.pipeline.commit:Commit.apply",
}
"""What the transaction thread does for a commit."""

COMMITTED: Final = "streamapp.pipeline.admission:Admission.committed"
"""Called with each unit that became durable; notes are taken there."""

DEEPEST: Final = 40
"""Frames of a stack that are looked at."""


class Probe:
    """What was counted so far."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._main: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._parts: Counter[str] = Counter()
        self._records = 0
        self._samples = 0
        self._noted_at = 0.0
        self._since = time.thread_time_ns()

    def install(self) -> None:
        """Put clocks around the transaction thread's parts, and begin to sample. On the main thread."""
        for name, place in PARTS.items():
            owner, attribute = found(place)
            setattr(owner, attribute, self._clocked(name, getattr(owner, attribute)))
        owner, attribute = found(COMMITTED)
        setattr(owner, attribute, self._noting(getattr(owner, attribute)))
        signal.signal(signal.SIGALRM, self._sample)
        signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
        # Without a handler, which the interpreter takes away at its end, the signal kills.
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

    def _sample(self, number: int, innermost: FrameType | None) -> None:
        now = time.thread_time_ns()
        used, self._since = now - self._since, now
        stack: list[Frame] = []
        frame = innermost
        while frame is not None and len(stack) < DEEPEST:
            code = frame.f_code
            stack.append(Frame(code.co_filename, code.co_name, linecache.getline(code.co_filename, frame.f_lineno or 0)))
            frame = frame.f_back
        stage = stage_of(stack)
        if stage == ELSEWHERE:
            self._unknown[stack[0].file if stack else "?"] += 1
        self._main[stage] += used
        self._samples += 1

    def _clocked(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        parts, clock = self._parts, time.thread_time_ns

        @functools.wraps(function)
        def clocked(*args: Any, **options: Any) -> Any:
            before = clock()
            try:
                return function(*args, **options)
            finally:
                if threading.current_thread() is not threading.main_thread():
                    parts[name] += clock() - before

        return clocked

    def _noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noting(admission: Any, unit: Any) -> Any:
            answer = function(admission, unit)
            self._records += unit.records
            self._note()
            return answer

        return noting

    def _note(self) -> None:
        now = time.monotonic()
        if now - self._noted_at < NOTE_EVERY:
            return
        self._noted_at = now
        snapshot = Snapshot(
            records=self._records,
            process=time.process_time(),
            main={name: spent / 1e9 for name, spent in self._main.copy().items()},
            unknown=dict(self._unknown.copy()),
            parts={name: spent / 1e9 for name, spent in self._parts.copy().items()},
            threads=threads(),
            samples=self._samples,
        )
        with self._notes.open("ab") as notes:
            notes.write(msgspec.json.encode(snapshot) + b"\n")


def found(place: str) -> tuple[Any, str]:
    """Return class and attribute of `module:Class.method`. Raises LookupError: the engine has it no more."""
    module, _, path = place.partition(":")
    name, _, attribute = path.partition(".")
    owner = getattr(import_module(module), name, None)
    if owner is None or not callable(getattr(owner, attribute, None)):
        raise LookupError(f"the engine has no {place}: tell PARTS in tests/benchmarks/profile_probe.py its new place")
    return owner, attribute


def threads() -> dict[str, float]:
    """Return CPU seconds by thread; those of one kind together."""
    ours = {thread.native_id: thread.name for thread in threading.enumerate()}
    ours[threading.main_thread().native_id] = MAIN
    spent: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        try:
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            name = ours.get(int(task.name)) or kind((task / "comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now
        spent[name] += nanoseconds
    return {name: nanoseconds / 1e9 for name, nanoseconds in spent.items()}


def kind(comm: str) -> str:
    """Return what a thread that is not Python's is for."""
    if comm.startswith("rdk:broker"):
        return "librdkafka: connections"
    if comm.startswith("rdk:"):
        return "librdkafka: the rest"
    if comm.startswith("rocksdb"):
        return "RocksDB: flush and compaction"
    return comm


def main() -> None:
    from faust.cli.faust import cli  # what the `faust` command runs

    Probe(Path(os.environ[NOTES])).install()
    sys.argv[0] = "faust"
    cli()


if __name__ == "__main__":
    main()
