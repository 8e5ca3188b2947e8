"""The thread that follows dead letters: it counts what its worker owns, tells what is settled, and passes on requests that are new."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from streamapp.clock import Clock
from streamapp.pipeline import resolution
from streamapp.pipeline.dead_letter_counts import DeadLetterCounts, Unresolved
from streamapp.pipeline.resolution import Job, JobState, Lock, Resolution, Row, Status, Take, TakeState
from streamapp.records import Headers, Partition, Position
from streamapp.testing.memory_kafka import MemoryFollower, MemoryHost, MemoryKafka
from streamapp.worker import status_follower
from streamapp.worker.status_follower import StatusFollower
from tests.support.topics import wait_until

NOW = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
ONE, TWO = Partition("orders-dlq", 0), Partition("orders-dlq", 1)
STATUS = "shop-dlq-status"


@dataclass
class World:
    """A memory broker, a worker that owns what the test says, and what it was told."""

    kafka: MemoryKafka = field(default_factory=lambda: MemoryKafka({"orders-dlq": 2, "orders": 2, STATUS: 1}))
    owned: set[Partition] = field(default_factory=set)
    told: list[list[str]] = field(default_factory=list)
    asked: list[tuple[Position, float]] = field(default_factory=list)
    answered_at: list[Position] = field(default_factory=list)
    hosts: list[MemoryHost] = field(default_factory=list)

    def settled(self, ids: Collection[str]) -> None:
        self.told.append(list(ids))

    def take_asked(self, position: Position, at: float) -> None:
        self.asked.append((position, at))

    def take_answered(self, position: Position) -> None:
        self.answered_at.append(position)

    def letter(self, number: int, *, partition: int = 0, app: str = "shop") -> str:
        id_ = f"orders/{partition}/{number}@agent"
        headers: Headers = [("user", b"own"), ("streamapp.dlq.id", id_.encode()), ("streamapp.dlq.app", app.encode())]
        self.kafka.feed("orders-dlq", partition, b"value", headers=headers)
        return id_

    def row(self, name: str, row: Row) -> None:
        key, value = resolution.encode(name, row)
        self.kafka.feed(STATUS, 0, value, key=key)

    def says(self, id_: str, status: Status) -> None:
        self.row(id_, Resolution(status=status, at=NOW, by="w1"))

    def take(self, name: str, state: TakeState = TakeState.ASKED) -> None:
        self.row(name, Take(state=state, at=NOW, by="ops"))

    @contextmanager
    def following(
        self, counts: DeadLetterCounts | None = None, clock: Clock | None = None, kind: type[MemoryFollower] = MemoryFollower
    ) -> Iterator[StatusFollower]:
        def make() -> MemoryFollower:
            self.hosts.append(MemoryHost(self.kafka, "w1"))
            return kind(self.hosts[-1])

        followed = StatusFollower(
            make,
            self,
            lambda: {*self.owned, Partition("orders", 0)},
            app_id="shop",
            dlqs={"orders-dlq"},
            counts=counts,
            clock=clock,
        )
        followed.start()
        try:
            yield followed
        finally:
            followed.stop()


def until(what: Callable[[], object], world: World) -> None:
    wait_until(lambda: bool(what()), deadline=10.0, every=0.005, why=lambda: f"{world}")


def counted(follower: StatusFollower) -> dict[Partition, int]:
    """Return the counts of the partitions that are read."""
    return {each.partition: each.count for each in follower.counts.unresolved() if each.is_read}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_follower, "READ_TIMEOUT", 0.01)
    monkeypatch.setattr(status_follower, "BACKOFF", 0.01)


def test_it_counts_the_letters_of_its_own_app_in_the_partitions_that_its_worker_owns() -> None:
    world = World(owned={ONE})
    ids = [world.letter(number) for number in range(4)]
    world.letter(9, app="another")
    world.letter(1, partition=1)
    world.kafka.feed("orders-dlq", 0, b"no letter")
    world.says(ids[0], Status.RESOLVED)
    world.says(ids[1], Status.REPLAYING)
    world.says(ids[2], Status.RESOLVED)
    world.says(ids[2], Status.REOPENED)
    with world.following() as follower:
        until(lambda: counted(follower) == {ONE: 3}, world)
        world.says(ids[1], Status.DISCARDED)
        world.letter(4)
        world.letter(5)
        until(lambda: counted(follower) == {ONE: 4}, world)
        world.owned = {TWO}
        until(lambda: counted(follower) == {TWO: 1}, world)
        world.owned = {ONE, TWO}
        until(lambda: counted(follower) == {ONE: 4, TWO: 1}, world)


def test_after_a_restart_the_counts_are_what_the_topics_say() -> None:
    world = World(owned={ONE})
    ids = [world.letter(number) for number in range(20)]
    with world.following() as follower:
        for id_ in ids[:7]:
            world.says(id_, Status.RESOLVED)
        until(lambda: counted(follower) == {ONE: 13}, world)
    with world.following() as follower:
        until(lambda: counted(follower) == {ONE: 13}, world)
        [found] = follower.counts.unresolved()
    oldest = world.kafka.records("orders-dlq", 0)[7].timestamp()[1] / 1000
    assert found == Unresolved(partition=ONE, count=13, is_lower_bound=False, oldest=oldest, is_read=True)


def test_what_is_settled_is_told_also_the_old_and_what_is_open_again_by_then_is_not() -> None:
    world = World()
    world.says("orders/0/1@agent", Status.RESOLVED)
    world.says("orders/0/2@agent", Status.DISCARDED)
    world.says("orders/0/3@agent", Status.RESOLVED)
    world.says("orders/0/3@agent", Status.REOPENED)
    world.kafka.feed(STATUS, 0, b"{}", key=b"no id")
    world.row("7f3a", Job(dlq="orders-dlq", state=JobState.RUNNING, operator="o", scope="", target="source", started=NOW, at=NOW))
    world.row("orders-dlq", Lock(job="7f3a", owner="o", beat=NOW))
    with world.following() as follower:
        until(lambda: world.told, world)
        assert world.told == [["orders/0/1@agent", "orders/0/2@agent"]]
        world.says("orders/0/3@agent", Status.RESOLVED)
        until(lambda: len(world.told) > 1, world)
        assert world.told[1:] == [["orders/0/3@agent"]]
        world.kafka.feed(STATUS, 0, None, key=b"orders/0/3@agent")
        until(lambda: not follower.counts.settled("orders/0/3@agent"), world)
        assert follower.counts.settled("orders/0/1@agent")


def test_requests_to_take_are_passed_on_but_for_those_of_before_the_start_and_so_are_their_answers() -> None:
    world = World()
    world.take("orders/0/1")
    with world.following() as follower:
        world.says("orders/0/9@agent", Status.RESOLVED)
        until(lambda: world.told, world)
        until(lambda: follower._is_current, world)
        world.take("orders/1/7")
        world.take("no place")
        world.take("orders/1/8")
        until(lambda: len(world.asked) == 2, world)
        assert world.asked == [(Position("orders", 1, 7), NOW.timestamp()), (Position("orders", 1, 8), NOW.timestamp())]
        assert world.answered_at == []
        world.take("orders/1/7", TakeState.TAKEN)
        world.take("orders/1/8", TakeState.NOT_WAITING)
        world.kafka.feed(STATUS, 0, None, key=b"take:orders/1/9")
        until(lambda: len(world.answered_at) == 3, world)
        assert world.answered_at == [Position("orders", 1, offset) for offset in (7, 8, 9)]


def test_a_reader_that_is_past_help_is_replaced_and_nothing_is_told_twice() -> None:
    world = World(owned={ONE})
    ids = [world.letter(number) for number in range(3)]
    world.says(ids[0], Status.RESOLVED)
    with world.following() as follower:
        until(lambda: counted(follower) == {ONE: 2}, world)
        world.hosts[-1].kill()
        world.says(ids[1], Status.RESOLVED)
        world.letter(3)
        until(lambda: counted(follower) == {ONE: 2} and len(world.told) == 2, world)
        assert world.told == [[ids[0]], [ids[1]]]
        assert len(world.hosts) == 2


def test_rows_that_were_forgotten_are_read_again_for_a_partition_that_comes_and_for_who_asks() -> None:
    world = World()
    ids = [world.letter(number) for number in range(10)]
    for id_ in ids[:8]:
        world.says(id_, Status.RESOLVED)
    world.says(ids[0], Status.REOPENED)
    with world.following(DeadLetterCounts(settled_bound=3)) as follower:
        until(lambda: follower.counts.settled(ids[7]), world)
        world.owned = {ONE}
        until(lambda: counted(follower) == {ONE: 3}, world)
        world.says("orders/5/5@agent", Status.DISCARDED)
        for number in range(20, 24):
            world.says(f"orders/5/{number}@agent", Status.DISCARDED)
        until(lambda: follower.counts.settled("orders/5/23@agent"), world)
        world.told.clear()
        assert not follower.counts.settled("orders/5/5@agent")
        until(lambda: ["orders/5/5@agent"] in world.told, world)
        world.says(ids[8], Status.RESOLVED)
        until(lambda: counted(follower) == {ONE: 2}, world)


def test_a_row_that_comes_while_old_ones_are_read_again_overrules_them() -> None:
    world = World(owned={ONE})
    ids = [world.letter(number) for number in range(4)]
    for id_ in (ids[0], *(f"orders/5/{number}@agent" for number in range(4))):
        world.says(id_, Status.RESOLVED)

    class Late(MemoryFollower):
        """Has a row come between the decision to read again and the reading."""

        def open(self, partition: Partition, offset: int | None) -> None:
            if partition.topic == STATUS and len(opened) == 1:
                world.says(ids[0], Status.REOPENED)
            if partition.topic == STATUS:
                opened.append(offset)
            super().open(partition, offset)

    opened: list[int | None] = []
    with world.following(DeadLetterCounts(settled_bound=4), kind=Late) as follower:
        until(lambda: counted(follower) == {ONE: 4}, world)
        assert opened == [None, None]
        assert not follower.counts.settled(ids[0])


class Turned:
    """A clock that a test turns on."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def test_letters_that_retention_took_are_left_out_within_a_minute() -> None:
    world, clock = World(owned={ONE}), Turned()
    for number in range(5):
        world.letter(number)
    with world.following(clock=clock) as follower:
        until(lambda: counted(follower) == {ONE: 5}, world)
        world.kafka.delete_records("orders-dlq", 0, 3)
        clock.now += status_follower.HOUSEKEEPING
        until(lambda: counted(follower) == {ONE: 2}, world)


def test_a_stop_ends_the_thread_may_come_twice_and_before_the_start_which_then_does_nothing() -> None:
    world = World()
    with world.following() as follower:
        until(lambda: world.hosts, world)
        follower.stop()
    early = StatusFollower(lambda: MemoryFollower(MemoryHost(world.kafka, "w2")), world, set, app_id="shop", dlqs=())
    early.stop()
    early.start()
    assert not [thread for thread in threading.enumerate() if thread.name == "dead-letters"]
