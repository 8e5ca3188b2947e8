"""A replay job: copies and their status rows go out in the same transactions, and the workers' answers are waited for.

So a crash midway leaves no letter sent without its row: the job goes on from the rows, and sends nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol

from msgspec.structs import replace

from streamapp.clock import Clock
from streamapp.dlq.candidate import Candidate
from streamapp.dlq.guards import BEAT, Owner, require_free
from streamapp.dlq.sender import Sender
from streamapp.dlq.status_log import StatusLog
from streamapp.errors import DeliveryFailed
from streamapp.pipeline.resolution import SETTLED, Entry, Job, JobState, Lock, Resolution, Row, Status, encode
from streamapp.records import Outgoing, Partition

BATCH: Final = 100
"""Letters of one transaction, at most; and no more than the pace allows in a second."""
QUIET: Final = 60.0
"""Seconds without an answer after which nobody seems to own the partitions that copies went to."""
LOOK: Final = 0.2
"""Seconds of one look at the status topic while nothing else is to be done."""

COPIED: Final = "copied"
ALREADY: Final = "already-processed"
SUPERSEDED: Final = "superseded"


class Ended(StrEnum):
    """Why a job ended."""

    DONE = "done"
    REOPENED = "reopened"
    """As many copies failed again as stop it."""
    UNANSWERED = "unanswered"
    INTERRUPTED = "interrupted"


class Watcher(Protocol):
    """Is told how a long job goes on."""

    def begin(self, what: str, total: int) -> None: ...
    def advance(self, count: int) -> None: ...
    def end(self) -> None: ...


class MakeCopy(Protocol):
    """Makes the record to send."""

    def __call__(self, letter: Candidate, replays: int, at: float) -> Outgoing: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a job goes, and when it stops."""

    rate: float | None = 100.0
    """Letters per second; None: as fast as it can."""
    stop_after: int = 5
    """Copies that failed again after which it stops; 0: never."""
    wait: bool = True
    """Whether it waits for the workers' answers."""
    quiet: float = QUIET

    @property
    def batch(self) -> int:
        return BATCH if self.rate is None else max(1, min(BATCH, int(self.rate)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a job does."""

    letters: Sequence[Candidate]
    """To send, in order."""
    copy: MakeCopy
    reports_back: bool = True
    """Whether a worker answers; else the letters are resolved as soon as they are copied."""
    parked: Sequence[Candidate] = ()
    superseded: Sequence[Candidate] = ()
    earlier: Sequence[Candidate] = ()
    """Sent by an earlier life of the job, and not answered yet."""


@dataclass(slots=True)
class Result:
    """What became of a job's letters."""

    ended: Ended = Ended.DONE
    sent: int = 0
    resolved: int = 0
    already: int = 0
    """Of the resolved ones: those that the handler had processed before."""
    reopened: list[str] = field(default_factory=list)
    parked: int = 0
    superseded: int = 0
    overtaken: list[str] = field(default_factory=list)
    """Not sent: somebody else settled or sent them meanwhile."""
    refused: dict[str, str] = field(default_factory=dict)
    """Id -> why the target does not take the copy."""
    unanswered: list[str] = field(default_factory=list)
    silent: list[Partition] = field(default_factory=list)
    """Where the unanswered copies went."""


@dataclass(slots=True)
class _Sent:
    """A copy whose answer is awaited."""

    where: Partition
    is_seen: bool = False
    """Whether our own row came by: rows before it answer an earlier copy."""


class ReplayJob:
    """One thread; `run` once."""

    def __init__(
        self,
        name: str,
        row: Job,
        work: Work,
        pace: Pace,
        *,
        status_topic: str,
        owner: Owner,
        log: StatusLog,
        sender: Callable[[ReplayJob], Sender],
        clock: Clock,
        watcher: Watcher,
    ) -> None:
        self.name = name
        self.row = row
        self.result = Result()
        self._work = work
        self._pace = pace
        self._status_topic = status_topic
        self._owner = owner
        self._log = log
        self._sender = sender(self)
        self._clock = clock
        self._watcher = watcher
        self._awaited: dict[str, _Sent] = {letter.id: _Sent(letter.source, is_seen=True) for letter in work.earlier}
        self._stale_lock: Lock | None = None
        self._has_lock = False
        self._beat = self._quiet_since = clock.monotonic()
        self._stop: Ended | None = None

    def is_ours(self, *, fenced: bool, stable: bool) -> bool:
        """As `Sender` asks. A lock that had expired when we began is nobody's."""
        self._hear(self._log.catch_up(stable=stable))
        lock = self._log.lock(self.row.dlq)
        if lock is None or lock == self._stale_lock:
            return not (fenced or self._has_lock)
        return lock.owner == str(self._owner)

    def run(self) -> Result:
        """Send, wait, and return what became of it. Raises GuardRefused, BrokerUnreachable, StreamAppError."""
        try:
            self._begin()
            try:
                self._mark()
                self._send_all()
                self._await_answers()
            except KeyboardInterrupt:
                self._stop = Ended.INTERRUPTED
            self._end()
        finally:
            self._sender.close()
        return self.result

    # --- the lock

    def _begin(self) -> None:
        """Take the lock: the transactional id first, which ends whatever another job had open, then what the rows say."""
        self._log.catch_up(stable=True)
        self._require_free()  # before anybody is fenced
        self._sender.open()
        self._log.catch_up()
        self._require_free()
        for letter in self._work.earlier:  # answered since it was selected, perhaps
            row = self._log.resolution(letter.id)
            if row is not None and row.status is not Status.REPLAYING:
                self._answered(letter.id, row)
        self._stale_lock = self._log.lock(self.row.dlq)
        self._commit([])
        self._has_lock = True

    def _require_free(self) -> None:
        require_free(self.row.dlq, self._log.lock(self.row.dlq), owner=self._owner, now=self._now())

    def _end(self) -> None:
        result = self.result
        result.ended = self._stop or Ended.DONE
        if self._work.reports_back and self._pace.wait:
            result.unanswered = sorted(self._awaited)
            result.silent = sorted({sent.where for sent in self._awaited.values()})
        done = result.ended is Ended.DONE
        self.row = replace(
            self.row, state=JobState.FINISHED if done else JobState.STOPPED, reason=None if done else str(result.ended)
        )
        self._commit([], unlock=True)

    def _commit(self, records: Sequence[Outgoing], *, sent: int = 0, unlock: bool = False) -> None:
        """Send `records` with the job's row and its lock's beat."""
        before, now = self.row, self._now()
        self.row = replace(self.row, at=now, sent=self.row.sent + sent)
        lock = Lock(job=self.name, owner=str(self._owner), beat=now)
        rows = [self._record(self.name, self.row), self._record(self.row.dlq, lock)]
        if unlock:
            rows[1] = (self._status_topic, None, rows[1][2], 0, 0, [])
        try:
            self._sender.send([*records, *rows], arrived=self._arrived)
        except BaseException:
            self.row = replace(self.row, at=before.at, sent=before.sent)
            raise
        self._beat = self._clock.monotonic()

    def _arrived(self) -> bool:
        self._hear(self._log.catch_up())
        written = self._log.job(self.name)
        return written is not None and (written.at, written.sent) == (self.row.at, self.row.sent)

    def _record(self, name: str, row: Row) -> Outgoing:
        key, value = encode(name, row)
        return self._status_topic, value, key, 0, 0, []

    # --- sending

    def _mark(self) -> None:
        """Say what is not sent, and why."""
        rows = [
            *((letter, Status.PARKED, None) for letter in self._work.parked if letter.status is not Status.PARKED),
            *((letter, Status.DISCARDED, SUPERSEDED) for letter in self._work.superseded),
        ]
        for start in range(0, len(rows), BATCH):
            now = self._now()
            self._commit(
                [
                    self._record(letter.id, self._resolution(letter, status, now, reason=reason, outcome=reason))
                    for letter, status, reason in rows[start : start + BATCH]
                ]
            )
        self.result.parked, self.result.superseded = len(self._work.parked), len(self._work.superseded)

    def _send_all(self) -> None:
        letters = self._work.letters
        self._watcher.begin(f"{self.row.dlq}: sending", len(letters))
        began = self._clock.monotonic()
        for start in range(0, len(letters), self._pace.batch):
            self._hold(began + start / self._pace.rate if self._pace.rate else began)
            if self._stop is not None:
                break
            batch = letters[start : start + self._pace.batch]
            self._send(list(self._wanted(batch)))
            self._watcher.advance(len(batch))
        self._watcher.end()

    def _wanted(self, batch: Sequence[Candidate]) -> Iterator[Candidate]:
        """Yield those of which nothing new is known since they were selected."""
        for letter in batch:
            row = self._log.resolution(letter.id)
            if row is None or (row.status, row.job, row.replays) == (letter.status, letter.job, letter.row_replays):
                yield letter
            elif row.status is Status.REPLAYING and row.job == self.name:
                self._awaited[letter.id] = _Sent(letter.source, is_seen=True)  # by an earlier life that was not dead yet
            else:
                self.result.overtaken.append(letter.id)

    def _send(self, batch: list[Candidate]) -> None:
        if not batch:
            return
        at, now = self._clock.wall(), self._now()
        records: list[Outgoing] = []
        status, outcome = (Status.REPLAYING, None) if self._work.reports_back else (Status.RESOLVED, COPIED)
        places: dict[str, Partition] = {}
        for letter in batch:
            copy = self._work.copy(letter, letter.replays + 1, at)
            places[letter.id] = Partition(copy[0], copy[3])
            row = self._resolution(letter, status, now, outcome=outcome, replays=letter.replays + 1)
            records += [copy, self._record(letter.id, row)]
        if not self._awaited:
            self._quiet_since = self._clock.monotonic()
        if self._work.reports_back:
            self._awaited |= {letter_id: _Sent(where) for letter_id, where in places.items()}
        try:
            self._commit(records, sent=len(batch))
        except DeliveryFailed as failure:
            for letter_id in places:
                self._awaited.pop(letter_id, None)
            if len(batch) == 1:
                self.result.refused[batch[0].id] = str(failure)
                return
            for letter in batch:  # whose copy the target refuses is told by sending each alone
                self._send([letter])
            return
        self.result.sent += len(batch)
        if not self._work.reports_back:
            self.result.resolved += len(batch)
            self.row = replace(self.row, resolved=self.row.resolved + len(batch))

    def _resolution(
        self,
        letter: Candidate,
        status: Status,
        at: datetime,
        *,
        reason: str | None = None,
        outcome: str | None = None,
        replays: int | None = None,
    ) -> Resolution:
        count = letter.replays if replays is None else replays
        return Resolution(
            status=status, at=at, by=self._owner.operator, job=self.name, reason=reason, outcome=outcome, replays=count
        )

    def _hold(self, until: float) -> None:
        """Listen until it is time for the next batch, or something stops the job."""
        while True:
            left = until - self._clock.monotonic()
            self._listen(max(0.0, min(left, LOOK)))
            if left <= 0 or self._stop is not None:
                return

    # --- answers

    def _await_answers(self) -> None:
        if not self._pace.wait:
            return
        self._watcher.begin(f"{self.row.dlq}: waiting for answers", len(self._awaited))
        while self._awaited and self._stop is None:
            before = len(self._awaited)
            self._listen(LOOK)
            self._watcher.advance(before - len(self._awaited))
        self._watcher.end()

    def _listen(self, seconds: float) -> None:
        """Hear what came, keep the lock alive, and stop for what the answers say."""
        self._hear(self._log.poll(seconds))
        now = self._clock.monotonic()
        if now - self._beat >= BEAT:
            self._commit([])
        if self._stop is not None or not self._pace.wait:
            return
        if self._pace.stop_after and len(self.result.reopened) >= self._pace.stop_after:
            self._stop = Ended.REOPENED
        elif self._awaited and now - self._quiet_since >= self._pace.quiet:
            self._stop = Ended.UNANSWERED

    def _hear(self, entries: Sequence[Entry]) -> None:
        for name, row in entries:
            sent = self._awaited.get(name)
            if sent is None or not isinstance(row, Resolution):
                continue
            if row.status is Status.REPLAYING:
                sent.is_seen = sent.is_seen or row.job == self.name
            elif sent.is_seen:
                self._answered(name, row)

    def _answered(self, name: str, row: Resolution) -> None:
        del self._awaited[name]
        self._quiet_since = self._clock.monotonic()
        if row.status is Status.REOPENED:
            self.result.reopened.append(name)
            self.row = replace(self.row, reopened=self.row.reopened + 1)
        elif row.status in SETTLED:
            self.result.resolved += 1
            self.result.already += row.outcome == ALREADY
            self.row = replace(self.row, resolved=self.row.resolved + 1)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), UTC)


__all__ = ["ALREADY", "BATCH", "COPIED", "QUIET", "SUPERSEDED", "Ended", "Pace", "ReplayJob", "Result", "Watcher", "Work"]
