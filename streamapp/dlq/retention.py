"""When retention deletes a letter: its topic's retention.ms counts from when the topic took it in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamapp.dlq.letters import Letter
from streamapp.doctor.facts import retention_of
from streamapp.ports import LogReader


def retentions(reader: LogReader, topics: Iterable[str]) -> dict[str, float | None]:
    """Return the seconds that each topic keeps a record, None for ever; topics whose settings may not be seen are absent."""
    return {topic: retention_of(config) for topic, config in reader.topic_configs(list(topics)).items()}


def time_left(letter: Letter | None, kept: Mapping[str, float | None], now: float) -> float | None:
    """Return the seconds until the letter may be deleted, at least; None where that is never, or not known."""
    if letter is None or letter.timestamp is None:
        return None
    retention = kept.get(letter.dlq.topic)
    # Segments go whole and later than this: the estimate is the earliest moment.
    return None if retention is None else max(0.0, letter.timestamp / 1000 + retention - now)


__all__ = ["retention_of", "retentions", "time_left"]
