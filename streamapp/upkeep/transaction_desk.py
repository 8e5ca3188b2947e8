"""Looks at a cluster's open transactions, and ends those that may be ended: by a marker in the partition, or by fencing their id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from streamapp.clock import Clock, Deadline
from streamapp.errors import BrokerUnreachable
from streamapp.kafka import client_config
from streamapp.kafka.inspector import Inspector, Layout
from streamapp.kafka.producer import KafkaProducer
from streamapp.kafka.transactions import (
    ENDED,
    CoordinatedTransaction,
    OpenProducer,
    coordinated_and_silent,
    described,
    described_producers,
    why,
    write_markers,
)
from streamapp.kafka.wire import Access, access_of
from streamapp.records import Partition
from streamapp.upkeep.open_transactions import OFFSETS, OpenTransaction, in_order, judged, offsets_partition, waits_for
from streamapp.upkeep.refusals import NothingMatched
from streamapp.upkeep.subject import Subject


@dataclass(frozen=True, slots=True)
class Found:
    """One look at the cluster."""

    looked_at: int
    """Partitions."""
    transactions: tuple[OpenTransaction, ...]
    """The hanging ones first."""
    unseen: Mapping[str, str]
    """Partition, or broker, that did not tell -> why."""


class TransactionDesk:
    """One thread. `close` it. Calls raise BrokerUnreachable: no answer in time."""

    def __init__(self, subject: Subject, timeout: float, clock: Clock) -> None:
        """Raises SettingInvalid: only the client library can get in."""
        self._subject = subject
        self._timeout = timeout
        self._clock = clock
        self._access: Access = access_of(subject.settings.broker)
        self._inspector = Inspector(subject.settings, timeout, name="transactions")

    def close(self) -> None:
        self._inspector.close()

    def look(self, topics: Sequence[str] = (), *, everywhere: bool = False) -> Found:
        """Return the open transactions of these topics, else of the app's, with `everywhere` of all. Raises NothingMatched: no such topic."""
        layout = self._inspector.layout()
        partitions = self._partitions(layout, topics, everywhere=everywhere)
        unseen: dict[str, str] = {}
        producers = self._producers(layout, partitions, unseen)
        open_there = {where: many for where, many in producers.items() if many}
        told, silent = coordinated_and_silent(
            list(layout.brokers.values()),
            {each.producer_id for many in open_there.values() for each in many},
            self._timeout,
            self._access,
        )
        unseen |= {f"broker {host}:{port}": str(failure) for (host, port), failure in silent.items()}
        if open_there:
            # Most of them end while one looks: what is not there any more was no trouble.
            again = self._producers(layout, list(open_there), {})
            open_there = {where: [each for each in many if each in again.get(where, ())] for where, many in open_there.items()}
        now = self._clock.wall()
        found = {
            where: [
                self._waited_for(judged(where, each, told.get(each.producer_id), is_complete=not silent, now=now))
                for each in many
            ]
            for where, many in open_there.items()
        }
        return Found(len(partitions), tuple(in_order(found)), unseen)

    def end(self, wanted: Iterable[OpenTransaction]) -> dict[OpenTransaction, str | None]:
        """Write each one's marker; return why one was not written, None where it was.

        Each is looked at again first: one that ended meanwhile needs none, and a marker could meet the producer's next transaction.
        """
        layout = self._inspector.layout()
        chosen = list(wanted)
        still = self._producers(layout, [one.partition for one in chosen], {})
        done: dict[OpenTransaction, str | None] = {}
        by_leader: dict[int, list[OpenTransaction]] = {}
        for one in chosen:
            if one.partition not in still:
                done[one] = "its partition did not answer"
            elif not any(
                (each.producer_id, each.epoch, each.start) == (one.producer_id, one.epoch, one.start)
                for each in still[one.partition]
            ):
                done[one] = None  # it has ended
            else:
                by_leader.setdefault(layout.leaders[one.partition], []).append(one)
        for leader, many in by_leader.items():
            done |= self._mark(layout, leader, many)
        return done

    def _mark(self, layout: Layout, leader: int, many: Sequence[OpenTransaction]) -> dict[OpenTransaction, str | None]:
        try:
            answers = write_markers(layout.brokers[leader], [one.marker for one in many], self._timeout, self._access)
        except OSError as failure:
            return dict.fromkeys(many, f"no answer ({failure}); look again")
        codes = {one: answers.get((one.partition, one.producer_id), -1) for one in many}
        return {one: None if code == 0 else why(code) for one, code in codes.items()}

    # --- one transactional id

    def described(self, transactional_id: str) -> CoordinatedTransaction:
        """Return what its coordinator tells. Raises NothingMatched: nobody knows the id; BrokerUnreachable: not everybody answered."""
        silent: OSError | None = None
        for broker in self._inspector.layout().brokers.values():
            try:
                for told in described(broker, [transactional_id], self._timeout, self._access):
                    return told
            except OSError as failure:
                silent = failure
        if silent is not None:
            raise BrokerUnreachable(f"{transactional_id}: its coordinator does not tell: {silent}") from silent
        raise NothingMatched(f"{transactional_id}: no coordinator knows this transactional id, or this user may not Describe it")

    def fence(self, told: CoordinatedTransaction) -> None:
        """Take the id over, which ends its open transaction and fences its producer. Raises BrokerUnreachable, NotAllowed, ProducerUnusable."""
        config = client_config.fencing_producer(self._subject.settings, told.transactional_id, told.timeout_ms / 1000)
        producer = KafkaProducer(config, transactional=True)
        try:
            producer.init_transactions(Deadline.after(max(self._timeout, 2.0)))
        finally:
            producer.close()

    # --- inside

    def _partitions(self, layout: Layout, topics: Sequence[str], *, everywhere: bool) -> list[Partition]:
        if everywhere:
            return sorted(layout.leaders)
        if topics:
            missing = [topic for topic in topics if not layout.partitions(topic)]
            if missing:
                raise NothingMatched(f"--topic {missing[0]}: there is no such topic")
            return [where for topic in dict.fromkeys(topics) for where in layout.partitions(topic)]
        app_id = self._subject.app_id
        names = {*self._subject.roles, self._subject.status_topic}
        if self._subject.unloaded is not None:
            names |= {where.topic for where in layout.leaders if where.topic.startswith(f"{app_id}-")}
        found = [where for topic in sorted(names) for where in layout.partitions(topic)]
        offsets = len(layout.partitions(OFFSETS))
        return [*found, *([offsets_partition(app_id, offsets)] if offsets else [])]

    def _producers(
        self, layout: Layout, partitions: Iterable[Partition], unseen: dict[str, str]
    ) -> dict[Partition, list[OpenProducer]]:
        found: dict[Partition, list[OpenProducer]] = {}
        by_leader: dict[int, list[Partition]] = {}
        for where in dict.fromkeys(partitions):
            by_leader.setdefault(layout.leaders.get(where, -1), []).append(where)
        failures: list[OSError] = []
        for leader, led in by_leader.items():
            if leader not in layout.brokers:
                unseen.update({str(where): "it has no leader" for where in led})
                continue
            try:
                told, refused = described_producers(layout.brokers[leader], led, self._timeout, self._access)
            except OSError as failure:
                failures.append(failure)
                unseen.update({str(where): str(failure) for where in led})
                continue
            found |= told
            unseen.update({str(where): why(code) for where, code in refused.items() if where.topic != OFFSETS})
        if failures and not found:
            raise BrokerUnreachable(f"{self._subject.settings.broker.broker}: open transactions: {failures[0]}") from failures[0]
        return found

    def _waited_for(self, one: OpenTransaction) -> OpenTransaction:
        role = self._subject.roles.get(one.partition.topic)
        _, stable, high = self._inspector.ends(one.partition)
        held = replace(one, stable=stable, high=high)
        return replace(held, waits=waits_for(one.partition, role, self._subject.app_id, held.behind))


def is_open(told: CoordinatedTransaction) -> bool:
    return told.state not in ENDED


__all__ = ["Found", "TransactionDesk", "is_open"]
