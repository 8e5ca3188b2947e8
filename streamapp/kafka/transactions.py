"""Whose transactions are open, and the marker that ends one: four requests of Kafka's protocol that the client library does not make.

Source: Kafka protocol guide, DescribeProducers v0, ListTransactions v0, DescribeTransactions v0 (KIP-664), WriteTxnMarkers v1. A broker
before 3.0 tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from streamapp.kafka.wire import PLAIN, Access, Address, NotTold, Reader, Writer, ask
from streamapp.records import Partition

WRITE_TXN_MARKERS, DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, LIST_TRANSACTIONS = 27, 61, 65, 66

CLEAN_UP: Final = 10.0
"""Seconds after its timeout within which the broker ends a transaction: transaction.abort.timed.out.transaction.cleanup.interval.ms."""

ENDED: Final = frozenset({"CompleteCommit", "CompleteAbort", "Empty", "Dead"})
"""What a coordinator calls a transaction that is over: a partition that still has it open will have it so for ever."""

_REFUSALS: Final = {
    3: "there is no such partition, or it has no leader",
    6: "its leader has moved",
    14: "its coordinator is still loading",
    29: "this user may not read the topic",
    31: "this user lacks the right ClusterAction (or Alter) on the cluster",
    35: "the broker is too old",
    47: "a newer epoch of that producer is there",
    52: "another coordinator has ended it",
    53: "this user lacks Describe on the transactional ids",
}
"""Kafka's error codes as far as they are known to happen here."""


@dataclass(frozen=True, slots=True)
class OpenProducer:
    """A producer with an open transaction in a partition, as the partition's leader has it."""

    producer_id: int
    epoch: int
    start: int
    """The transaction's first offset in the partition."""
    last_timestamp_ms: int
    coordinator_epoch: int = -1
    """Of the coordinator that ended the producer's transaction before; -1: none has."""


@dataclass(frozen=True, slots=True)
class CoordinatedTransaction:
    """A transactional id's transaction, as its coordinator has it."""

    transactional_id: str
    producer_id: int
    epoch: int
    state: str
    timeout_ms: int
    start_ms: int
    """-1: none is open."""
    partitions: frozenset[Partition] = frozenset()
    """Of the transaction that is open or being ended."""
    coordinator: Address | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """The end of a producer's transaction in a partition."""

    partition: Partition
    producer_id: int
    epoch: int
    coordinator_epoch: int
    commits: bool = False


def why(code: int) -> str:
    """Return what an error code of Kafka's means to whoever looks at transactions."""
    return _REFUSALS.get(code, f"Kafka's error {code}")


def open_producers(
    leader: Address, partitions: Iterable[Partition], timeout: float, access: Access = PLAIN
) -> dict[Partition, list[OpenProducer]]:
    """Return the open transactions of partitions that `leader` leads, the oldest first; refused partitions are absent. Raises OSError."""
    return described_producers(leader, partitions, timeout, access)[0]


def described_producers(
    leader: Address, partitions: Iterable[Partition], timeout: float, access: Access = PLAIN
) -> tuple[dict[Partition, list[OpenProducer]], dict[Partition, int]]:
    """Return the open transactions of partitions that `leader` leads, the oldest first, and the refusals. Raises OSError."""
    answer = ask(leader, DESCRIBE_PRODUCERS, 0, _by_topic(partitions), timeout, access)
    answer.fixed(">i")  # throttle time
    found: dict[Partition, list[OpenProducer]] = {}
    refusals: dict[Partition, int] = {}
    for _ in range(answer.count()):
        topic = answer.text()
        for _ in range(answer.count()):
            partition = Partition(topic, answer.fixed(">i"))
            refused = answer.fixed(">h")
            answer.text()  # what the refusal says
            producers = [_open_producer(answer) for _ in range(answer.count())]
            answer.tags()
            if refused:
                refusals[partition] = refused
            else:
                found[partition] = sorted((each for each in producers if each.start >= 0), key=lambda each: each.start)
        answer.tags()
    return found, refusals


def _by_topic(partitions: Iterable[Partition]) -> Writer:
    topics: dict[str, list[int]] = {}
    for partition in partitions:
        topics.setdefault(partition.topic, []).append(partition.number)
    body = Writer()
    _write_topics(body, topics)
    body.no_tags()
    return body


def _write_topics(body: Writer, topics: dict[str, list[int]]) -> None:
    def write(item: tuple[str, list[int]]) -> None:
        body.text(item[0])
        body.array(item[1], lambda number: body.fixed(">i", number))
        body.no_tags()

    body.array(topics.items(), write)


def _open_producer(answer: Reader) -> OpenProducer:
    producer_id, epoch = answer.fixed(">q"), answer.fixed(">i")
    answer.fixed(">i")  # last sequence
    last_timestamp_ms = answer.fixed(">q")
    coordinator_epoch = answer.fixed(">i")
    start = answer.fixed(">q")
    answer.tags()
    return OpenProducer(producer_id, epoch, start, last_timestamp_ms, coordinator_epoch)


