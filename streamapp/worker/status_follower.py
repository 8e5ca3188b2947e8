"""The thread that follows the status topic, and the partitions of dead-letter topics that this worker owns."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection
from typing import Final, Protocol, cast

from streamapp.clock import Clock, SystemClock
from streamapp.errors import BrokerUnreachable, ConfigurationError
from streamapp.events import Event, log_event
from streamapp.pipeline import resolution
from streamapp.pipeline.dead_letter import id_of, parse_id
from streamapp.pipeline.dead_letter_counts import DeadLetterCounts, Letter
from streamapp.pipeline.resolution import SETTLED, Resolution, Take, TakeState, status_topic
from streamapp.pipeline.takes import Takes, parse_position
from streamapp.ports import Followed, TopicFollower
from streamapp.records import Partition, Position

log = logging.getLogger(__name__)

READ_TIMEOUT: Final = 0.25
"""Seconds that a read waits when nothing comes; a partition that came here, or a stop, waits as long at most."""

BACKOFF, BACKOFF_AT_MOST = 0.2, 5.0
"""Seconds until a new reader is made where the old one is past help: doubled each time."""

HOUSEKEEPING: Final = 60.0
"""Seconds between two looks at where retention has come to."""

ANSWER: Final = 2.0
"""Seconds that the broker may take to say so."""


class StatusListener(Protocol):
    """What the worker does about the rows. Called on the follower's thread; it must return soon and not raise."""

    def settled(self, ids: Collection[str]) -> None:
        """These dead letters are resolved or discarded: told once as the rows come, the old ones at the start."""
        ...

    def take_asked(self, position: Position, at: float) -> None:
        """Somebody asked at `at` (seconds since 1970) that the record at `position` be dead-lettered."""
        ...

    def take_answered(self, position: Position) -> None:
        """That was answered, or taken back."""
        ...


