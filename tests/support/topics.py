"""Small helpers around topics: make them, and ask where they and a group stand. Everything has a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias, TypeVar
from uuid import uuid4

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

Place: TypeAlias = "tuple[str, int]"
"""A topic's partition."""
_Answer = TypeVar("_Answer")

PATIENCE: Final = 30.0
"""Seconds that a call waits where the caller does not say."""
REQUEST: Final = 5.0
"""Seconds for one request; a call that fails on a broker in trouble is made again until its deadline."""


class TookTooLong(AssertionError):
    """A bounded wait ran out. An AssertionError, since in a test it is one."""


class Countdown:
    """What is left of a number of seconds, by a clock that nobody sets."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        return self.left <= 0


def wait_until(what: Callable[[], bool], *, deadline: float = PATIENCE, every: float = 0.05, why: Callable[[], str]) -> float:
    """Poll `what` until it holds; return the seconds that took. Raises TookTooLong with `why()`."""
    countdown, started = Countdown(deadline), time.monotonic()
    while not what():
        if countdown.over:
            raise TookTooLong(f"after {deadline:g} s: {why()}")
        time.sleep(every)
    return time.monotonic() - started


def bare_consumer(
    bootstrap: str, *, committed_only: bool = True, group: str | None = None, **options: str | int | bool
) -> Consumer:
    """Return a consumer that never joins a group nor commits, for reading and asking."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group or f"looking-on-{uuid4()}",
            "isolation.level": "read_committed" if committed_only else "read_uncommitted",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "log_level": 0,
            "fetch.wait.max.ms": 20,  # the end of a log shows by a fetch that comes back empty
            **options,
        }
    )


def create_topic(
    bootstrap: str, name: str, partitions: int, config: Mapping[str, str] | None = None, *, deadline: float = PATIENCE
) -> None:
    """Create the topic and return when every partition has a leader; one that exists already is no error."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    made = admin.create_topics([NewTopic(name, partitions, 1, config=dict(config or {}))], operation_timeout=deadline)
    try:
        made[name].result(deadline)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    wait_until(lambda: partitions_of(bootstrap, [name])[name] > 0, deadline=deadline, why=lambda: f"{name} has no leader")


def delete_topics(bootstrap: str, names: Iterable[str], *, deadline: float = PATIENCE) -> None:
    """Delete those topics that exist, and return when they are gone."""
    there = [name for name, count in partitions_of(bootstrap, names).items() if count]
    if not there:
        return
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for gone in admin.delete_topics(there, operation_timeout=deadline).values():
        gone.result(deadline)
    wait_until(lambda: not any(partitions_of(bootstrap, there).values()), deadline=deadline, why=lambda: f"{there} not deleted")


def partitions_of(bootstrap: str, topics: Iterable[str], *, deadline: float = PATIENCE) -> dict[str, int]:
    """Return each topic's partition count, 0 for one that does not exist or has no leader yet."""
    consumer = bare_consumer(bootstrap)
    try:
        known = _insist(lambda: consumer.list_topics(timeout=REQUEST), deadline).topics
    finally:
        consumer.close()
    counts: dict[str, int] = {}
    for topic in topics:
        found = known.get(topic)
        led = found is not None and found.error is None and all(part.leader >= 0 for part in found.partitions.values())
        counts[topic] = len(found.partitions) if found is not None and led else 0
    return counts


def watermarks(bootstrap: str, topics: Iterable[str], *, deadline: float = PATIENCE) -> dict[Place, tuple[int, int]]:
    """Return (last stable offset, high watermark) of every partition of those topics that exist.

    The stable one is asked for first: what is added between the two looks like an open transaction, never the reverse.
    """
    countdown = Countdown(deadline)
    counts = partitions_of(bootstrap, topics, deadline=deadline)
    places = [(topic, number) for topic, count in counts.items() for number in range(count)]
    ends: list[dict[Place, int]] = []
    for committed_only in (True, False):
        consumer = bare_consumer(bootstrap, committed_only=committed_only)
        try:
            ends.append({at: _end(consumer, at, countdown.left) for at in places})
        finally:
            consumer.close()
    return {at: (ends[0][at], ends[1][at]) for at in places}


def end_offsets(bootstrap: str, topic: str, *, deadline: float = PATIENCE) -> dict[int, int]:
    """Return the high watermark of each partition."""
    return {number: high for (_, number), (_, high) in watermarks(bootstrap, [topic], deadline=deadline).items()}


def committed_offsets(bootstrap: str, group: str, topics: Iterable[str], *, deadline: float = PATIENCE) -> dict[Place, int]:
    """Return the group's next offsets; absent where it committed none. Waits for offsets of undecided transactions."""
    counts = partitions_of(bootstrap, topics, deadline=deadline)
    places = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
    if not places:
        return {}
    consumer = bare_consumer(bootstrap, group=group)
    try:
        answers = _insist(lambda: consumer.committed(places, timeout=REQUEST), deadline)
    finally:
        consumer.close()
    for answer in answers:
        if answer.error is not None:
            raise KafkaException(answer.error)
    return {(answer.topic, answer.partition): answer.offset for answer in answers if answer.offset > OFFSET_INVALID}


def _end(consumer: Consumer, at: Place, deadline: float) -> int:
    low_high = _insist(lambda: consumer.get_watermark_offsets(TopicPartition(*at), timeout=REQUEST), deadline)
    if low_high is None:
        raise TookTooLong(f"no watermarks of {at}")
    return int(low_high[1])


def _insist(call: Callable[[], _Answer], deadline: float) -> _Answer:
    """Make a request until it is answered: a broker that just came up refuses some for a while."""
    countdown = Countdown(deadline)
    while True:
        try:
            return call()
        except KafkaException:
            if countdown.over:
                raise
            time.sleep(0.05)