def coordinated(
    brokers: Sequence[Address], producer_ids: Iterable[int], timeout: float, access: Access = PLAIN
) -> dict[int, CoordinatedTransaction]:
    """Return the transactions of these producers; one whose coordinator does not tell is absent. Raises OSError: no broker told."""
    found, silent = coordinated_and_silent(brokers, producer_ids, timeout, access)
    if silent and not found:
        raise next(iter(silent.values()))
    return found


def coordinated_and_silent(
    brokers: Sequence[Address], producer_ids: Iterable[int], timeout: float, access: Access = PLAIN
) -> tuple[dict[int, CoordinatedTransaction], dict[Address, OSError]]:
    """Return the transactions of these producers, and the brokers that did not tell theirs: while there is one, absence proves nothing."""
    wanted = sorted(set(producer_ids))
    found: dict[int, CoordinatedTransaction] = {}
    silent: dict[Address, OSError] = {}
    for broker in brokers if wanted else ():  # each tells the transactions that it coordinates
        try:
            ids = _ids_of(broker, wanted, timeout, access)
            found.update({each.producer_id: each for each in described(broker, ids, timeout, access)} if ids else {})
        except OSError as refused:
            silent[broker] = refused
    return found, silent


def _ids_of(broker: Address, producer_ids: Sequence[int], timeout: float, access: Access) -> list[str]:
    body = Writer()
    body.unsigned(1)  # any state
    body.array(producer_ids, lambda producer_id: body.fixed(">q", producer_id))
    body.no_tags()
    answer = ask(broker, LIST_TRANSACTIONS, 0, body, timeout, access)
    answer.fixed(">i")
    if refused := answer.fixed(">h"):
        raise NotTold(f"ListTransactions was refused: {why(refused)}")
    for _ in range(answer.count()):
        answer.text()  # states that the broker does not know
    ids = []
    for _ in range(answer.count()):
        ids.append(answer.text())
        answer.fixed(">q")  # producer id
        answer.text()  # state
        answer.tags()
    return ids


def described(broker: Address, ids: Sequence[str], timeout: float, access: Access = PLAIN) -> Iterator[CoordinatedTransaction]:
    """Yield the transactions of those ids that `broker` coordinates and tells of. Raises OSError."""
    body = Writer()
    body.array(ids, body.text)
    body.no_tags()
    answer = ask(broker, DESCRIBE_TRANSACTIONS, 0, body, timeout, access)
    answer.fixed(">i")
    for _ in range(answer.count()):
        refused, transactional_id, state = answer.fixed(">h"), answer.text(), answer.text()
        timeout_ms, start_ms = answer.fixed(">i"), answer.fixed(">q")
        producer_id, epoch = answer.fixed(">q"), answer.fixed(">h")
        partitions = []
        for _ in range(answer.count()):
            topic = answer.text()
            partitions += [Partition(topic, answer.fixed(">i")) for _ in range(answer.count())]
            answer.tags()
        answer.tags()
        if not refused:
            yield CoordinatedTransaction(
                transactional_id, producer_id, epoch, state, timeout_ms, start_ms, frozenset(partitions), broker
            )


def write_markers(
    leader: Address, markers: Iterable[Marker], timeout: float, access: Access = PLAIN
) -> dict[tuple[Partition, int], int]:
    """End these transactions in partitions that `leader` leads; return (partition, producer id) -> error code, 0 where it is done.

    Raises OSError: nothing was answered, and what became of them has to be looked at.
    """
    together: dict[tuple[int, int, int, bool], dict[str, list[int]]] = {}
    for each in markers:
        whose = (each.producer_id, each.epoch, each.coordinator_epoch, each.commits)
        together.setdefault(whose, {}).setdefault(each.partition.topic, []).append(each.partition.number)
    body = Writer()

    def write(item: tuple[tuple[int, int, int, bool], dict[str, list[int]]]) -> None:
        (producer_id, epoch, coordinator_epoch, commits), topics = item
        body.fixed(">qhb", producer_id, epoch, commits)
        _write_topics(body, topics)
        body.fixed(">i", coordinator_epoch)
        body.no_tags()

    body.array(together.items(), write)
    body.no_tags()
    answer = ask(leader, WRITE_TXN_MARKERS, 1, body, timeout, access)
    done: dict[tuple[Partition, int], int] = {}
    for _ in range(answer.count()):
        producer_id = answer.fixed(">q")
        for _ in range(answer.count()):
            topic = answer.text()
            for _ in range(answer.count()):
                partition = Partition(topic, answer.fixed(">i"))
                done[partition, producer_id] = answer.fixed(">h")
                answer.tags()
            answer.tags()
        answer.tags()
    return done


__all__ = [
    "CLEAN_UP",
    "ENDED",
    "CoordinatedTransaction",
    "Marker",
    "NotTold",
    "OpenProducer",
    "coordinated",
    "coordinated_and_silent",
    "described",
    "described_producers",
    "open_producers",
    "why",
    "write_markers",
]
