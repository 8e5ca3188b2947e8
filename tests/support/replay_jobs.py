"""Replay jobs on the Kafka in memory: letters to send, rows as workers write them, and a clock that waits do not wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from streamapp.dlq.candidate import Candidate
from streamapp.dlq.change import Changed
from streamapp.dlq.copies import Target, copy_of
from streamapp.dlq.guards import Owner
from streamapp.dlq.job import Pace, ReplayJob, Result, Work
from streamapp.dlq.sender import Sender
from streamapp.dlq.status_log import StatusLog
from streamapp.pipeline.dead_letter import DeadLetter
from streamapp.pipeline.resolution import Job, JobState, Lock, Resolution, Row, Status, encode
from streamapp.records import Outgoing, Position
from streamapp.testing.memory_kafka import MemoryHost, MemoryKafka, MemoryProducer, MemoryRecord

DLQ, SOURCE, STATUS = "orders-dlq", "orders", "shop-dlq-status"
AGENT = "order_processor"
NOW = 1_795_000_000.0
"""Seconds since 1970: when the clock starts."""


def letter(offset: int, key: bytes | None = b"ann", *, partition: int = 0, topic: str = SOURCE, **changes: Any) -> Candidate:
    """Return a dead letter of `topic`; `changes` are fields of the candidate, or of what its headers say."""
    facts: dict[str, Any] = {
        "agent": AGENT,
        "stage": "handler",
        "timestamp": round((NOW - 60) * 1000),
        "timestamp_type": "create",
        "position": f"{topic}/{partition}/{offset}",
        "order": "skipped",
        "exception_type": "builtins.TimeoutError",
        "fingerprint": "51d0a7e2c3f8",
    }
    own = {name: changes.pop(name) for name in list(changes) if name in Candidate.__dataclass_fields__}
    told = facts | changes
    place = Position(topic, partition, offset)
    given: dict[str, Any] = {"dlq": DLQ, "key": key, "value": b'{"n":%d}' % offset, "headers": []} | own
    return Candidate(facts=DeadLetter(id=f"{place}@{told['agent']}", source=place, **told), **given)


@dataclass
class TurnedClock:
    """Time that goes on only where somebody waits."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW + self.now - 1000.0


class MemoryRows:
    """A RowReader; what it waits passes on the clock, and `meanwhile` happens in each wait."""

    def __init__(self, kafka: MemoryKafka, clock: TurnedClock) -> None:
        self._kafka = kafka
        self._clock = clock
        self._read = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def poll(self, seconds: float) -> Sequence[MemoryRecord]:
        self.meanwhile()
        found = self.catch_up(stable=True)
        if not found:
            self._clock.now += seconds
        return found

    def catch_up(self, *, stable: bool = False) -> Sequence[MemoryRecord]:
        records = [record for record in self._kafka.records(STATUS, 0) if record.offset() >= self._read]
        if records:
            self._read = records[-1].offset() + 1
        return records

    def close(self) -> None: ...


class Silent:
    """A Watcher that says nothing."""

    def begin(self, what: str, total: int) -> None: ...
    def advance(self, count: int) -> None: ...
    def end(self) -> None: ...


@dataclass
class Replays:
    """Jobs of one dead-letter topic."""

    kafka: MemoryKafka = field(default_factory=lambda: MemoryKafka({SOURCE: 2, STATUS: 1, "elsewhere": 1}))
    clock: TurnedClock = field(default_factory=TurnedClock)
    hosts: dict[str, MemoryHost] = field(default_factory=dict)

    def host(self, name: str = "ops") -> MemoryHost:
        return self.hosts.setdefault(name, MemoryHost(self.kafka, name))

    def job(self, letters: Sequence[Candidate], name: str = "7f3a", *, operator: str = "ops", pace: Pace | None = None,
            target: Target | None = None, **work: Any) -> ReplayJob:  # fmt: skip
        """Return a job of `operator`, on a machine of that name."""
        to = target or Target()

        def copy(letter: Candidate, replays: int, at: float) -> Outgoing:
            return copy_of(
                letter, Changed.nothing(letter), target=to, job="7f3a", replays=replays, at=at, editor=operator, epoch=None
            )

        def sender(job: ReplayJob) -> Sender:
            def make() -> MemoryProducer:
                return MemoryProducer(self.host(operator), f"shop-dlq-replay-{DLQ}", transaction_timeout=30.0)

            return Sender(make, timeout=5.0, is_ours=job.is_ours)

        rows = MemoryRows(self.kafka, self.clock)
        rows.meanwhile = self.answer
        moment = datetime.fromtimestamp(self.clock.wall(), UTC)
        return ReplayJob(
            name,
            Job(dlq=DLQ, state=JobState.RUNNING, operator=operator, scope="--all", target=str(to), started=moment, at=moment),
            Work(letters=letters, copy=copy, reports_back=to.reports_back, **work),
            pace or Pace(rate=None),
            status_topic=STATUS,
            owner=Owner(operator, f"{operator}s-machine", 1),
            log=StatusLog(rows),
            sender=sender,
            clock=self.clock,
            watcher=Silent(),
        )

    def run(self, letters: Sequence[Candidate], name: str = "7f3a", **options: Any) -> Result:
        return self.job(letters, name, **options).run()

    # --- a worker

    verdict: Callable[[str], Status | None] = lambda _: Status.RESOLVED
    """What the worker says of a letter whose copy it read; None: nothing."""
    _answered: set[tuple[str, int]] = field(default_factory=set)

    def answer(self) -> None:
        """Be the worker: answer each copy once."""
        for number in range(2):
            for record in self.kafka.records(SOURCE, number):
                told = {name: (value or b"").decode() for name, value in record.headers() or []}
                of = told.get("streamapp.dlq.replay-of")
                if of is None or (SOURCE, record.offset() * 2 + number) in self._answered:
                    continue
                status = self.verdict(of)
                if status is not None:
                    self._answered.add((SOURCE, record.offset() * 2 + number))
                    self.write(of, Resolution(status=status, at=datetime.fromtimestamp(self.clock.wall(), UTC), by="w-1"))

    # --- what is in the topics

    def write(self, name: str, row: Row) -> None:
        key, value = encode(name, row)
        self.kafka.feed(STATUS, 0, value, key=key)

    def lock(self, owner: str, age: float) -> None:
        self.write(DLQ, Lock(job="0000", owner=owner, beat=datetime.fromtimestamp(self.clock.wall() - age, UTC)))

    def copies(self, topic: str = SOURCE, partition: int | None = None) -> list[str]:
        """Return the ids of the letters that were copied, in order."""
        numbers = range(self.kafka.partitions_of(topic)) if partition is None else [partition]
        return [
            (value or b"").decode()
            for number in numbers
            for record in self.kafka.records(topic, number)
            for name, value in record.headers() or []
            if name == "streamapp.dlq.replay-of"
        ]

    @property
    def rows(self) -> StatusLog:
        """The rows as they are now."""
        log = StatusLog(MemoryRows(self.kafka, self.clock))
        log.catch_up()
        return log

    def again(self, letters: Sequence[Candidate]) -> list[Candidate]:
        """Return the letters as a command sees them that starts now."""
        log = self.rows
        found = []
        for each in letters:
            row = log.resolution(each.id)
            found.append(
                each
                if row is None
                else replace(each, status=row.status, job=row.job, replays=row.replays, row_replays=row.replays)
            )
        return found