class OnLoop:
    """A StatusListener that hands everything to the engine's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settled: Callable[[Collection[str]], None], takes: Takes) -> None:
        self._loop = loop
        self._settled = settled
        self._takes = takes

    def settled(self, ids: Collection[str]) -> None:
        self._loop.call_soon_threadsafe(self._settled, ids)

    def take_asked(self, position: Position, at: float) -> None:
        self._loop.call_soon_threadsafe(self._takes.asked, position, at)

    def take_answered(self, position: Position) -> None:
        self._loop.call_soon_threadsafe(self._takes.answered, position)


class StatusFollower:
    """One thread, `dead-letters`. `counts` is what it knows."""

    def __init__(
        self,
        follower: Callable[[], TopicFollower],
        listener: StatusListener,
        owned: Callable[[], Collection[Partition]],
        *,
        app_id: str,
        dlqs: Collection[str],
        counts: DeadLetterCounts | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`follower` makes a reader, on the thread: at the start, and when the old one is past help. `owned`: any of the worker's."""
        self.counts = counts or DeadLetterCounts()
        self._make = follower
        self._listener = listener
        self._owned = owned
        self._app_id = app_id
        self._dlqs = frozenset(dlqs)
        self._clock = clock or SystemClock()
        self._rows = Partition(status_topic(app_id), 0)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # The thread's own:
        self._reader: TopicFollower | None = None
        self._positions: dict[Partition, int | None] = {self._rows: None}
        """Where to go on, per partition that is followed."""
        self._seen = 0
        """The end of the rows that have been acted on: those before it are read again only to look something up."""
        self._looking_up_to: int | None = None
        self._is_current = False
        """Whether the rows that were there at the start are behind us."""
        self._backoff = BACKOFF
        self._kept_house_at = self._clock.monotonic()

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread. May come twice, or before start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                log_event(
                    log,
                    logging.WARNING,
                    Event.CLEANUP_FAILED,
                    f"the thread that follows dead letters has not ended in {timeout:.0f} s",
                )

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except BrokerUnreachable as failure:
                    log_event(log, logging.WARNING, Event.BROKER_UNREACHABLE, f"following dead letters: {failure}")
                    self._start_over()
                except ConfigurationError:
                    return  # the client refuses its options, as the sources' did: that ends the worker, and says so
                except Exception:  # the thread's edge: the worker goes on without counts rather than not at all
                    log.exception("following dead letters failed; trying on")
                    self._start_over()
        finally:
            self._lose_reader()

    def _turn(self) -> None:
        if self._reader is None:
            self._reader = self._make()
            for partition, position in self._positions.items():
                self._reader.open(partition, position)
        self._follow_owned(self._reader)
        batches = self._reader.read(READ_TIMEOUT)
        if batches:
            self._backoff = BACKOFF
        for partition, batch in batches.items():
            if partition == self._rows:
                self._take_rows(batch)
            else:
                self._take_letters(partition, batch)
            self._positions[partition] = batch.position
        self._look_up(self._reader)
        self._keep_house(self._reader)

    def _start_over(self) -> None:
        self._lose_reader()
        self._stopping.wait(self._backoff)
        self._backoff = min(BACKOFF_AT_MOST, self._backoff * 2)

    def _lose_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _follow_owned(self, reader: TopicFollower) -> None:
        owned = {partition for partition in self._owned() if partition.topic in self._dlqs}
        followed = self._positions.keys() - {self._rows}
        if owned == followed:
            return
        self.counts.own(owned)
        for partition in followed - owned:
            reader.shut(partition)
            del self._positions[partition]
        for partition in owned - followed:
            self._read_anew(reader, partition)

    def _read_anew(self, reader: TopicFollower, partition: Partition) -> None:
        reader.open(partition, None)
        self._positions[partition] = None

    def _take_letters(self, partition: Partition, batch: Followed) -> None:
        letters = []
        for record in batch.records:
            id_ = id_of(record.headers(), self._app_id)
            if id_ is not None:
                letters.append(Letter(id_, record.timestamp()[1], cast("int", record.offset())))
        self.counts.letters(partition, letters)
        if batch.at_end:
            self.counts.read_to_end(partition)

    def _take_rows(self, batch: Followed) -> None:
        settled: dict[str, None] = {}
        for record in batch.records:
            offset = cast("int", record.offset())
            self._looked_up(offset)
            entry = resolution.decode(record.key(), record.value())
            if entry is None:
                continue
            is_new = offset >= self._seen
            if isinstance(entry.row, Resolution) or (entry.row is None and parse_id(entry.name) is not None):
                is_settled = entry.row is not None and entry.row.status in SETTLED
                if not is_new:
                    self.counts.recall(entry.name, is_settled=is_settled)
                    continue
                self.counts.row(entry.name, is_settled=is_settled)
                settled.pop(entry.name, None)
                if is_settled:
                    settled[entry.name] = None
            elif is_new and isinstance(entry.row, Take | None):
                self._take_request(entry.name, entry.row)
        self._seen = max(self._seen, batch.position)
        self._is_current |= batch.at_end
        if settled:
            self._listener.settled(list(settled))
        self._looked_up(batch.position)

    def _take_request(self, name: str, row: Take | None) -> None:
        position = parse_position(name)
        if position is None:
            return
        if row is None or row.state is not TakeState.ASKED:
            self._listener.take_answered(position)
        elif self._is_current:
            self._listener.take_asked(position, row.at.timestamp())

    def _looked_up(self, position: int) -> None:
        """The rows are read again to `position`. What was looked up is told before any row that came since: that overrules."""
        if self._looking_up_to is not None and position >= self._looking_up_to:
            self._looking_up_to = None
            if found := self.counts.recalled():
                self._listener.settled(found)

    def _look_up(self, reader: TopicFollower) -> None:
        if self._looking_up_to is None and self._is_current and self.counts.look_up():
            self._looking_up_to = self._seen
            self._read_anew(reader, self._rows)

    def _keep_house(self, reader: TopicFollower) -> None:
        now = self._clock.monotonic()
        if now - self._kept_house_at < HOUSEKEEPING:
            return
        self._kept_house_at = now
        for partition in self._positions.keys() - {self._rows}:
            self.counts.log_starts(partition, reader.start_of(partition, ANSWER))
        for partition in self.counts.roomy():
            self._read_anew(reader, partition)


__all__ = ["OnLoop", "StatusFollower", "StatusListener"]
