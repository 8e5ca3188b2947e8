"""The restore thread: brings many table partitions to their changelogs' ends at once, through one reader."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from functools import partial

from streamapp.clock import Clock, SystemClock
from streamapp.errors import BrokerUnreachable, InvariantBroken, StateUnusable
from streamapp.events import Event, log_event
from streamapp.ports import ChangelogReader
from streamapp.records import Partition
from streamapp.state.budget import give_back
from streamapp.state.restore import Cancelled, Restore, RestoreOutcome, RestoreProgress, RestoreState, RestoreTask

log = logging.getLogger(__name__)

READ_TIMEOUT = 0.05
"""Seconds that a read waits when nothing comes; a new restore or a stop waits as long at most."""

BACKOFF, BACKOFF_AT_MOST = 0.2, 5.0
"""Seconds between questions to a broker that does not answer: doubled each time, up to where it would be noticed."""

FAILURES = 5
"""Questions in a row without an answer after which a new reader is made: clients have been seen to answer errors for minutes after
a broker's restart, where a new one was right at once (DESIGN rule 19)."""

REPORT_EVERY = 5.0
"""Seconds between two lines of the log about what is under way."""

TURN = 60.0
"""Seconds that a changelog may get nothing while others are read. The client fetches within bounds, one changelog after the other: in a
restore of ten million rows three of eight had nothing for more than five seconds, and no fault."""

LARGE = 50_000
"""Records of restores behind which memory is given back. The C library keeps what the client used and freed, in many pieces: 136 MB of
177 behind a million records, for as long as the worker lives."""

IDLE = 10.0
"""Seconds without a restore after which the reader's connections are closed; a rebalance brings its partitions within less."""


