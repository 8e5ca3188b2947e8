"""When a group's committed offsets moved, partition by partition, as an outsider sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import pairwise
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException, TopicPartition

from tests.support.ledger import DEMAND, ORDERS
from tests.support.topics import Place, bare_consumer, partitions_of

LOOK: Final = 0.03
"""Seconds between two looks: how late a commit may be noticed."""


class CommitWatch:
    """Looks from `start()` to `stop()`. Times are those of the wall clock, which the workers' logs have, too."""

    def __init__(self, bootstrap: str, group: str, topics: Iterable[str] = (ORDERS, DEMAND)) -> None:
        self._bootstrap, self._group, self._topics = bootstrap, group, tuple(topics)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commit-watch", daemon=True)
        self.moves: dict[Place, list[tuple[float, int]]] = {}
        """By partition, each (time seen, committed offset) that differs from the one before."""

    def start(self) -> CommitWatch:
        self._thread.start()
        return self

    def stop(self, deadline: float = 15.0) -> None:
        """May be called twice, and before `start`."""
        self._halt.set()
        if self._thread.ident is not None:
            self._thread.join(deadline)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def done(self, topic: str = ORDERS) -> int:
        """Return the sum of the committed offsets: of `orders`, the orders that are done."""
        return sum(moves[-1][1] for (name, _), moves in list(self.moves.items()) if name == topic)

    def first_after(self, when: float, places: Collection[Place]) -> float | None:
        """Return when a commit on one of `places` was first seen after `when`; None: not yet."""
        later = [moved for place in places for moved, _ in list(self.moves.get(place, ())) if moved > when]
        return min(later, default=None)

    def longest_pause(self, begin: float, end: float, places: Collection[Place]) -> float | None:
        """Return the longest time between two commits on one and the same of `places` that overlaps `begin` to `end`."""
        longest = None
        for place in places:
            moves = [moved for moved, _ in list(self.moves.get(place, ()))]
            for before, after in pairwise(moves):
                if after > begin and before < end:
                    longest = max(longest or 0.0, after - before)
        return longest

    def _run(self) -> None:
        # read_uncommitted: offsets of a transaction that is still undecided are not waited for, the last settled ones are told.
        consumer = bare_consumer(self._bootstrap, group=self._group, committed_only=False)
        places: list[TopicPartition] = []
        try:
            while not self._halt.wait(LOOK):
                with suppress(KafkaException):  # a broker in trouble: what it does not tell now is seen late
                    if len({place.topic for place in places}) < len(self._topics):
                        counts = partitions_of(self._bootstrap, self._topics)
                        places = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
                    self._look(consumer.committed(places, timeout=2.0) if places else [])
        finally:
            consumer.close()

    def _look(self, answers: Iterable[TopicPartition]) -> None:
        now = time.time()
        for answer in answers:
            if answer.error is not None or answer.offset < 0:
                continue
            moves = self.moves.setdefault((answer.topic, answer.partition), [])
            if not moves or moves[-1][1] != answer.offset:
                moves.append((now, answer.offset))
