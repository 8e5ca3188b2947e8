"""The copy of a dead letter: an ordinary new record, so that dedupe, order and totals mean what they always mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streamapp.dlq.candidate import Candidate
from streamapp.dlq.change import Changed
from streamapp.pipeline.dead_letter import PREFIX, rfc3339
from streamapp.records import Outgoing

SOURCE: Final = "source"
AGENT: Final = "agent"
_TOPIC: Final = "topic:"


@dataclass(frozen=True, slots=True)
class Target:
    """Where copies go: back to the source, or to a topic named by hand."""

    topic: str | None = None
    """None: each to its own source topic."""
    partitions: int = 0
    """Of that topic."""

    def __str__(self) -> str:
        return SOURCE if self.topic is None else f"{_TOPIC}{self.topic}"

    @property
    def reports_back(self) -> bool:
        """Whether a worker of the app reads the copy and says what became of it."""
        return self.topic is None


def topic_named(target: str) -> str | None:
    """Return the topic of `topic:NAME`; None for another target."""
    return target.removeprefix(_TOPIC) if target.startswith(_TOPIC) else None


def copy_of(
    letter: Candidate, content: Changed, *, target: Target, job: str, replays: int, at: float, editor: str, epoch: str | None
) -> Outgoing:
    """Return the record to send. `replays`: how often it is sent again, this time included; `at`: seconds since 1970.

    `job`: so that the worker's answer names it. `epoch` None keeps what an earlier `--force-reprocess` gave the record: without it, dedupe would know the record again.
    """
    facts = letter.facts
    ours = {"replay-of": letter.id, "replay-count": str(replays), "replayed-at": rfc3339(at), "job": job}
    if (kept := epoch or facts.epoch) is not None:
        ours["epoch"] = kept
    if (edited_by := editor if content.is_changed else facts.edited_by) is not None:
        ours["edited-by"] = edited_by
    if facts.trace_id is not None:
        ours["trace-id"] = facts.trace_id  # whoever traces the replay links to the call that failed
    headers = [*content.headers, *((PREFIX + name, text.encode()) for name, text in ours.items())]
    topic, number = letter.source
    if target.topic is not None:
        topic, number = target.topic, number % target.partitions
    return topic, content.value, content.key, number, letter.timestamp, headers


__all__ = ["AGENT", "SOURCE", "Target", "copy_of", "topic_named"]
