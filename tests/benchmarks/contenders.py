"""Who is measured: what starts each of them, on which topics, and how its output is counted."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, TopicPartition

from tests.benchmarks.workload import PARTITIONS
from tests.support.ledger import check
from tests.support.topic_reader import read_history, rec_of
from tests.support.topics import Countdown, TookTooLong, bare_consumer
from tests.support.workers import FAUST


class OutputWrong(AssertionError):
    """A contender's output is not what the job asks for: its speed is no figure."""


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    sources: tuple[str, ...]
    """Read until nothing is left, in this order."""
    tables: tuple[tuple[str, int], ...]
    """Each with its changelog's partitions."""
    outputs: tuple[str, ...]
    """Each holds every order id once."""


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    command: tuple[str, ...]
    job: Job
    dedupes: bool = True
    thorough: Callable[[str, str], None] | None = None
    """Checks a smaller first run with all that can be checked: (bootstrap, app id)."""


DEDUPE: Final = Job("dedupe", ("orders",), (("seen", 8),), ("bench-out",))
ORDERS: Final = Job(
    "orders",
    ("orders", "sku-demand"),
    (("processed_orders", 8), ("customer_totals", 8), ("sku_totals", 5)),
    ("orders-priced", "sku-demand", "sku-totals"),
)


def _ledger(bootstrap: str, app_id: str) -> None:
    check(read_history(bootstrap, app_id, deadline=180)).require_ok()


def _by_hand(job: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.benchmarks.hand_written_loop", job)


CONTENDERS: Final = (
    Contender("copy loop (floor)", (sys.executable, "-m", "tests.benchmarks.copy_loop"), DEDUPE, dedupes=False),
    Contender("hand-written loop", _by_hand("dedupe"), DEDUPE),
    Contender("streamapp", (str(FAUST), "-A", "tests.benchmarks.dedupe_app", "worker", "-l", "info"), DEDUPE),
    Contender("hand-written loop", _by_hand("orders"), ORDERS, thorough=_ledger),
    Contender("streamapp", (str(FAUST), "-A", "streamapp", "worker", "-l", "info"), ORDERS, thorough=_ledger),
)


def recount(bootstrap: str, contender: Contender, expected: Counter[str]) -> None:
    """Raise OutputWrong unless every output topic holds what it should: each id once, or each record for the copy loop."""
    for topic in contender.job.outputs:
        found = ids_in(bootstrap, topic)
        due = expected if not contender.dedupes else Counter(dict.fromkeys(expected, 1))
        if found != due:
            lost, extra = due - found, found - due
            raise OutputWrong(
                f"{contender.name} on {contender.job.name}: {topic} lacks {lost.total()} records "
                f"(e.g. {[*lost][:3]}) and has {extra.total()} too many (e.g. {[*extra][:3]})"
            )


def ids_in(bootstrap: str, topic: str, *, deadline: float = 120.0) -> Counter[str]:
    """Return how often each order id is in `topic`, `read_committed`."""
    found: Counter[str] = Counter()
    consumer = bare_consumer(bootstrap)
    countdown, waiting = Countdown(deadline), set(range(PARTITIONS[topic]))
    try:
        consumer.assign([TopicPartition(topic, number, -2) for number in waiting])
        while waiting:
            if countdown.over:
                raise TookTooLong(f"{topic} not read to its end")
            for message in consumer.consume(10_000, 0.5):
                error = message.error()
                if error is None:
                    found[order_id_of(rec_of(message).value or b"")] += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition() or 0)
    finally:
        consumer.close()
    return found


def order_id_of(value: bytes) -> str:
    """Return the id in a small order's JSON without parsing the rest."""
    start = value.index(b'"order_id"') + 10
    start = value.index(b'"', start) + 1
    return value[start : value.index(b'"', start)].decode()


def changelog_topics(app_id: str, job: Job) -> dict[str, int]:
    return {f"{app_id}-{table}-changelog": count for table, count in job.tables}


def data_dir(home: Path, app_id: str) -> Path:
    return home / app_id
