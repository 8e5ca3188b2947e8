"""The thread that takes a sample every `lag_sample_interval`: the engine's facts from the loop, the logs' ends from the broker.

It waits for both, so that the loop waits for neither. What nobody answered in time is unknown in that sample, never 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from streamapp.clock import Clock, Deadline, SystemClock
from streamapp.errors import StreamAppError
from streamapp.events import Event, log_event
from streamapp.kafka.surroundings import Surroundings
from streamapp.monitor import keeping
from streamapp.monitor.lag.inputs import Sample
from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.monitor.watch import Around, LagWatch, Past, View
from streamapp.pipeline.facts import EngineFacts
from streamapp.ports import LogEnds, Watermarks
from streamapp.records import Partition

log = logging.getLogger(__name__)

STARTS_EVERY: Final = 60.0
"""Seconds between two questions for where logs begin: retention moves that in whole segments."""
KEEP_EVERY: Final = 60.0
"""Seconds between two writes of what is remembered: what a kill may cost."""
ANSWER: Final = 4.0
"""Seconds that the broker may take, at most: a question that takes as long as half a sample's interval is late for it."""
LOOP_ANSWER: Final = 30.0
"""Seconds that the loop may take to tell its facts; the sample is left out then."""
PAUSE: Final = 0.001
"""Seconds between two partitions that are judged: one takes as long, and the interpreter has one lock for this thread and the loop."""
STOP: Final = 2.0
"""Seconds that a stop waits for the call under way."""


class Watched(Protocol):
    """What a sampler asks of a worker."""

    def facts(self) -> EngineFacts:
        """On the loop."""
        ...

    def assignment(self) -> Collection[Partition]:
        """Any thread."""
        ...

    def restoring(self) -> Sequence[dict[str, Any]]:
        """Any thread."""
        ...