class Restorer:
    """Restores table partitions on a thread of its own, named `restore`. Every method on any thread.

    `done` of each restore is called once, on that thread, unless `cancel` or `stop` came first; it must return soon and not raise.
    """

    def __init__(self, reader: Callable[[], ChangelogReader], *, clock: Clock | None = None) -> None:
        """`reader` makes a reader, on the restore thread: when the first restore comes, and when the old one is past help."""
        self._make_reader = reader
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._restores: dict[RestoreTask, Restore] = {}
        self._thread: threading.Thread | None = None
        self._stopped = False
        # The restore thread's own:
        self._reader: ChangelogReader | None = None
        self._reading: dict[Partition, Restore] = {}
        self._failures = 0
        self._read_records = 0
        """Since memory was given back."""
        self._sampled_at = self._reported_at = self._clock.monotonic()

    def start(self) -> None:
        """Start the thread. Raises InvariantBroken when it was started or stopped before."""
        with self._changed:
            if self._thread is not None or self._stopped:
                raise InvariantBroken("the restorer was started before, or stopped")
            self._thread = threading.Thread(target=self._run, name="restore", daemon=True)
            self._thread.start()
        # A program that ends without stop(), by an error: Python would take its memory away under RocksDB, a segmentation fault.
        atexit.register(self.stop)

    def stop(self, timeout: float = 15.0) -> None:
        """Cancel all and end the thread. May come twice, or before start.

        Returns within about 2 s (one question to the broker), and not before an open or apply that the disk holds up.
        """
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            restores = list(self._restores.values())
        atexit.unregister(self.stop)
        for restore in restores:
            restore.cancel()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
            if self._thread.is_alive():
                log_event(log, logging.WARNING, Event.CLEANUP_FAILED, f"The restore thread has not ended within {timeout:.0f} s")

    def restore(self, task: RestoreTask, done: Callable[[RestoreOutcome], None]) -> None:
        """Begin to restore. The inputs' committed offsets must have been read before: see Restore, step 2.

        Raises InvariantBroken when its changelog partition is being restored already: cancel that first.
        """
        with self._changed:
            if any(other.changelog == task.changelog and not other.over for other in self._restores.values()):
                raise InvariantBroken(f"{task.changelog} is being restored already")
            if not self._stopped:
                self._restores[task] = Restore(task, done, self._clock)
                self._changed.notify_all()

    def cancel(self, task: RestoreTask) -> bool:
        """End a restore; what it wrote is kept, for the next one to go on from.

        Once this returns nothing more is written to the store: it waits for an apply (2 ms) or an open (10 ms) that is under way.
        True: `done` is never called. False: it has been called, is about to be, or never will, as the task is not known.
        """
        with self._changed:
            restore = self._restores.get(task)
        return restore is not None and restore.cancel()

    def progress(self) -> list[RestoreProgress]:
        """Return what is under way, for status pages."""
        now = self._clock.monotonic()
        with self._changed:
            restores = [restore for restore in self._restores.values() if not restore.over]
        return [restore.progress(now) for restore in restores]

    # -- the restore thread

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                try:
                    self._drop_ended()
                    self._begin_due()
                    self._read()
                    self._report()
                    self._give_back()
                except Exception as failure:  # the thread's edge: those who wait must hear of it
                    log.exception("Restoring failed")
                    self._lose_reader()
                    for restore in self._under_way():
                        self._fail(restore, failure)
        finally:
            self._lose_reader()

    def _wait_for_work(self) -> bool:
        """Return when there is something to do, or False to end."""
        with self._changed:
            while not self._stopped:
                if not self._restores:
                    if not self._changed.wait(IDLE if self._reader else None):
                        self._lose_reader()
                        give_back()  # what consumers, stores and readers that went with a rebalance have freed, in pieces
                    continue
                due = min((r.retry_at for r in self._restores.values() if r.state is RestoreState.ASKING), default=None)
                left = 0.0 if due is None or self._reading else due - self._clock.monotonic()
                if left <= 0 or any(restore.over for restore in self._restores.values()):
                    return True
                self._changed.wait(left)
        return False

    def _under_way(self) -> list[Restore]:
        with self._changed:
            return [restore for restore in self._restores.values() if not restore.over]

    def _drop_ended(self) -> None:
        with self._changed:
            ended = [restore for restore in self._restores.values() if restore.over]
            for restore in ended:
                del self._restores[restore.task]
        for restore in ended:
            self._shut(restore)

    def _begin_due(self) -> None:
        now = self._clock.monotonic()
        for restore in self._under_way():
            if restore.state is RestoreState.ASKING and restore.retry_at <= now and not self._stopped:
                self._step(restore, partial(self._begin, restore))

    def _begin(self, restore: Restore) -> None:
        self._shut(restore)
        if self._reader is None:
            self._reader = self._make_reader()
        restore.begin(self._reader)
        self._failures = 0
        if not restore.over:
            self._reading[restore.changelog] = restore

    def _read(self) -> None:
        if self._reader is None or not self._reading:
            return
        try:
            batches = self._reader.read(READ_TIMEOUT)
        except BrokerUnreachable as failure:
            self._start_over(str(failure))
            return
        for partition, batch in batches.items():
            self._read_records += batch.records
            if restore := self._reading.get(partition):
                self._step(restore, partial(restore.take, batch))

    def _step(self, restore: Restore, step: Callable[[], None]) -> None:
        """Take one step of a restore, and do what its end or error asks for."""
        try:
            step()
        except Cancelled:
            pass
        except BrokerUnreachable as failure:
            self._unanswered(restore, str(failure))
        except StateUnusable as unusable:
            self._rebuild(restore, unusable)
        except Exception as failure:  # disk errors, and errors of ours: whoever waits decides
            self._fail(restore, failure)
        if restore.state is RestoreState.ASKING:
            self._shut(restore)
        elif restore.state is RestoreState.FINISHED:
            self._tell(restore)

    def _rebuild(self, restore: Restore, unusable: StateUnusable) -> None:
        try:
            restore.wipe(str(unusable))
            restore.ask_again(None, after=0.0)
        except Cancelled:
            pass
        except Exception as failure:  # as in _step
            self._fail(restore, failure)

    def _unanswered(self, restore: Restore, trouble: str) -> None:
        self._failures += 1
        restore.attempts += 1
        restore.ask_again(trouble, after=min(BACKOFF_AT_MOST, BACKOFF * 2 ** min(restore.attempts, 10)))
        if self._failures % FAILURES == 0:
            self._start_over(trouble)

    def _start_over(self, trouble: str) -> None:
        """Let go of the reader: all that were reading ask again, with a new one."""
        reading = list(self._reading.values())
        self._lose_reader()
        for restore in reading:
            restore.ask_again(trouble, after=BACKOFF)

    def _lose_reader(self) -> None:
        reader, self._reader = self._reader, None
        self._reading.clear()
        if reader is not None:
            reader.close()

    def _fail(self, restore: Restore, failure: Exception) -> None:
        if restore.fail(failure):
            self._tell(restore)

    def _tell(self, restore: Restore) -> None:
        with self._changed:
            self._restores.pop(restore.task, None)
        self._shut(restore)
        try:
            restore.done(restore.outcome())
        except Exception:  # the thread's edge: the other restores go on
            log.exception("The listener of the restore of %s failed", restore.changelog)

    def _shut(self, restore: Restore) -> None:
        if self._reading.get(restore.changelog) is restore:
            del self._reading[restore.changelog]
            if self._reader is not None:
                self._reader.shut(restore.changelog)

    def _give_back(self) -> None:
        if self._read_records >= LARGE and not self._under_way():
            self._read_records = 0
            give_back()

    # -- what is said

    def _report(self) -> None:
        now = self._clock.monotonic()
        if now - self._sampled_at < 1.0:
            return
        self._sampled_at = now
        restores = self._under_way()
        trouble = self._reader.trouble() if self._reader is not None else None
        for restore in restores:
            restore.sample(now)
            if restore.state is RestoreState.READING:
                restore.trouble = trouble
        if now - self._reported_at < REPORT_EVERY:
            return
        self._reported_at = now
        reading = [restore for restore in restores if restore.state is RestoreState.READING]
        moving = [restore for restore in reading if now - restore.since < REPORT_EVERY]
        patience = TURN if moving and trouble is None else REPORT_EVERY
        in_turn = [restore for restore in reading if REPORT_EVERY <= now - restore.since < patience]
        for restore in restores:
            if restore not in in_turn:
                self._report_standing(restore, now, others_move=bool(moving))
        if moving:
            self._report_moving(moving, in_turn, now)

    def _report_standing(self, restore: Restore, now: float, *, others_move: bool = False) -> None:
        seconds = round(now - restore.since, 1)
        if restore.state is RestoreState.WAITING:
            event, trouble = Event.RESTORE_WAITING, restore.waits_for(now)
        elif (restore.state is RestoreState.ASKING and restore.trouble is not None and seconds >= 1.0) or seconds >= REPORT_EVERY:
            reason = restore.trouble or "no reason known"
            missing = "no record, while others come," if others_move else "no answer from the broker"
            event, trouble = Event.BROKER_UNREACHABLE, f"{missing} for {seconds:.0f} s ({reason})"
        else:
            return
        topic, number = restore.changelog
        message = f"Restoring {restore.changelog}: {trouble}"
        log_event(log, logging.WARNING, event, message, topic=topic, partition=number, duration_seconds=seconds)

    def _report_moving(self, moving: list[Restore], in_turn: list[Restore], now: float) -> None:
        left = sum(restore.left for restore in (*moving, *in_turn))
        rate = sum(restore.progress(now).rate for restore in moving)
        pace = sum(restore.pace for restore in moving)
        seconds = round(left / pace, 1) if pace > 0 else None
        until = f", {seconds:.0f} s left" if seconds is not None else ""
        later = f" ({len(in_turn)} more in turn)" if in_turn else ""
        message = f"Restoring {len(moving)} table partitions{later}: {left} offsets to go, {rate:.0f} records/s{until}"
        log_event(
            log,
            logging.INFO,
            Event.RESTORE_PROGRESS,
            message,
            left=left,
            rate=round(rate),
            seconds_left=seconds,
            partitions=len(moving) + len(in_turn),
        )
