"""Reads topics as an outsider does: `read_committed`, from the start to the end that stood when it began, bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.support.kafka_records import Headers, Lanes, Rec
from tests.support.ledger import DEMAND, DLQ, ORDERS, PRICED, TOPICS, TOTALS, History
from tests.support.topics import (
    PATIENCE,
    Countdown,
    Place,
    TookTooLong,
    bare_consumer,
    committed_offsets,
    partitions_of,
    wait_until,
    watermarks,
)

TABLES: Final = ("customer_totals", "sku_totals", "processed_orders")
SOURCES: Final = (ORDERS, DEMAND, DLQ)
"""What the app's agents read, in the order in which one causes the next."""


def read_topics(
    bootstrap: str,
    topics: Iterable[str],
    *,
    start: Mapping[Place, int] | None = None,
    committed_only: bool = True,
    deadline: float = PATIENCE,
) -> dict[str, Lanes]:
    """Return all records of `topics` up to their (last stable) ends; `start` gives first offsets, else the log's start.

    A topic that does not exist has no partitions. Raises TookTooLong.
    """
    counts = partitions_of(bootstrap, topics, deadline=deadline)
    found: dict[str, Lanes] = {topic: {number: [] for number in range(count)} for topic, count in counts.items()}
    waiting = {(topic, number) for topic, count in counts.items() for number in range(count)}
    if not waiting:
        return found
    # The end shows by a fetch that comes back empty: it is not to wait at the broker for half a second.
    quick: dict[str, Any] = {"fetch.wait.max.ms": 20}
    consumer = bare_consumer(bootstrap, committed_only=committed_only, **quick)
    try:
        consumer.assign([TopicPartition(*at, (start or {}).get(at, -2)) for at in waiting])
        _drain(consumer, found, waiting, Countdown(deadline))
    finally:
        consumer.close()
    return found


def _drain(consumer: Consumer, found: dict[str, Lanes], waiting: set[Place], countdown: Countdown) -> None:
    while waiting:
        if countdown.over:
            raise TookTooLong(f"not read to the end: {sorted(waiting)}")
        # consume() waits for a full batch or for all of its time: wait for one record, then take what is there.
        first = consumer.poll(min(1.0, countdown.left))
        for message in [] if first is None else [first, *consumer.consume(10_000, timeout=0)]:
            error = message.error()
            if error is None:
                rec = rec_of(message)
                found[rec.topic][rec.partition].append(rec)
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard((message.topic() or "", message.partition() or 0))
            elif not error.retriable() and error.code() not in _PASSING:
                raise KafkaException(error)


_PASSING: Final = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
"""Reported while librdkafka reconnects by itself; the deadline bounds how long."""


def rec_of(message: Message) -> Rec:
    """Return the record in `message`, which must hold no error."""
    return Rec(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        _bytes(message.key()),
        _bytes(message.value()),
        _headers(message),
        message.timestamp()[1],
    )


def _headers(message: Message) -> Headers:
    headers = message.headers()
    if not headers:
        return ()
    assert isinstance(headers, list), "a message that was read has its headers in a list"
    return tuple((name, _bytes(content)) for name, content in headers)


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def read_history(bootstrap: str, app_id: str = "order-processor", *, tables: bool = True, deadline: float = 60.0) -> History:
    """Return everything that the ledger looks at. Offsets first, so that no output of a counted order is missed."""
    countdown = Countdown(deadline)
    committed = committed_offsets(bootstrap, app_id, SOURCES, deadline=countdown.left)
    changelogs = {name: f"{app_id}-{name}-changelog" for name in TABLES} if tables else {}
    read = read_topics(bootstrap, (*TOPICS, *changelogs.values()), deadline=countdown.left)
    return History(
        orders=read[ORDERS],
        priced=read[PRICED],
        demand=read[DEMAND],
        totals=read[TOTALS],
        dead_letters=read[DLQ],
        committed=committed,
        watermarks=watermarks(bootstrap, app_topics(bootstrap, app_id), deadline=countdown.left),
        changelogs={name: read[topic] for name, topic in changelogs.items() if read[topic]},
    )


def app_topics(bootstrap: str, app_id: str) -> list[str]:
    """Return the topics of the app that exist, changelogs and other inner ones included."""
    consumer = bare_consumer(bootstrap)
    try:
        known = consumer.list_topics(timeout=PATIENCE).topics
    finally:
        consumer.close()
    return sorted(topic for topic in known if topic in TOPICS or topic.startswith(f"{app_id}-"))


def remaining(bootstrap: str, app_id: str, topics: Iterable[str] = SOURCES, *, deadline: float = PATIENCE) -> dict[str, int]:
    """Return, per topic, the offsets between the group's committed ones and the high watermarks (markers included)."""
    names = list(topics)
    committed = committed_offsets(bootstrap, app_id, names, deadline=deadline)
    left = dict.fromkeys(names, 0)
    for at, (_, high) in watermarks(bootstrap, names, deadline=deadline).items():
        left[at[0]] += max(0, high - committed.get(at, 0))
    return left


def caught_up(
    bootstrap: str,
    app_id: str = "order-processor",
    *,
    topics: Iterable[str] = SOURCES,
    deadline: float = 60.0,
    on_poll: Callable[[str], None] | None = None,
) -> float:
    """Wait until a `read_committed` read from the committed offset gives nothing, topic after topic; return the seconds.

    In this order: when `orders` is through, its transactions are decided, and only then is the end of `sku-demand`
    final. An open transaction on a topic counts as something left: its records may yet come. Raises TookTooLong.
    """
    names = list(topics)
    state = "nothing asked yet"

    def through() -> bool:
        nonlocal state
        for topic in names:
            left = _left_of(bootstrap, app_id, topic)
            if left is not None:
                state = left
                if on_poll is not None:
                    on_poll(left)
                return False
        return True

    return wait_until(through, deadline=deadline, every=0.1, why=lambda: state)


def _left_of(bootstrap: str, app_id: str, topic: str) -> str | None:
    """Say what the group still has to do on `topic`, or None."""
    committed = committed_offsets(bootstrap, app_id, [topic])
    ends = watermarks(bootstrap, [topic])
    if not ends:
        return f"{topic} does not exist"
    for at, (stable, high) in ends.items():
        if stable < high:
            return f"{topic}/{at[1]}: an open transaction, stable up to {stable} of {high}"
    behind = {at: committed.get(at, 0) for at, (_, high) in ends.items() if committed.get(at, 0) < high}
    if not behind:
        return None
    # Only markers and aborted records may lie between: reading says.
    many = sum(ends[at][1] - offset for at, offset in behind.items())
    if many > 2_000:
        return f"{topic}: {many} offsets left"
    read = _read_from(bootstrap, behind)
    return f"{topic}: {read} records left" if read else None


def _read_from(bootstrap: str, start: Mapping[Place, int]) -> int:
    found: dict[str, Lanes] = {topic: {} for topic, _ in start}
    for topic, number in start:
        found[topic][number] = []
    consumer = bare_consumer(bootstrap)
    try:
        consumer.assign([TopicPartition(*at, offset) for at, offset in start.items()])
        _drain(consumer, found, set(start), Countdown(PATIENCE))
    finally:
        consumer.close()
    return sum(len(lane) for lanes in found.values() for lane in lanes.values())
