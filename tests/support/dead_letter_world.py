"""Dead letters in a Kafka in memory, at fixed times: for tests of what the commands make of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from streamapp.dlq.letters import Letter, Reading, Watcher, bounds_of, read_letters
from streamapp.dlq.statuses import read_statuses
from streamapp.pipeline.dead_letter import PREFIX, parse_id
from streamapp.pipeline.resolution import Resolution, Row, Status, encode, status_topic
from streamapp.records import Headers
from streamapp.testing.memory_kafka import MemoryInspector, MemoryKafka

APP: Final = "order-processor"
DLQ: Final = "orders-dlq"
NOW: Final = datetime(2026, 11, 23, 8, 20, 2, tzinfo=UTC)
DAY: Final = 86_400


def ago(**span: float) -> datetime:
    """Return the moment so long before NOW."""
    return NOW - timedelta(**span)


def rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class DeadLetterWorld:
    """A cluster with the dead-letter topic of the order processor, and its status topic."""

    def __init__(self, *, retention: float = 30 * DAY, partitions: int = 8) -> None:
        self.kafka = MemoryKafka({"orders": 8})
        self.reader = MemoryInspector(self.kafka)
        self.kafka.create_topic(DLQ, partitions, {"retention.ms": str(int(retention * 1000))})
        self.kafka.create_topic(status_topic(APP), 1, {})

    def bury(
        self,
        id: str,
        *,
        failed: datetime,
        first_failed: datetime | None = None,
        key: bytes | None = b"ann",
        value: bytes | None = b"{}",
        headers: Headers | None = None,
        dlq: str = DLQ,
        **facts: str,
    ) -> None:
        """Write a dead letter; `facts`: headers by their short name, with _ for - and __ for a dot."""
        parsed = parse_id(id)
        assert parsed is not None, id
        source, agent = parsed
        told = {
            "id": id,
            "app": APP,
            "agent": agent,
            "source.group": APP,
            "source.topic": source.topic,
            "source.partition": str(source.partition),
            "source.offset": str(source.offset),
            "source.timestamp": str(int(failed.timestamp() * 1000) - 2_000),
            "source.timestamp-type": "create",
            "position": str(source),
            "stage": "handler",
            "reason": "retries-exhausted",
            "attempts": "4",
            "first-failed-at": rfc3339(first_failed or failed),
            "failed-at": rfc3339(failed),
            "order": "skipped",
            "worker": "w-2",
            "version": "1.4.0",
            "transactional-id": f"{APP}-w-2",
            "exception.type": "builtins.TimeoutError",
            "exception.message": "price service did not answer in 2.0 s",
            "exception.stacktrace": "builtins.TimeoutError: price service did not answer in 2.0 s\n  agents/orders.py:41 price",
            "exception.fingerprint": "51d0a7e2c3f8",
        } | {name.replace("__", ".").replace("_", "-"): text for name, text in facts.items()}
        ours: Headers = [(PREFIX + name, text.encode()) for name, text in told.items()]
        self.kafka.feed(
            dlq,
            source.partition % self.kafka.partitions_of(dlq),
            value,
            key=key,
            timestamp=int(failed.timestamp() * 1000),
            headers=[*(headers or []), *ours],
        )

    def say(self, name: str, row: Row) -> None:
        """Write a row of the status topic."""
        key, value = encode(name, row)
        self.kafka.feed(status_topic(APP), 0, value, key=key)

    def resolve(self, id: str, status: Status, *, at: datetime | None = None, **more: object) -> None:
        self.say(id, Resolution(status=status, at=at or NOW, by="ops", **more))  # type: ignore[arg-type]  # a row's own fields

    def read(self, *, watcher: Watcher | None = None, dlqs: tuple[str, ...] = (DLQ,)) -> Reading:
        """Read all letters, as a command does: bounds, statuses, letters."""
        bounds = bounds_of(self.reader, dlqs)
        statuses = read_statuses(self.reader, APP)
        return read_letters(self.reader, bounds, app_id=APP, resolutions=statuses.resolutions, watcher=watcher)

    def letter(self, id: str) -> Letter:
        (found,) = [letter for letter in self.read().letters if letter.id == id]
        return found


__all__ = ["APP", "DAY", "DLQ", "NOW", "DeadLetterWorld", "ago", "rfc3339"]
