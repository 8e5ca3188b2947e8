"""Whether a contender's output is what its job asks for. A wrong result has no speed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.benchmarks.contenders import Contender
from tests.benchmarks.jobs import Output
from tests.benchmarks.workload import PARTITIONS
from tests.support.orders import Fed
from tests.support.topic_reader import rec_of
from tests.support.topics import Countdown, TookTooLong, bare_consumer

_ORDER_ID: Final = re.compile(rb'"order_id"\s*:\s*"([^"]*)"')


class OutputWrong(AssertionError):
    """A contender's output is not what the job asks for: its speed is no figure."""


@dataclass(frozen=True, slots=True)
class Due:
    """What has to come out, made once for all contenders that get the same records."""

    ids: Counter[str]
    """How often each order came in."""
    by_key: dict[bytes | None, list[str]]
    """The ids that came in under a key, in their order."""
    fields: dict[str, int]
    """A digest of each order's fields; a resent one has the first one's."""
    totalled: dict[str, int]
    """The same with the field that the stateless job adds."""

    @staticmethod
    def of(records: Iterable[Fed]) -> Due:
        due = Due(Counter(), {}, {}, {})
        for fed in records:
            fields = msgspec.json.decode(fed.value or b"")
            order_id = fields["order_id"]
            due.ids[order_id] += 1
            due.by_key.setdefault(fed.key, []).append(order_id)
            if order_id not in due.fields:
                due.fields[order_id] = _digest(fields)
                due.totalled[order_id] = _digest(fields | {"total_cents": fields["quantity"] * fields["unit_price_cents"]})
        return due


def require_right(bootstrap: str, contender: Contender, due: Due) -> None:
    """Raise OutputWrong unless every output topic holds what it should, as a `read_committed` reader sees it."""
    for topic in contender.job.outputs:
        try:
            require_records(contender, due, records_in(bootstrap, topic))
        except OutputWrong as wrong:
            raise OutputWrong(f"{contender.name} on {contender.job.name}: {topic} {wrong}") from None


def require_records(contender: Contender, due: Due, found: Iterable[tuple[bytes | None, bytes]]) -> None:
    """Raise OutputWrong unless `found`, in its order within a key, is what has to come of `due`."""
    once = contender.job.dedupes and contender.dedupes
    if contender.job.output is Output.ITS_ID:
        _require_ids(due.ids, Counter(order_id_of(value) for _, value in found), once=once)
        return
    contents = due.totalled if contender.job.output is Output.TOTALLED else due.fields
    ids: Counter[str] = Counter()
    by_key: dict[bytes | None, list[str]] = {}
    changed: list[str] = []
    for key, value in found:
        fields = msgspec.json.decode(value)
        order_id = fields["order_id"]
        ids[order_id] += 1
        by_key.setdefault(key, []).append(order_id)
        if contents.get(order_id) != _digest(fields):
            changed.append(order_id)
    _require_ids(due.ids, ids, once=once)
    if changed:
        raise OutputWrong(f"has {len(changed)} records with other fields than they should have (e.g. {changed[:3]})")
    for key, came in due.by_key.items():
        expected = list(dict.fromkeys(came)) if once else came
        if by_key.get(key) != expected:
            raise OutputWrong(f"does not hold the records of key {key!r} in their order, or under that key")


def _require_ids(came: Counter[str], found: Counter[str], *, once: bool) -> None:
    due = Counter(dict.fromkeys(came, 1)) if once else came
    if found != due:
        lost, extra = due - found, found - due
        raise OutputWrong(
            f"lacks {lost.total()} records (e.g. {[*lost][:3]}) and has {extra.total()} too many (e.g. {[*extra][:3]})"
        )


def require_each_once(bootstrap: str, contender: Contender, numbers: Sequence[range]) -> None:
    """Raise OutputWrong unless the job's last topic holds each of these ids once. For records that were sent once each."""
    topic = contender.job.outputs[-1]
    found = Counter(int(order_id_of(value)) for _, value in records_in(bootstrap, topic))
    due = Counter(number for each in numbers for number in each)
    lost, extra = due - found, {number: count for number, count in found.items() if count > 1}
    if lost or extra:
        raise OutputWrong(
            f"{contender.name} on {contender.job.name}, steady load: {topic} lacks {lost.total()} records "
            f"(e.g. {[*lost][:3]}) and doubles {len(extra)} (e.g. {[*extra][:3]})"
        )


def records_in(bootstrap: str, topic: str, *, deadline: float = 120.0) -> Iterator[tuple[bytes | None, bytes]]:
    """Yield key and value of each record, `read_committed`, each partition in its order, up to the end that stands."""
    consumer = bare_consumer(bootstrap)
    countdown, waiting = Countdown(deadline), set(range(PARTITIONS[topic]))
    try:
        consumer.assign([TopicPartition(topic, number, -2) for number in waiting])
        while waiting:
            if countdown.over:
                raise TookTooLong(f"{topic} not read to its end")
            # consume() waits for a full batch or for all of its time: wait for one record, then take what is there.
            first = consumer.poll(min(1.0, countdown.left))
            for message in [] if first is None else [first, *consumer.consume(10_000, timeout=0)]:
                error = message.error()
                if error is None:
                    rec = rec_of(message)
                    yield rec.key, rec.value or b""
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def order_id_of(value: bytes) -> str:
    """Return the id in an order's JSON without parsing the rest."""
    found = _ORDER_ID.search(value)
    if found is None:
        raise OutputWrong(f"holds a record without order_id: {value[:80]!r}")
    return found[1].decode()


def _digest(fields: dict[str, object]) -> int:
    """Return a number that two orders share only where all their fields are the same; null is as good as absent."""
    return hash(msgspec.json.encode({name: value for name, value in fields.items() if value is not None}, order="sorted"))
