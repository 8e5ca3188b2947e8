"""One run of the order processor, from empty topics to the ledger's verdict, with real workers and a reader that looks on.

The contract fixes the topics' names, so a job deletes what an earlier one left; its app id, and so its group and changelogs,
is its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import pytest
from confluent_kafka import KafkaException

from tests.support.concurrent_reader import ConcurrentReader
from tests.support.ledger import DEMAND, DLQ, ORDERS, PRICED, TOPICS, TOTALS, Rules, check
from tests.support.orders import Fed, OrderPlan, feed_all
from tests.support.topic_reader import caught_up, read_history
from tests.support.topics import PATIENCE, Place, committed_offsets, create_topic, delete_topics, wait_until
from tests.support.verdict import Verdict
from tests.support.workers import Worker, Workers

READY: Final = 90.0
"""Seconds that a worker may take from its start to its first partition, on a busy machine."""
DONE: Final = 120.0
"""Seconds that a few thousand orders may take, a restart included."""
_MOVED: Final = re.compile(r"partitions (assigned|given back|lost): ([^;\n]*)")
_RESTORED: Final = re.compile(r"Restored (\S+?)-([a-z_]+)-changelog/(\d+) up to (\d+): (\d+) records")


class OrderJob:
    """The order processor on one broker. A context manager: it ends every process that it started."""

    def __init__(self, bootstrap: str, home: Path, app_id: str | None = None, **env: str) -> None:
        self.bootstrap = bootstrap
        self.app_id = app_id or f"orders-{uuid4().hex[:8]}"
        self.workers = Workers(bootstrap, home, STREAMAPP_APP_ID=self.app_id, **env)  # type: ignore[arg-type]  # variables only
        delete_topics(bootstrap, TOPICS)
        create_topic(bootstrap, ORDERS, 8)
        self.reader = ConcurrentReader(bootstrap).start()
        self._fed = 0

    # --- what a test does

    def feed(self, count: int, **plan: float) -> int:
        """Feed `count` orders of a plan of their own; returns how many were fed so far."""
        # Ids of their own unless the test says otherwise, and event times that go on where the last feed ended.
        made = OrderPlan(**{"count": count, "seed": 1 + self._fed, "first_id": self._fed, **plan})  # type: ignore[arg-type]  # a plan's numbers
        return self.feed_these(list(made.records()))

    def feed_these(self, records: list[Fed]) -> int:
        self._fed += feed_all(self.bootstrap, records)
        return self._fed

    @property
    def fed(self) -> int:
        """How many orders were fed so far."""
        return self._fed

    def count_fed(self, count: int) -> None:
        """Take `count` orders, fed by somebody else, for the job's own."""
        self._fed += count

    def start(self, worker_id: str, *, crash_at: str | None = None, **env: str) -> Worker:
        return self.workers.start(worker_id, crash_at=crash_at, **env)  # type: ignore[arg-type]  # variables only

    def start_ready(self, *worker_ids: str, **env: str) -> list[Worker]:
        """Start workers side by side and return when each has its partitions and tables, some of `orders` among them."""
        started = [self.workers.start(worker_id, web=True, **env) for worker_id in worker_ids]
        for worker in started:
            worker.ready(READY)
            # A spare is ready, too: one that came while another held all of them, until the group shares them anew.
            wait_until(lambda worker=worker: bool(held(worker)), deadline=READY, why=worker.tail)  # type: ignore[misc]  # bound now
            worker.ready(READY)
        return started

    def processed(self, deadline: float = PATIENCE) -> int:
        """Return how many orders are done: nothing but records is in `orders`, so offsets count them."""
        return sum(committed_offsets(self.bootstrap, self.app_id, [ORDERS], deadline=deadline).values())

    def wait_processed(self, count: int, deadline: float = DONE) -> None:
        wait_until(
            lambda: self.processed() >= count,
            deadline=deadline,
            why=lambda: f"{self.processed()} of {count} orders done\n{self.workers.tails()}",
        )

    def wait_for_progress(self, worker: Worker, *, beyond: int, deadline: float = DONE) -> None:
        """Wait until more than `beyond` orders are done, or `worker` has died on the way."""

        def moved() -> bool:
            if not worker.alive:
                return True
            try:
                return self.processed(deadline=1.0) > beyond
            except KafkaException:
                # The worker died in the middle of a transaction: its offsets are not told before that has ended.
                return not worker.alive

        wait_until(
            moved,
            deadline=deadline,
            why=lambda: f"still {self.processed()} orders done\n{self.workers.tails()}",
        )

    def caught_up(self, deadline: float = DONE) -> float:
        try:
            return caught_up(self.bootstrap, self.app_id, deadline=deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.workers.tails()}") from None

    # --- what it holds

    def restored(self, worker: Worker, life: int) -> dict[tuple[str, int], int]:
        """Return, from a worker's log, how many changelog records its given life restored, by table and partition."""
        lives = worker.log_text().split(f"--- {worker.id}, life ")
        text = next(each for each in lives if each.startswith(f"{life} ---"))
        return {(match[2], int(match[3])): int(match[5]) for match in _RESTORED.finditer(text)}

    def finish(self, rules: Rules | None = None, *, deadline: float = DONE) -> Verdict:
        """Wait until all is done, stop all workers cleanly, and hold everything against the contract."""
        self.caught_up(deadline)
        codes = self.workers.stop()
        assert set(codes.values()) <= {0}, f"unclean stops: {codes}\n{self.workers.tails()}"
        return self.verdict(rules).require_ok()

    def verdict(self, rules: Rules | None = None, *, deadline: float = 60.0) -> Verdict:
        """Hold what is there, and what the reader saw, against the contract."""
        self.reader.stop()
        history = read_history(self.bootstrap, self.app_id, deadline=deadline)
        verdict = check(history, rules)
        final = {PRICED: history.priced, DEMAND: history.demand, TOTALS: history.totals, DLQ: history.dead_letters}
        verdict.extend(self.reader.compare(final))
        assert verdict.counts.orders == self._fed, f"fed {self._fed}, found {verdict.counts.orders}"
        return verdict

    # --- life

    def close(self) -> None:
        self.workers.close()
        self.reader.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if error is not None:
            print(self.workers.tails())


@pytest.fixture
def job(bootstrap: str, tmp_path: Path) -> Iterator[OrderJob]:
    """An order processor on the shared broker, its topics empty."""
    with OrderJob(bootstrap, tmp_path / "workers") as made:
        yield made


def held(worker: Worker) -> set[Place]:
    """Return the partitions of `orders` that the worker's present life holds, by its log."""
    here: set[Place] = set()
    for moved in _MOVED.finditer(worker.log_text().rpartition("\n--- ")[2]):
        named = (name.rpartition("/") for name in moved[2].strip().split(", "))
        places = {(topic, int(number)) for topic, _, number in named if topic == ORDERS}
        here = here | places if moved[1] == "assigned" else here - places
    return here
