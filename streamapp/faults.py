"""Named points at which tests make a worker die, wait or fail. In production `hook` is None and a point costs one comparison."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class FaultPoint(StrEnum):
    """Where a fault can strike; none lies on the per-record path except the first output of a unit."""

    AFTER_FIRST_PRODUCE = "after-first-produce"
    BEFORE_PRODUCE = "before-produce"
    AFTER_FLUSH = "after-flush"
    AFTER_CHANGELOG = "after-changelog"
    """At least once only, where the changelog has a flush of its own behind the outputs'."""
    AFTER_SEND_OFFSETS = "after-send-offsets"
    AFTER_COMMIT = "after-commit"
    MID_APPLY = "mid-apply"
    AFTER_APPLY = "after-apply"
    IN_ASSIGN = "in-assign"
    MID_RESTORE = "mid-restore"
    IN_REVOKE_BEFORE_COMMIT = "in-revoke-before-commit"
    IN_REVOKE_AFTER_COMMIT = "in-revoke-after-commit"
    ABORT_BEFORE_REWIND = "abort-before-rewind"
    ABORT_AFTER_REWIND = "abort-after-rewind"
    IN_PRODUCER_REBUILD = "in-producer-rebuild"
    REPLAY_BEFORE_COMMIT = "replay-before-commit"
    """In the job that replays dead letters, as the next: copies and rows are at the broker, their transaction is open."""
    REPLAY_AFTER_COMMIT = "replay-after-commit"


hook: Callable[[FaultPoint], None] | None = None


def reached(point: FaultPoint) -> None:
    """Tell a test that `point` was reached; the test's hook may raise, wait or kill the process."""
    if hook is not None:
        hook(point)