class Asks(Protocol):
    """An `Enquiry`, or what a test has in its place."""

    def answer(self) -> Surroundings | None: ...
    def soon(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a sampler works with. Factories run on its thread."""

    watermarks: Callable[[], Watermarks]
    asks: Asks
    workers_of: Callable[[Surroundings], int | None]
    """Distinct worker ids among the group's members."""
    past: Callable[[], Past]
    """Looks up what came before this process, and writes down this start. Asked until it answers; may raise StreamAppError."""
    directory: Path | None = None
    """Where samples outlive the process; None: nowhere."""
    starts_every: float = STARTS_EVERY
    told_surroundings: Callable[[Surroundings], None] = lambda _: None
    clock: Clock = field(default_factory=SystemClock)


class Sampler:
    """One thread, `lag`. Start it when the engine has started; what it came to is `view`."""

    def __init__(
        self, watched: Watched, watch: LagWatch, parts: Parts, *, interval: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.view: View | None = None
        """What the last sample came to; replaced whole. Any thread."""
        self.loop_lag: float | None = None
        """Seconds that the loop took to begin telling its facts."""
        self.watch = watch
        self._watched = watched
        self._parts = parts
        self._interval = interval
        self._loop = loop
        self._clock = parts.clock
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._happened: deque[tuple[bool, frozenset[Partition], float]] = deque()
        # The thread's own:
        self._watermarks: Watermarks | None = None
        self._past_known = False
        self._around = Around()
        self._reachable = True
        self._starts_at = -parts.starts_every
        self._starts_of: set[Partition] = set()
        self._kept_at = self._clock.monotonic()

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="lag", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Ask the thread to end; returns at once. May come twice, or before start."""
        self._stopping.set()

    def stop(self, timeout: float = STOP) -> None:
        """End the thread, and wait for it. A call to a silent broker may outlast that; nothing depends on it."""
        self.end()
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def around(self) -> Around:
        """What is known of the world around. Any thread."""
        return self._around

    def history(self, partition: Partition, *, of_a_day: bool = False) -> Sequence[Sample]:
        """Return what is remembered of a partition, oldest first. Any thread."""
        return self.watch.history(partition, of_a_day=of_a_day)

    # --- EngineListener: on the loop

    def on_assigned(self, partitions: set[Partition]) -> None:
        self._happened.append((True, frozenset(partitions), self._clock.wall()))
        if not partitions and not self._watched.assignment():
            self._parts.asks.soon()  # a spare: who are the others?

    def on_revoked(self, partitions: set[Partition]) -> None:
        self._happened.append((False, frozenset(partitions), self._clock.wall()))

    def on_restored(self, partitions: set[Partition]) -> None:
        """The next sample tells."""

    # --- the thread

    def _run(self) -> None:
        try:
            self._recall()
            due = self._clock.monotonic()
            while not self._stopping.is_set():
                try:
                    self._turn()
                except Exception:  # the thread's edge: the worker goes on without this sample rather than not at all
                    log.exception("taking a sample of lag failed; the next one follows")
                due = max(due + self._interval, self._clock.monotonic())
                self._wait(due)
            self._keep()
        finally:
            self._parts.asks.stop()
            if self._watermarks is not None:
                self._watermarks.close()

    def _wait(self, until: float) -> None:
        """Wait for the next sample; what a child found out is taken in meanwhile."""
        while not self._stopping.is_set() and (left := until - self._clock.monotonic()) > 0:
            self._stopping.wait(min(left, 1.0))
            self._look_around()

    def _turn(self) -> None:
        self._look_into_the_past()
        self._look_around()
        self._hear()
        owned = list(self._watched.assignment())
        ends, starts = self._ask(owned)
        facts = self._facts()
        if facts is None:
            return
        self._hear()
        self.view = self.watch.sample(
            facts, ends, starts, self._watched.restoring(), self._around, reachable=self._reachable, pause=self._let_others
        )
        if self._clock.monotonic() - self._kept_at >= KEEP_EVERY:
            self._keep()

    def _let_others(self) -> None:
        self._stopping.wait(PAUSE)

    def _ask(self, owned: Sequence[Partition]) -> tuple[dict[Partition, LogEnds], dict[Partition, int]]:
        if not owned:
            return {}, {}
        if self._watermarks is None:
            self._watermarks = self._parts.watermarks()
        within = Deadline.after(max(0.5, min(ANSWER, self._interval / 2)), self._stopping)
        ends = self._watermarks.ends(owned, within)
        self._reachable = bool(ends)
        now = self._clock.monotonic()
        starts: dict[Partition, int] = {}
        if ends and (now - self._starts_at >= self._parts.starts_every or not self._starts_of.issuperset(owned)):
            starts = self._watermarks.starts(owned, within)
            self._starts_at, self._starts_of = now, set(starts)
        return ends, starts

    def _facts(self) -> EngineFacts | None:
        """Have the loop tell its facts. None: it is over, or did not get to it."""
        told: Future[EngineFacts] = Future()
        asked = self._clock.monotonic()

        def tell() -> None:
            self.loop_lag = self._clock.monotonic() - asked
            if not told.set_running_or_notify_cancel():
                return
            try:
                told.set_result(self._watched.facts())
            except Exception as failure:  # it surfaces on the thread that asked
                told.set_exception(failure)

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(tell)
        within = Deadline.after(LOOP_ANSWER, self._stopping)
        while not within.passed:
            with contextlib.suppress(TimeoutError):
                return told.result(within.slice(0.2))
        told.cancel()
        return None

    def _hear(self) -> None:
        while self._happened:
            is_assigned, partitions, at = self._happened.popleft()
            (self.watch.assigned if is_assigned else self.watch.revoked)(partitions, at)

    def _look_around(self) -> None:
        found = self._parts.asks.answer()
        if found is None:
            return
        self._around = replace(
            self._around,
            topics={topic: TopicLimits.of(config) for topic, config in found.topics.items()},
            offsets_retention=found.offsets_retention,
            workers=self._parts.workers_of(found),
        )
        self._parts.told_surroundings(found)

    def _look_into_the_past(self) -> None:
        if self._past_known:
            return
        with contextlib.suppress(StreamAppError):  # no answer: at the next sample, then
            self.watch.began(self._parts.past())
            self._past_known = True

    def _recall(self) -> None:
        if self._parts.directory is not None:
            app_id, reach = self.watch.config.group, self.watch.reach
            self.watch.recall(keeping.load(self._parts.directory, app_id, reach, self._clock.wall()))

    def _keep(self) -> None:
        self._kept_at = self._clock.monotonic()
        if self._parts.directory is None:
            return
        try:
            keeping.save(self._parts.directory, self.watch.config.group, self.watch.memories())
        except OSError as failure:
            log_event(log, logging.WARNING, Event.CLEANUP_FAILED, f"samples of lag cannot be kept: {failure}")


__all__ = ["Asks", "Parts", "Sampler", "Watched"]
