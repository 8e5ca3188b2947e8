"""What the writing commands do at the cluster once they may: run a job, write rows, wait for a worker's answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from streamapp.clock import Clock, Deadline
from streamapp.dlq.candidate import Candidate
from streamapp.dlq.copies import copy_of
from streamapp.dlq.guards import Owner
from streamapp.dlq.job import Pace, ReplayJob, Result, Watcher, Work
from streamapp.dlq.letters import Letter
from streamapp.dlq.plan import Plan
from streamapp.dlq.sender import JobsProducer, Sender
from streamapp.dlq.status_log import StatusLog
from streamapp.kafka import client_config
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.log_tail import LogTail
from streamapp.kafka.producer import KafkaProducer
from streamapp.pipeline.resolution import Job, Resolution, Row, Status, Take, TakeState, encode, status_topic
from streamapp.records import Outgoing, Partition
from streamapp.settings import Settings
from streamapp.worker.cluster import may_not_be_created, status_config

ANSWER: Final = 10.0
"""Seconds that a worker has to answer a take."""


class Writing:
    """One thread."""

    def __init__(self, settings: Settings, *, timeout: float, operator: str, clock: Clock, watcher: Watcher) -> None:
        self._settings = settings
        self._timeout = timeout
        self._operator = operator
        self._clock = clock
        self._watcher = watcher
        self._topic = status_topic(settings.identity.app_id)

    def replay(self, plan: Plan, name: str, row: Job, pace: Pace, *, epoch: str | None) -> Result:
        """Run a job. Raises GuardRefused: another has the topic. Raises BrokerUnreachable: `--resume` goes on with it."""
        self._require_topic(plan.dlq)

        def copy(letter: Candidate, replays: int, at: float) -> Outgoing:
            content = plan.contents[letter.id]
            return copy_of(
                letter, content, target=plan.target, job=name, replays=replays, at=at, editor=self._operator, epoch=epoch
            )

        def make() -> JobsProducer:
            config = client_config.named_transactional_producer(self._settings, f"dlq-replay-{plan.dlq}")
            return KafkaProducer(config, transactional=True)

        def sender(job: ReplayJob) -> Sender:
            return Sender(make, timeout=max(self._timeout, self._settings.transaction.transaction_timeout), is_ours=job.is_ours)

        with self._rows() as log:
            return ReplayJob(
                name,
                row,
                Work(
                    letters=plan.send,
                    copy=copy,
                    reports_back=plan.target.reports_back,
                    parked=plan.sorted.parked,
                    superseded=plan.superseded,
                    earlier=plan.earlier,
                ),
                pace,
                status_topic=self._topic,
                owner=Owner.here(self._operator),
                log=log,
                sender=sender,
                clock=self._clock,
                watcher=self._watcher,
            ).run()

    def discard(self, letters: Sequence[Letter], reason: str) -> None:
        """Mark them. Raises BrokerUnreachable, DeliveryFailed: some may be marked."""
        self._require_topic(letters[0].dlq.topic)
        at = self._now()
        self._write(
            [
                (
                    letter.id,
                    Resolution(status=Status.DISCARDED, at=at, by=self._operator, reason=reason, replays=letter.replays),
                )
                for letter in letters
            ]
        )

    def take(self, place: str, dlq: str, answer_within: float = ANSWER) -> TakeState | None:
        """Ask the partition's worker to dead-letter the record it waits on; return its answer, None where none came.

        Without one the request is taken back: a worker that comes an hour later is not to act on it.
        """
        self._require_topic(dlq)
        with self._rows() as log:
            log.catch_up()
            asked = Take(state=TakeState.ASKED, at=self._now(), by=self._operator)
            self._write([(place, asked)])
            deadline, is_heard = Deadline.after(answer_within), False
            while not deadline.passed:
                for name, row in log.poll(deadline.slice(0.2)):
                    if name != place or not isinstance(row, Take):
                        continue
                    if row.state is not TakeState.ASKED and is_heard:
                        return row.state
                    is_heard = is_heard or row == asked  # an answer before that is one to an earlier request
            key, _ = encode(place, asked)
            self._send([(self._topic, None, key, 0, 0, [])])
            return None

    # --- inside

    @contextlib.contextmanager
    def _rows(self) -> Iterator[StatusLog]:
        log = StatusLog(LogTail(self._settings, "dlq-rows", Partition(self._topic, 0), self._timeout))
        try:
            yield log
        finally:
            log.close()

    def _require_topic(self, dlq: str) -> None:
        """Make the status topic where no worker has done so yet. Raises TopologyInvalid, BrokerUnreachable."""
        admin, deadline = KafkaAdmin(client_config.admin(self._settings, "dlq")), Deadline.after(self._timeout)
        if admin.partition_counts([self._topic], deadline):
            return
        config = status_config([admin.topic_configs([dlq], deadline).get(dlq, {}) if dlq else {"retention.ms": "-1"}])
        if not self._settings.topics.topic_allow_declare:
            raise may_not_be_created(self._topic, 1, config)
        admin.create(self._topic, 1, config, self._settings.topics.topic_replication_factor or -1, deadline)

    def _write(self, rows: Sequence[tuple[str, Row]]) -> None:
        records: list[Outgoing] = []
        for name, row in rows:
            key, value = encode(name, row)
            records.append((self._topic, value, key, 0, 0, []))
        self._send(records)

    def _send(self, records: Sequence[Outgoing]) -> None:
        producer = KafkaProducer(client_config.idempotent_producer(self._settings, "dlq"), transactional=False)
        deadline = Deadline.after(self._timeout)
        try:
            for record in records:
                while not producer.produce(record):
                    producer.wait(0.1)
            producer.flush(deadline)
        finally:
            producer.close()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), UTC)


__all__ = ["ANSWER", "Writing"]
