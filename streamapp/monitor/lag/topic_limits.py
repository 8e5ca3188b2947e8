"""How a topic is set, as far as that bounds what is unread in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

UNLIMITED = -1
"""What Kafka writes for it in `retention.ms` and `retention.bytes`."""


@dataclass(frozen=True, slots=True)
class TopicLimits:
    known: bool
    """Whether all that bounds it was told: what was not is no promise."""
    retention: float | None
    """Seconds; None: unlimited, or not `known`."""
    retention_bytes: int | None
    compacted: bool
    deleted: bool
    delete_retention: float | None
    """Seconds that tombstones are kept; None: unknown."""

    @classmethod
    def of(cls, config: Mapping[str, str] | None) -> TopicLimits:
        """Return what a topic's settings say; None: they may not be seen."""
        told = config or {}
        policy = told.get("cleanup.policy")
        kept, size, tombstones = (_number(told.get(name)) for name in ("retention.ms", "retention.bytes", "delete.retention.ms"))
        return cls(
            known=None not in (policy, kept, size, tombstones),
            retention=None if kept is None or kept <= UNLIMITED else kept / 1000,
            retention_bytes=None if size is None or size <= UNLIMITED else size,
            compacted=policy is not None and "compact" in policy,
            deleted=policy is None or "delete" in policy,
            delete_retention=None if tombstones is None else tombstones / 1000,
        )


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


NOT_SEEN = TopicLimits.of(None)

__all__ = ["NOT_SEEN", "TopicLimits"]
