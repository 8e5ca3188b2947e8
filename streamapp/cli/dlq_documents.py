"""Dead letters as `--json` tells them: stable names, seconds, null for what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from streamapp.verify.duplicates import hashed

if TYPE_CHECKING:
    from streamapp.dlq.blocked import BlockedKey
    from streamapp.dlq.checks import Finding
    from streamapp.dlq.letters import Letter, TopicTotals
    from streamapp.dlq.stats import Kind
    from streamapp.dlq.values import Shown
    from streamapp.pipeline.resolution import Job


def key_text(raw: bytes | None, *, hidden: bool) -> str | None:
    """Return a key for JSON: text, a byte that is none escaped; a hash where keys are hidden."""
    if raw is None:
        return None
    return hashed(raw) if hidden else raw.decode(errors="backslashreplace")


def topic_document(topic: str, totals: TopicTotals, left: float | None, now: float) -> dict[str, object]:
    oldest = totals.oldest
    return {
        "kind": "topic",
        "dlq": topic,
        "letters": totals.letters,
        "unresolved": totals.unresolved,
        "oldest_id": None if oldest is None else oldest.id,
        "oldest_age": None if oldest is None else age_of(oldest, now),
        "deleted_in": _rounded(left),
    }


def letter_document(letter: Letter, left: float | None, now: float, *, hidden: bool) -> dict[str, object]:
    told = letter.letter
    return {
        "kind": "letter",
        "id": letter.id,
        "dlq": str(letter.dlq),
        "source": str(told.source),
        "position": told.position or None,
        "agent": told.agent,
        "stage": told.stage,
        "reason": told.reason,
        "error": told.exception_type,
        "fingerprint": told.fingerprint,
        "attempts": told.attempts,
        "replays": letter.replays,
        "failures": letter.count,
        "status": str(letter.status),
        "first_failed_at": moment(told.first_failed_at),
        "failed_at": moment(told.failed_at),
        "age": age_of(letter, now),
        "deleted_in": _rounded(left),
        "key": key_text(letter.key, hidden=hidden),
        "value_size": told.value_size if told.value_size is not None or letter.value is None else len(letter.value),
    }


def whole_document(
    letter: Letter, shown: Shown, left: float | None, now: float, job: Job | None, *, hidden: bool
) -> dict[str, object]:
    told, row = letter.letter, letter.resolution
    return letter_document(letter, left, now, hidden=hidden) | {
        "order": told.order,
        "group": told.group,
        "worker": told.worker,
        "version": told.version,
        "transactional_id": told.transactional_id,
        "trace_id": told.trace_id,
        "timestamp": None if told.timestamp is None else told.timestamp / 1000,
        "replayed_at": moment(told.replayed_at),
        "edited_by": told.edited_by,
        "epoch": told.epoch,
        "truncated": list(told.truncated),
        "message": None if hidden else told.message,
        "cause": None if hidden else told.cause,
        "stack": None if hidden else told.stacktrace,
        "value": None if hidden or letter.value is None else shown.text,
        "value_form": shown.form,
        "value_refused": shown.why_not,
        "headers": [
            [name, None if hidden or value is None else value.decode(errors="backslashreplace")]
            for name, value in letter.user_headers
        ],
        "resolution": None
        if row is None
        else {
            "status": str(row.status),
            "at": moment(row.at),
            "by": row.by,
            "job": row.job,
            "operator": None if job is None else job.operator,
            "reason": row.reason,
            "outcome": row.outcome,
        },
    }


def kind_document(kind: Kind, left: float | None) -> dict[str, object]:
    return {
        "kind": "stats",
        **kind.by,
        "count": kind.count,
        "unresolved": kind.unresolved,
        "first_seen": kind.first,
        "last_seen": kind.last,
        "per_hour": None if kind.per_hour is None else round(kind.per_hour, 3),
        "deleted_in": _rounded(left),
        "example": kind.example.id,
        "example_error": kind.example.letter.exception_type,
    }


def blocked_document(row: BlockedKey, now: float, *, hidden: bool) -> dict[str, object]:
    return {
        "kind": "blocked",
        "agent": row.agent,
        "source": f"{row.topic}/{row.partition}",
        "key": key_text(row.key, hidden=hidden),
        "held": row.held,
        "age": max(0.0, round(now - row.since, 3)),
        "head": row.head,
    }


def job_document(name: str, job: Job) -> dict[str, object]:
    return {
        "kind": "job",
        "job": name,
        "dlq": job.dlq,
        "state": str(job.state),
        "operator": job.operator,
        "scope": job.scope,
        "target": job.target,
        "started": moment(job.started),
        "at": moment(job.at),
        "matched": job.matched,
        "sent": job.sent,
        "resolved": job.resolved,
        "reopened": job.reopened,
        "reason": job.reason,
    }


def finding_document(finding: Finding) -> Mapping[str, object]:
    return {"kind": "finding"} | asdict(finding)


def age_of(letter: Letter, now: float) -> float | None:
    """Return the seconds since the first failure; clocks apart must not make it negative."""
    return None if letter.first_failed_at is None else max(0.0, round(now - letter.first_failed_at, 3))


def moment(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


__all__ = [
    "age_of",
    "blocked_document",
    "finding_document",
    "job_document",
    "key_text",
    "kind_document",
    "letter_document",
    "moment",
    "topic_document",
    "whole_document",
]
