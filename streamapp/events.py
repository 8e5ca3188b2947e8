"""Everything that the log may say: the closed list of events, and the one call that writes one.

Logs, metrics and tests listen to these names, so a name changes only with a release note.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Final

CLIENT_LOGGER: Final = "streamapp.librdkafka"
"""The logger that the client library's own lines go to (`logger=` of each client)."""


class Event(StrEnum):
    """What happened, as the log's `event` field has it."""

    LOG = "log"
    """A line without an event of ours: a library's, mostly. Its logger is named."""
    # -- the worker's life
    WORKER_STARTED = "worker_started"
    """The worker starts: its id, directory, version, guarantee."""
    WORKER_READY = "worker_ready"
    """Partitions are assigned and their tables restored, or the worker is an idle member."""
    WORKER_STOPPING = "worker_stopping"
    """A stop was asked for; what is in hand is finished."""
    WORKER_STOPPED = "worker_stopped"
    """The worker is down: how long it took, what was committed."""
    WORKER_FAILED = "worker_failed"
    """The worker stops because of an error that it cannot recover from: which, where."""
    SETTING_NOTICE = "setting_notice"
    """A setting was ignored, is unknown, or was derived other than by default."""
    CLEANUP_FAILED = "cleanup_failed"
    """Something did not close cleanly during a stop; nothing depends on it."""
    BROKER_UNREACHABLE = "broker_unreachable"
    """No broker answers; the worker keeps trying."""
    BROKER_BACK = "broker_back"
    """A broker answers again: after how long."""
    TOPIC_CREATED = "topic_created"
    """A missing topic was created: partitions, replicas."""
    MISSING_TOPIC = "missing_topic"
    """A source topic does not exist and is not ours to create: repeated until it is there."""
    DOCTOR_FINDING = "doctor_finding"
    """A check of `streamapp doctor` that runs at start found something."""
    WEB_FAILED = "web_failed"
    """A request to the page failed in our code."""
    # -- the group
    PARTITIONS_ASSIGNED = "partitions_assigned"
    """Partitions came, and later: they run. Which, how many are now held; then, how long that took."""
    PARTITIONS_REVOKED = "partitions_revoked"
    """Partitions went after their work was committed: which, how long it took."""
    ASSIGNMENT_LOST = "assignment_lost"
    """The session expired or polling was late: partitions are gone, nothing was committed."""
    PARTITIONS_ADDED = "partitions_added"
    """A source topic grew: what the worker does about the new partitions, and the way out."""
    IDLE_MEMBER = "idle_member"
    """More workers than partitions: this one stays as a spare."""
    INSTANCE_FENCED = "instance_fenced"
    """The group fenced this member's static id; it is rebuilt once, a second time within a minute is a rival."""
    CALLBACK_FAILED = "callback_failed"
    """A rebalance callback failed in our code; its partitions are treated as lost."""
    LEADER_CHANGED = "leader_changed"
    """This worker became the app's leader, or ceased to be."""
    # -- where reading starts
    START_RESOLVED = "start_resolved"
    """A partition without committed offset got its start, which was committed as a number."""
    RECORDS_LOST = "records_lost"
    """The committed offset lies before the log's start: how many unread records retention deleted."""
    OFFSET_BEYOND_END = "offset_beyond_end"
    """The committed offset lies beyond the log's end: the partition is stopped, never started from zero."""
    # -- transactions
    TRANSACTION_ABORTED = "transaction_aborted"
    """A unit was dropped and is replayed from the committed offsets: its cause."""
    PRODUCER_REBUILT = "producer_rebuilt"
    """A new producer took over under the same id: cause `fenced`, `coordinator_trouble` or what the client said."""
    COMMIT_UNKNOWN = "commit_unknown"
    """The answer to a commit was lost; committed offsets and changelog decide what became of it."""
    COMMIT_RESUMED = "commit_resumed"
    """A commit timed out and was called again."""
    COMMIT_SLOW = "commit_slow"
    """A commit took longer than its interval by far: how long each step took."""
    RIVAL_WORKER = "rival_worker"
    """Fenced five times within a minute: another live worker has this id. The worker stops."""
    # -- tables
    RESTORE_STARTED = "restore_started"
    """A table partition is read from its changelog: from where to where, and why."""
    RESTORE_PROGRESS = "restore_progress"
    """A restore goes on: records left, rate, time left."""
    RESTORE_WAITING = "restore_waiting"
    """An open transaction holds the changelog: last stable offset, high watermark, age."""
    RESTORE_FINISHED = "restore_finished"
    """A table partition is current: records, seconds."""
    STORE_WIPED = "store_wiped"
    """A table partition was unreadable or from another log, and is restored: the reason."""
    APPLY_FAILED = "apply_failed"
    """The disk refused a committed overlay; the line is closed and its tail restored."""
    # -- records
    RECORD_RETRIED = "record_retried"
    """A record failed and gets another attempt: which, when."""
    RECORD_DEAD_LETTERED = "record_dead_lettered"
    """A record went to its dead-letter topic: its id, error, fingerprint."""
    DEAD_LETTER_CUT = "dead_letter_cut"
    """A dead letter was too large: what was left out; `replay` needs the source topic for it."""
    DLQ_WRITE_FAILED = "dlq_write_failed"
    """A dead letter could not be written; its partition is paused and tried again."""
    SLOW_RECORD = "slow_record"
    """An agent has been on one record for longer than `agent_warning_after`."""
    LANE_STALLED = "lane_stalled"
    """A partition does not move: what it waits for."""
    LANE_STOPPED = "lane_stopped"
    """A partition is stopped at a record by its agent's `stop` policy."""
    LANE_RESUMED = "lane_resumed"
    """A partition that stood still moves again."""
    BREAKER_OPENED = "breaker_opened"
    """An agent's breaker opened on a partition: the verdicts that did it."""
    BREAKER_CLOSED = "breaker_closed"
    """A probe succeeded; the partition goes on."""
    PARTITION_SUSPECT = "partition_suspect"
    """Two lives ended on this partition without progress: its records are tried one by one."""
    RECORD_KILLED_WORKER = "record_killed_worker"
    """A record that ended the process each time it was tried was dead-lettered without another call."""
    OUTPUT_REFUSED = "output_refused"
    """The broker refused a record for its size; the unit is replayed record by record to find it."""
    AGENT_RESTARTED = "agent_restarted"
    """An agent's coroutine ended or was dropped with a unit, and was started afresh."""
    TASK_FAILED = "task_failed"
    """A timer, crontab or task of the app raised."""
    STATUS_CHANGED = "status_changed"
    """A partition's lag status changed: both, with the numbers."""


def log_event(
    logger: logging.Logger,
    level: int,
    event: Event,
    message: str,
    *,
    exc_info: BaseException | None = None,
    **fields: object,
) -> None:
    """Log `message` as `event`, with its facts as `fields` (topic, partition, offset, agent, …; never a record's value).

    The record carries `event` and `fields` as attributes for the JSON format. Not for the normal path of a record: a logging call
    costs more than the record's work.
    """
    if logger.isEnabledFor(level):
        logger.log(level, "%s", message, exc_info=exc_info, stacklevel=2, extra={"event": str(event), "fields": fields})
