"""The changelogs of an app, from outside: what they hold, whether closed stores hold the same, and what operators do to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias, cast
from uuid import uuid4

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from rocksdict import Options, Rdict

from tests.support.topic_reader import read_topics
from tests.support.topics import PATIENCE, create_topic, delete_topics, end_offsets

Rows: TypeAlias = "dict[bytes, bytes]"
TABLES: Final = ("processed_orders", "customer_totals", "sku_totals", "dead_letters")
_DATA: Final = b"\x01"
"""What a row's key begins with in a store."""


def changelog(app_id: str, table: str) -> str:
    return f"{app_id}-{table}-changelog"


def rows_of(bootstrap: str, topic: str) -> dict[int, Rows]:
    """Return the last value of each key that was not deleted, by partition."""
    found: dict[int, Rows] = {}
    for number, lane in read_topics(bootstrap, [topic])[topic].items():
        rows = found.setdefault(number, {})
        for rec in lane:
            if rec.value is None:
                rows.pop(rec.key or b"", None)
            else:
                rows[rec.key or b""] = rec.value
    return found


def stored(store: Path) -> Rows:
    """Return the rows of a store that is not open."""
    database = Rdict(str(store), Options(raw_mode=True))
    try:
        items = cast("Iterable[tuple[bytes, bytes]]", database.items())  # bytes, in raw mode
        return {key[1:]: value for key, value in items if key.startswith(_DATA)}
    finally:
        database.close()


def differences(bootstrap: str, app_id: str, data_dir: Path, tables: Iterable[str] = TABLES) -> list[str]:
    """Say where the closed stores of the one worker that has all partitions differ from their changelogs."""
    lines = []
    for table in tables:
        for number, rows in rows_of(bootstrap, changelog(app_id, table)).items():
            there = stored(data_dir / "tables" / table / str(number))
            lacks, extra = rows.keys() - there.keys(), there.keys() - rows.keys()
            other = [key for key in rows.keys() & there.keys() if rows[key] != there[key]]
            if lacks or extra or other:
                lines.append(f"{table}/{number}: lacks {len(lacks)}, has {len(extra)} more, {len(other)} differ")
    return lines


def produce(bootstrap: str, topic: str, rows: Mapping[int, Rows]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for number, partition in rows.items():
        for key, value in partition.items():
            producer.produce(topic, value, key, number)
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0


def truncate_behind_a_copy(bootstrap: str, topic: str) -> None:
    """Write all rows anew and delete every record before them: the log's start lies past what any store is current to."""
    # Of a compacted topic the broker deletes no records on request.
    endless = {"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1"}
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in endless.items()]
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for done in admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)], request_timeout=PATIENCE
    ).values():
        done.result(PATIENCE)
    rows, ends = rows_of(bootstrap, topic), end_offsets(bootstrap, topic)
    produce(bootstrap, topic, rows)
    cuts = [TopicPartition(topic, number, end) for number, end in ends.items()]
    for answer in admin.delete_records(cuts, request_timeout=PATIENCE).values():
        answer.result(PATIENCE)


def make_anew_from_a_copy(bootstrap: str, topic: str) -> None:
    """Delete the topic and make it again with the same rows: as from a backup, at other offsets."""
    rows = rows_of(bootstrap, topic)
    delete_topics(bootstrap, [topic])
    create_topic(bootstrap, topic, len(rows), {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"})
    produce(bootstrap, topic, rows)


class ForeignTransaction:
    """A transaction of somebody else, open from the start until `commit` or `abort`."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "transactional.id": f"foreign-{uuid4()}", "transaction.timeout.ms": 300_000}
        )
        self.producer.init_transactions(PATIENCE)
        self.producer.begin_transaction()

    def produce(self, topic: str, number: int, key: bytes | None, value: bytes | None, timestamp: int = 0) -> None:
        """Have the record in the log, undecided."""
        self.producer.produce(topic, value, key, number, timestamp=timestamp)
        assert self.producer.flush(PATIENCE) == 0

    def commit(self) -> None:
        self.producer.commit_transaction(PATIENCE)

    def abort(self) -> None:
        self.producer.abort_transaction(PATIENCE)
