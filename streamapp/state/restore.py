"""One table partition on its way to its changelog's end: what is read, what may be kept, when it is done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from streamapp import faults
from streamapp.clock import Clock
from streamapp.errors import StateUnusable
from streamapp.events import Event, log_event
from streamapp.faults import FaultPoint
from streamapp.ports import ChangelogBatch, ChangelogBounds, ChangelogReader, Store
from streamapp.records import Partition
from streamapp.state.identity import require_known
from streamapp.state.stores import Opened, log_wiped

log = logging.getLogger(__name__)

BOUNDS_TIMEOUT = 2.0
"""Seconds that one question for the bounds may take; it is asked again. Short, as other partitions wait behind it."""

CLOCKS_APART = 60.0
"""Seconds by which a store may come from the future: what two clocks differ by, or one is set back."""

REFUSED_PAUSE = 0.2
"""Seconds before the bounds are asked again when an offset was refused: they tell what to do, but a new leader may need a moment."""

MOST_WIPES = 2
"""Wipes of one restore; a store that must go a third time lies on a disk that does not keep what it is given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RestoreTask:
    """A table partition to restore. Equal only to itself: each assignment makes its own."""

    changelog: Partition
    open: Callable[[], Opened]
    """Opens the store, its identity checked (`Stores.open`). Called on the restore thread."""
    delete_retention: float
    """The changelog's delete.retention.ms, in seconds: how long a tombstone can be counted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOutcome:
    """How a restore ended."""

    task: RestoreTask
    store: Store | None
    """The store, current to the high watermark of when the restore began; None when it did not open."""
    restored: int
    """Changelog records read."""
    wiped: str | None
    """Why the content had to go before; None when it was kept, or there was none."""
    seconds: float
    changelog_offset: int | None
    """The offset the store is current to."""
    failure: Exception | None
    """OSError when the disk refused, StateUnusable when it lost what it was given; None when all is well."""


class RestoreState(StrEnum):
    """asking -> reading <-> waiting -> finished; asking again when the reader is lost; failed or cancelled from any of the first three."""

    ASKING = "asking"
    """The store is to be opened and the broker asked for the changelog's bounds."""
    READING = "reading"
    WAITING = "waiting"
    """All that is visible is read; an open transaction holds the rest."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset((RestoreState.FINISHED, RestoreState.FAILED, RestoreState.CANCELLED))


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreProgress:
    """A restore at one moment, for status pages."""

    changelog: Partition
    state: RestoreState
    position: int | None
    """The next offset to read; None before the bounds are known."""
    target: int | None
    """The high watermark to reach."""
    restored: int
    rate: float
    """Records a second, of late."""
    seconds_left: float | None
    """By the offsets passed of late, of which a compacted log has more than records; None where none can be told."""
    waiting: float | None
    """Seconds spent waiting for an open transaction, or for an answer."""
    trouble: str | None
    """What stands in the way, as a sentence."""


class Cancelled(Exception):
    """The restore was cancelled; its store is no longer ours to write."""


class Restore:
    """One restore. All but `cancel` and `progress` on the restore thread.

    1 open     the store; what is corrupt or another's was wiped by whoever opens it
    2 ask      the changelog's log start and high watermark, now: the caller read the inputs' committed offsets before, which waits for
               the old owner's transaction, so this watermark covers all that it wrote
    3 decide   whether the content may be kept
    4 read     from the stored offset, read_committed, one apply per batch
    5 finish   at the high watermark. Not at the last stable offset: commit markers are written partition by partition, so the inputs'
               offsets can be settled while the changelog's last transaction is still open to readers
    """

    def __init__(self, task: RestoreTask, done: Callable[[RestoreOutcome], None], clock: Clock) -> None:
        self.task = task
        self.done = done
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock.monotonic()
        self._store: Store | None = None
        self._wiped: str | None = None
        self._wipes = 0
        self._restored = 0
        self._first: int | None = None
        self._position: int | None = None
        self._target: int | None = None
        self._asked_at = 0.0
        self._current_at = 0.0
        self._kept = False
        self._failure: Exception | None = None
        self._sampled = (self._began, 0, 0)
        self._rate: float | None = None
        self.pace = 0.0
        """Offsets a second, of late."""
        self.state = RestoreState.ASKING
        self.since = self._began
        """When `state`, or the position in it, last changed."""
        self.trouble: str | None = None
        self.retry_at = self._began
        self.attempts = 0

    @property
    def changelog(self) -> Partition:
        return self.task.changelog

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def left(self) -> int:
        """Offsets left to read, as far as known."""
        return 0 if self._target is None or self._position is None else max(0, self._target - self._position)

    def begin(self, reader: ChangelogReader) -> None:
        """Steps 1 to 4. Raises BrokerUnreachable; call it again. Others end the restore."""
        if self._store is None:
            with self._writing():
                self._store, self._wiped = self.task.open()
        self._asked_at = self._clock.wall()
        bounds = reader.bounds(self.changelog, BOUNDS_TIMEOUT)
        if reason := self._why_not(self._store, bounds):
            self.wipe(reason)
        stored = self._store.changelog_offset
        self._position = self._first = bounds.start if stored is None else stored
        self._target = bounds.high_watermark
        # While it is under way the store is as old as what it began with: a tombstone ahead may be dropped before we get there.
        self._kept = self._store.current_at is not None
        self._current_at = self._asked_at if self._store.current_at is None else self._store.current_at
        self._turn(RestoreState.READING)
        self.trouble, self.attempts = None, 0
        if self._position >= self._target:
            self._finish({})
            return
        log_event(
            log,
            logging.INFO if self.left > 1_000 else logging.DEBUG,
            Event.RESTORE_STARTED,
            f"Restoring {self.changelog} from {self._position} to {self._target}",
            topic=self.changelog.topic,
            partition=self.changelog.number,
            offset=self._position,
            target=self._target,
            reason=self._wiped,
        )
        reader.open(self.changelog, self._position)

    def take(self, batch: ChangelogBatch) -> None:
        """Step 4 for one batch, and 5 when it was the last. Raises what ends the restore."""
        assert self._position is not None and self._target is not None and self._store is not None  # noqa: PT018 - one state
        require_known(self.changelog, batch.format)
        self._restored += batch.records
        if batch.truncated:
            self.ask_again(f"the broker refused offset {self._position}", after=REFUSED_PAUSE)
            return
        if batch.position > self._position:
            self._position = batch.position
            self._turn(RestoreState.READING)
        if self._position >= self._target:
            self._finish(batch.writes)
            return
        if batch.writes:
            with self._writing():
                self._store.apply(batch.writes, self._position, current_at=self._current_at)
            faults.reached(FaultPoint.MID_RESTORE)
        if batch.at_end and self.state is RestoreState.READING:
            self._turn(RestoreState.WAITING)

    def ask_again(self, trouble: str | None, *, after: float) -> None:
        """Back to step 2, in `after` seconds: the store keeps what it has."""
        self._turn(RestoreState.ASKING)
        self.trouble = trouble
        self.retry_at = self._clock.monotonic() + after

    def wipe(self, reason: str) -> None:
        """Drop the content. Raises StateUnusable when it must go again and again, OSError when the disk refuses."""
        self._wipes += 1
        if self._store is None:
            raise StateUnusable(reason)
        if self._wipes > MOST_WIPES:
            raise StateUnusable(f"{self.changelog}: wiped {MOST_WIPES} times and unusable again: {reason}")
        log_wiped(str(self.changelog), reason)
        with self._writing():
            self._store.wipe()
        self._wiped = reason

    def fail(self, failure: Exception) -> bool:
        """End it; returns whether it was still under way."""
        with self._lock:
            if self._end(RestoreState.FAILED):
                self._failure = failure
                return True
        return False

    def cancel(self) -> bool:
        """End it; once this returns, nothing is written to the store any more. Any thread; waits for one apply or open at most.

        Returns whether it was still under way: only then is `done` never called.
        """
        with self._lock:
            return self._end(RestoreState.CANCELLED)

    def outcome(self) -> RestoreOutcome:
        return RestoreOutcome(
            task=self.task,
            store=self._store,
            restored=self._restored,
            wiped=self._wiped,
            seconds=self._clock.monotonic() - self._began,
            changelog_offset=self._store.changelog_offset if self._store is not None and self._failure is None else None,
            failure=self._failure,
        )

    def sample(self, now: float) -> None:
        """Take rate and pace, smoothed over the last seconds. Call it about once a second."""
        then, count, passed = self._sampled
        so_far = 0 if self._position is None or self._first is None else self._position - self._first
        if now > then:
            rate, pace = (self._restored - count) / (now - then), max(0, so_far - passed) / (now - then)
            fresh = 1.0 if self._rate is None else 0.5
            self._rate = rate if self._rate is None else self._rate + 0.5 * (rate - self._rate)
            self.pace += fresh * (pace - self.pace)
            self._sampled = (now, self._restored, so_far)

    def progress(self, now: float) -> RestoreProgress:
        """Any thread: each figure is whole, all of about the same moment."""
        state, position, target, pace = self.state, self._position, self._target, self.pace
        stands = state is not RestoreState.READING
        return RestoreProgress(
            changelog=self.changelog,
            state=state,
            position=position,
            target=target,
            restored=self._restored,
            rate=0.0 if stands or self._rate is None else self._rate,
            seconds_left=self.left / pace if pace > 0 and not stands else None,
            waiting=now - self.since if stands else None,
            trouble=self.waits_for(now) if state is RestoreState.WAITING else self.trouble,
        )

    def waits_for(self, now: float) -> str:
        return f"waiting for an open transaction at offset {self._position} of {self._target}, {now - self.since:.0f} s"

    def _why_not(self, store: Store, bounds: ChangelogBounds) -> str | None:
        """Return why the content must go, or None when it may be kept."""
        offset, current_at = store.changelog_offset, store.current_at
        if offset is not None and offset < bounds.start:
            return f"its offset {offset} lies before the changelog's start {bounds.start}"
        if offset is not None and offset > bounds.high_watermark:
            return f"its offset {offset} lies beyond the changelog's end {bounds.high_watermark}"
        # The last record of a log is never cleaned, as it lies in the active segment: a tail of one (mostly the commit marker of
        # the last apply) hides no tombstone, so a table that rested for a week is not read anew.
        tail = bounds.high_watermark - (bounds.start if offset is None else offset)
        if current_at is None or tail <= 1:
            return None
        age = self._asked_at - current_at
        if age > self.task.delete_retention:
            limit = self.task.delete_retention
            return f"it was last current {age:.0f} s ago, and tombstones are kept for {limit:.0f} s (delete.retention.ms)"
        if age < -CLOCKS_APART:
            return f"it was last current {-age:.0f} s in the future, so its age is unknown"
        return None

    def _finish(self, writes: dict[bytes, bytes | None]) -> None:
        """Step 5."""
        assert self._store is not None and self._position is not None and self._target is not None  # noqa: PT018 - one state
        if self._too_late():
            self.ask_again(None, after=0.0)
            return
        with self._writing():
            # Equal to the changelog's end as of when that was asked for, not as of now.
            self._store.apply(writes, self._position, current_at=self._asked_at)
            self._end(RestoreState.FINISHED)
        seconds = self._clock.monotonic() - self._began
        log_event(
            log,
            logging.INFO,
            Event.RESTORE_FINISHED,
            f"Restored {self.changelog} up to {self._position}: {self._restored} records in {seconds:.1f} s",
            topic=self.changelog.topic,
            partition=self.changelog.number,
            offset=self._position,
            records=self._restored,
            duration_seconds=round(seconds, 3),
            reason=self._wiped,
        )

    def _too_late(self) -> bool:
        """Tell whether tombstones may have been dropped while we read, and drop the content if a new restore can do better."""
        assert self._target is not None and self._first is not None  # noqa: PT018 - one state
        took = self._clock.wall() - self._current_at
        if took <= self.task.delete_retention or self._target - self._first <= 1:
            return False
        if self._kept:
            self.wipe(
                f"its restore ended {took:.0f} s after it was last current, and tombstones are kept for {self.task.delete_retention:.0f} s"
            )
            return True
        # From the log's start it would take as long again: better a table that may hold deleted keys, said aloud, than none.
        log_event(
            log,
            logging.WARNING,
            Event.RESTORE_FINISHED,
            f"Restoring {self.changelog} took {took:.0f} s, longer than its delete.retention.ms: keys deleted meanwhile may be back; "
            "raise it on the changelog topic",
            topic=self.changelog.topic,
            partition=self.changelog.number,
        )
        return False

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if self.over:
                raise Cancelled
            yield

    def _turn(self, state: RestoreState) -> None:
        with self._lock:
            if self.over:
                return
            # Questions in a row without an answer are one wait.
            if state is not self.state or state is RestoreState.READING:
                self.since = self._clock.monotonic()
            self.state = state

    def _end(self, state: RestoreState) -> bool:
        """Under the lock: a restore ends once."""
        if self.over:
            return False
        self.state = state
        return True
