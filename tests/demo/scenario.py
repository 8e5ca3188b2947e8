"""What the demo does, step by step; it shows nothing itself. Facts that could not be found out are None, not guessed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.concurrent_reader import ConcurrentReader
from tests.support.kafka_records import partition_of
from tests.support.ledger import DEMAND, DLQ, ORDERS, PRICED, TOTALS, check
from tests.support.orders import Fed, OrderPlan, feed, order_of
from tests.support.topic_reader import caught_up, read_history, read_topics
from tests.support.topics import (
    Countdown,
    TookTooLong,
    bare_consumer,
    committed_offsets,
    create_topic,
    partitions_of,
    wait_until,
    watermarks,
)
from tests.support.verdict import Verdict
from tests.support.workers import WORKER, Worker, Workers

APP: Final = "order-processor"
KILL_SKU: Final = "kill-9"
TRAP: Final = {"ORDER_PROCESSOR_KILL_SKU": KILL_SKU, "STREAMAPP_COMMIT_INTERVAL": "1"}
"""For w2's life until the kill. Commits each second instead of five times, or one kill in ten would come just behind one,
when nothing has left the worker yet."""
READY: Final = 90.0
SETTLE: Final = 1.0
"""Seconds that an offset must stand still to be called stuck: five commit intervals of the living worker."""


@dataclass(slots=True)
class Kill:
    """What the SIGKILL hit."""

    order_id: str
    place: str
    """Topic, partition and offset of the order on which the worker died."""
    stuck: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """Partitions with an open transaction that stood still: (last stable offset, high watermark)."""
    hidden: list[str] = field(default_factory=list)
    """Order ids of the priced orders in it, or behind it, which no read_committed reader sees."""
    recovery: float | None = None
    """Seconds from the restart to the next commit on a partition of the killed worker."""


@dataclass(slots=True)
class Facts:
    orders: int = 0
    seconds: float | None = None
    """From the first order fed to the last one committed, the kill and the restart included."""
    kill: Kill | None = None
    exit_codes: dict[str, int] = field(default_factory=dict)
    seen_live: int = 0
    verdict: Verdict | None = None


class Feeder:
    """Feeds on a thread; orders can be slipped in while it runs."""

    def __init__(self, bootstrap: str, records: Iterable[Fed], rate: float, deadline: float) -> None:
        self._records, self._bootstrap, self._rate, self._deadline = records, bootstrap, rate, deadline
        self._extra: list[Fed] = []
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._halt = threading.Event()
        self.delivered = 0
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def slip_in(self, fed: Fed) -> None:
        self._extra.append(fed)

    @property
    def done(self) -> bool:
        if self.error is not None:
            raise self.error
        return not self._thread.is_alive()

    def halt(self) -> None:
        """Stop early. May be called twice, or before start."""
        self._halt.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def _mixed(self) -> Iterator[Fed]:
        for fed in self._records:
            if self._halt.is_set():
                return
            while self._extra:
                yield self._extra.pop(0)
            yield fed
        yield from self._extra

    def _run(self) -> None:
        try:
            for done in feed(self._bootstrap, self._mixed(), rate=self._rate, every=50, deadline=self._deadline):
                self.delivered = done
        except Exception as error:  # a thread's edge: `done` raises it where someone sees it
            self.error = error


class Scenario:
    """Broker given, everything else from here: topics, two workers, orders, the kill, the check."""

    def __init__(
        self,
        bootstrap: str,
        home: Path,
        *,
        orders: int,
        rate: float,
        keep: bool,
        command: Sequence[str] = WORKER,
        deadline: float = 240,
    ) -> None:
        self.bootstrap, self.orders, self._deadline = bootstrap, orders - 1, deadline
        self.workers = Workers(bootstrap, home, command=command, bound=not keep, STREAMAPP_APP_ID=APP)
        self.facts = Facts()
        plan = OrderPlan(count=self.orders, seed=int(time.time()))  # one more is the order that kills
        self.feeder = Feeder(bootstrap, plan.records(), rate, deadline)
        self.reader = ConcurrentReader(bootstrap)
        self._started = 0.0
        self._victim: Worker | None = None
        self._group = bare_consumer(bootstrap, group=APP)

    def start_workers(self) -> None:
        """Start both, and return when both have partitions. Only w2 can die of an order, and only in its first life."""
        create_topic(self.bootstrap, ORDERS, 8)
        self.workers.start("w1", web=True)
        self._victim = self.workers.start("w2", web=True, **TRAP)
        for worker in (self.workers["w1"], self._victim):
            worker.ready(READY)
        wait_until(
            lambda: all(self.lanes_of(worker) for worker in ("w1", "w2")),
            deadline=READY,
            every=0.2,
            why=lambda: f"the partitions of {ORDERS} are not shared out\n{self.workers.tails()}",
        )

    def feed(self) -> None:
        self.reader.start()
        self._started = time.monotonic()
        self.feeder.start()

    def lanes_of(self, worker_id: str) -> list[int]:
        """Return the partitions of `orders` that a worker holds, as the group's coordinator says; empty when unknown."""
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            group = client.describe_consumer_groups([APP], request_timeout=10)[APP].result(15)
        except KafkaException:
            return []
        found: set[int] = set()
        for member in group.members:
            if str(member.group_instance_id or "").startswith(f"{APP}-{worker_id}"):
                parts = member.assignment.topic_partitions
                found.update(part.partition for part in parts if part.topic == ORDERS)
        return sorted(found)

    def processed(self) -> int | None:
        """Return how many orders are done: offsets of `orders` are its records, since nothing else is written there.

        None while a transaction that holds offsets is undecided: the broker does not tell them then.
        """
        try:
            answers = self._group.committed([TopicPartition(ORDERS, number) for number in range(8)], timeout=1)
        except KafkaException:
            return None
        if any(answer.error for answer in answers):
            return None
        return sum(max(0, answer.offset) for answer in answers)

    def kill_in_the_middle(self) -> Iterator[None]:
        """Let w2 die on an order inside an open transaction; yields while waiting, so that a display can go on."""
        victim = self._victim
        assert victim is not None
        lanes = self.lanes_of("w2")
        assert lanes, "w2 holds no partition of orders"
        # A customer whose orders go to one of its partitions, so that the priced order would, too.
        customer = next(name for n in range(10_000) if partition_of((name := f"unlucky-{n}").encode(), 8) == lanes[0])
        order_id = f"the-order-that-kills-{victim.lives}"
        self.orders += 1
        self.feeder.slip_in(order_of(KILL_SKU, order_id=order_id, customer=customer))
        countdown = Countdown(60)
        while victim.alive:
            if countdown.over:
                raise TookTooLong(f"w2 lives on although it was sent an order of sku {KILL_SKU}\n{victim.tail()}")
            yield
        self.facts.kill = self._look_at_the_scene(order_id, lanes[0])

    def _look_at_the_scene(self, order_id: str, lane: int) -> Kill:
        """Find the order and the transaction that its worker left open."""
        kill = Kill(order_id, "unknown")
        for rec in read_topics(self.bootstrap, [ORDERS])[ORDERS][lane]:
            if f'"{order_id}"'.encode() in (rec.value or b""):
                kill.place = rec.place
        before = watermarks(self.bootstrap, [PRICED])
        settled = Countdown(SETTLE)
        wait_until(lambda: settled.over, deadline=SETTLE + 5, why=lambda: "the clock stands still")
        after = watermarks(self.bootstrap, [PRICED])
        # Only the dead worker's last stable offsets stand still; the living one commits five times in that time.
        kill.stuck = {at: after[at] for at in after if after[at][0] < after[at][1] and after[at][0] == before[at][0]}
        if kill.stuck:
            start = {at: stable for at, (stable, _) in kill.stuck.items()}
            hidden = read_topics(self.bootstrap, [PRICED], start=start, committed_only=False)[PRICED]
            kill.hidden = [_id_in(rec.value) for _, number in sorted(start) for rec in hidden[number]]
        return kill

    def restart(self, *, trapped: bool = False) -> Iterator[None]:
        """Start w2 again, with the same id; yields until one of the partitions it had is committed further."""
        kill, victim = self.facts.kill, self._victim
        assert kill is not None
        assert victim is not None
        lane = int(kill.place.split("/")[1]) if "/" in kill.place else None
        begun = time.monotonic()
        victim.start(**(TRAP if trapped else {}))
        if lane is None:
            return
        # What was committed before the kill is at most this: the order did not get through.
        stood_at = int(kill.place.split("/")[2])
        countdown = Countdown(60)
        while committed_offsets(self.bootstrap, APP, [ORDERS]).get((ORDERS, lane), 0) <= stood_at:
            if countdown.over or not victim.alive:
                raise TookTooLong(f"w2 does not come back (exit code {victim.exit_code})\n{victim.tail()}")
            yield
        kill.recovery = time.monotonic() - begun

    def finish(self) -> Iterator[None]:
        """Yield until every order is fed and committed, then wait until both stages and the triage have nothing left."""
        countdown = Countdown(self._deadline)
        while not self.feeder.done or (self.processed() or 0) < self.orders:
            for worker in self.workers.all.values():
                assert worker.alive, f"{worker.id} ended with {worker.exit_code}\n{worker.tail()}"
            if countdown.over:
                raise TookTooLong(f"{self.processed()} of {self.orders} orders done\n{self.workers.tails()}")
            yield
        self.facts.seconds = time.monotonic() - self._started
        caught_up(self.bootstrap, APP, topics=(ORDERS, DEMAND, *self._triaged()), deadline=60)

    def _triaged(self) -> list[str]:
        """The DLQ is read by a worker, too, unless it is one that has no triage."""
        return [DLQ] if partitions_of(self.bootstrap, [f"{APP}-dead_letters-changelog"]).popitem()[1] else []

    def check(self) -> Verdict:
        """Hold all topics against the contract, and what a reader saw live against what is there now."""
        self.reader.stop()
        history = read_history(self.bootstrap, APP, deadline=120)
        verdict = check(history)
        final = {PRICED: history.priced, DEMAND: history.demand, TOTALS: history.totals, DLQ: history.dead_letters}
        verdict.extend(self.reader.compare(final))
        self.facts.orders, self.facts.verdict, self.facts.seen_live = verdict.counts.orders, verdict, self.reader.count
        return verdict

    def stop_workers(self) -> None:
        """SIGTERM to both; what they exit with is part of what the demo shows."""
        self.facts.exit_codes = self.workers.stop()

    def close(self) -> None:
        """End everything started here, whatever state it is in."""
        self.feeder.halt()
        self.workers.close()
        self.reader.stop()
        self._group.close()

    def let_go(self) -> None:
        """Leave the workers running, and end the rest."""
        self.feeder.halt()
        self.reader.stop()
        self._group.close()


def _id_in(value: bytes | None) -> str:
    return str(json.loads(value or b"{}").get("order_id", "unknown"))
