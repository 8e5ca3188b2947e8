"""A state machine of hypothesis: it moves real engines over the Kafka in memory and holds what is committed against the model.

STREAMAPP_TEST_MACHINE_SEED repeats a run. What stays with the system's scheduler is how loop and transaction thread share the moments
between two moves, so hypothesis may now and then call a finding flaky: `EngineMachine.violations` has it all the same.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from streamapp.errors import (
    CommitRefused,
    DeliveryFailed,
    OutcomeUnknown,
    ProducerFenced,
    ProducerUnusable,
    StreamAppError,
)
from streamapp.faults import FaultPoint
from streamapp.records import Partition
from streamapp.testing.memory_kafka import Call, Fault
from tests.support.engine_process import CHANGELOGS, GROUP, PARTITIONS, TIMEOUT
from tests.support.engine_world import Violation, World

SEED = int(os.environ.get("STREAMAPP_TEST_MACHINE_SEED", "0"))
STEPS = 40

WORKERS = strategies.sampled_from(["w1", "w2"])
NUMBERS = strategies.sampled_from(PARTITIONS)
KEYS = strategies.sampled_from(["ann", "bob"])
DOINGS = strategies.sampled_from(["well", "well", "well", "stumble", "poison", "garbage", "slow"])

FAILURES: dict[str, tuple[Call, StreamAppError, bool]] = {
    "a record that is not delivered": (Call.DELIVER, DeliveryFailed("timed out"), False),
    "a flush that is refused": (Call.FLUSH, CommitRefused("abortable"), False),
    "a flush of a fenced producer": (Call.FLUSH, ProducerFenced(), False),
    "a hand-over that fails": (Call.PRODUCE, DeliveryFailed("no"), False),
    "a hand-over to a fatal producer": (Call.PRODUCE, ProducerUnusable("fatal"), False),
    "a begin that fails": (Call.BEGIN, ProducerUnusable("state"), False),
    "offsets that are refused": (Call.SEND_OFFSETS, CommitRefused("illegal generation"), False),
    "offsets that were taken, whose answer is lost": (Call.SEND_OFFSETS, CommitRefused("timed out"), True),
    "offsets of a fatal producer": (Call.SEND_OFFSETS, ProducerUnusable("fatal"), False),
    "a commit that did not happen, nobody knows": (Call.COMMIT, OutcomeUnknown("lost"), False),
    "a commit that did happen, nobody knows": (Call.COMMIT, OutcomeUnknown("lost"), True),
    "a commit of a fenced producer": (Call.COMMIT, OutcomeUnknown("fenced", fenced=True), False),
    "an abort that fails": (Call.ABORT, OutcomeUnknown("lost"), False),
    "an abort whose answer is lost": (Call.ABORT, OutcomeUnknown("lost"), True),
}
"""The error classes of DESIGN §4's table, where they arise, and whether the broker did the work all the same."""

HELD = [Call.FLUSH, Call.SEND_OFFSETS, Call.COMMIT, Call.ABORT, Call.COMMITTED, Call.INIT]
DEATHS = [
    FaultPoint.AFTER_FIRST_PRODUCE,
    FaultPoint.BEFORE_PRODUCE,
    FaultPoint.AFTER_FLUSH,
    FaultPoint.AFTER_SEND_OFFSETS,
    FaultPoint.AFTER_COMMIT,
    FaultPoint.MID_APPLY,
    FaultPoint.AFTER_APPLY,
    FaultPoint.IN_ASSIGN,
    FaultPoint.IN_REVOKE_BEFORE_COMMIT,
    FaultPoint.IN_REVOKE_AFTER_COMMIT,
    FaultPoint.ABORT_BEFORE_REWIND,
    FaultPoint.ABORT_AFTER_REWIND,
    FaultPoint.IN_PRODUCER_REBUILD,
]


class EngineMachine(RuleBasedStateMachine):
    """Moves; a move that makes no sense just now does nothing."""

    violations: ClassVar[list[str]] = []
    """What was found, over all examples: hypothesis may report it as flaky, as threads take part."""
    moves: ClassVar[int] = 0
    tally: ClassVar[Counter[str]] = Counter()
    """What happened, over all examples: records, deaths, commits, aborts, producer_rebuilds, and so on."""

    def __init__(self) -> None:
        super().__init__()
        self.has_failed = False
        self.loop = asyncio.new_event_loop()
        self.world: World = self.run(self._made())

    @staticmethod
    async def _made() -> World:
        return World()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(work)

    def move(self, work: Coroutine[Any, Any, Any] | None = None) -> None:
        """Do a move and what follows from it by itself."""
        type(self).moves += 1

        async def moved() -> None:
            if work is not None:
                await work
            await self.world.calm()
            await self.world.bury()

        self.run(moved())

    def living(self, worker: str) -> str:
        """Return `worker` if it runs, else another that does; start one where none is left."""
        if worker in self.world.running:
            return worker
        if not self.world.running:
            self.world.release_markers()
            self.move(self.world.start(worker))
        return next(iter(self.world.running))

    # --- life

    @initialize()
    def one_worker_runs(self) -> None:
        async def up() -> None:
            await self.world.start("w1")
            await self.world.poll("w1", 4)

        self.move(up())

    @rule(worker=WORKERS, keeps_disk=strategies.booleans())
    def start(self, worker: str, keeps_disk: bool) -> None:
        if worker in self.world.running or self.world.markers_are_held:
            return
        self.move(self.world.start(worker, keeps_disk=keeps_disk))

    @rule(worker=WORKERS)
    def stop(self, worker: str) -> None:
        if worker not in self.world.running or self.world.markers_are_held:
            return
        self.move(self.world.stop(worker))

    @rule(worker=WORKERS)
    def crash(self, worker: str) -> None:
        if worker in self.world.running:
            self.move(self.world.crash(worker))

    @rule(worker=WORKERS, point=strategies.sampled_from(DEATHS), works=strategies.booleans())
    def die_at(self, worker: str, point: FaultPoint, works: bool) -> None:
        worker = self.living(worker)
        self.world.running[worker].die_at = point
        self.move(self._worked(worker) if works else None)

    # --- records

    @rule(number=NUMBERS, doings=strategies.lists(strategies.tuples(DOINGS, KEYS), min_size=1, max_size=4))
    def feed(self, number: int, doings: list[tuple[str, str]]) -> None:
        for do, key in doings:
            self.world.feed(number, do, key)
        self.move()

    @rule(number=NUMBERS, key=KEYS, back=strategies.integers(1, 4))
    def feed_a_duplicate(self, number: int, key: str, back: int) -> None:
        self.world.feed(number, "well", key, again=max(0, self.world.fed - back))
        self.move()

    @rule(number=NUMBERS, doings=strategies.lists(DOINGS, min_size=1, max_size=2), commit=strategies.booleans())
    def feed_a_transaction(self, number: int, doings: list[str], commit: bool) -> None:
        if self.world.markers_are_held:
            return
        self.world.feed_transaction(number, [self.world.value(do, "ann") for do in doings], commit=commit)
        self.move()

    @rule(worker=WORKERS, turns=strategies.integers(1, 4))
    def poll(self, worker: str, turns: int) -> None:
        self.move(self.world.poll(self.living(worker), turns))

    @rule(worker=WORKERS, turns=strategies.integers(1, 4))
    def poll_while_the_loop_stands(self, worker: str, turns: int) -> None:
        self.world.poll_blindly(self.living(worker), turns)
        self.move()

    @rule(worker=WORKERS, is_open=strategies.booleans())
    def door(self, worker: str, is_open: bool) -> None:
        """Slow records wait while it is shut."""
        worker = self.living(worker)
        door = self.world.running[worker].door
        if is_open:
            door.set()
        else:
            door.clear()
        self.move()

    @rule(worker=WORKERS, polls=strategies.booleans())
    def commit(self, worker: str, polls: bool) -> None:
        worker = self.living(worker)
        self.world.commit(worker)
        self.move(self.world.poll(worker, 2) if polls else None)

    @rule(worker=WORKERS)
    def work(self, worker: str) -> None:
        """What mostly happens."""
        self.move(self._worked(self.living(worker)))

    @rule(worker=WORKERS, number=NUMBERS)
    def tick(self, worker: str, number: int) -> None:
        async def tick() -> None:
            self.world.tick(worker, number)

        self.move(tick())

    # --- faults

    @rule(worker=WORKERS, name=strategies.sampled_from(sorted(FAILURES)), works=strategies.booleans())
    def fail(self, worker: str, name: str, works: bool) -> None:
        worker = self.living(worker)
        call, error, is_done = FAILURES[name]
        host = self.world.running[worker].host
        host.forget_faults()
        host.fail(call, Fault(error=error, is_done=is_done))
        if call is Call.ABORT:
            host.fail(Call.SEND_OFFSETS, Fault(error=CommitRefused("illegal generation")))

        async def fail() -> None:
            await self.world.advance(61.0)  # two fences within a minute are a rival's
            if works:
                await self._worked(worker)

        self.move(fail())

    @rule(worker=WORKERS, call=strategies.sampled_from([Call.SEND_OFFSETS, Call.COMMIT, Call.ABORT]), lost=strategies.booleans())
    def be_late(self, worker: str, call: Call, lost: bool) -> None:
        """A request goes out twice, and its copy stays on its way; or (`lost`) it is itself what comes late."""
        worker = self.living(worker)
        host = self.world.running[worker].host
        host.forget_faults()
        error = CommitRefused("no answer") if call is Call.SEND_OFFSETS else OutcomeUnknown("no answer")
        host.fail(call, Fault(is_late=True, error=error if lost else None))
        self.move()

    @rule()
    def stray_arrives(self) -> None:
        self.world.stray_arrives()
        self.move()

    @rule(worker=WORKERS, call=strategies.sampled_from(HELD), answered=strategies.booleans())
    def hold(self, worker: str, call: Call, answered: bool) -> None:
        """The next call of the kind waits, before its work or with its answer."""
        worker = self.living(worker)
        process = self.world.running[worker]
        process.hold.clear()
        process.host.fail(call, Fault(hold=process.hold, is_done=answered))
        self.move()

    @rule(worker=WORKERS)
    def let_go(self, worker: str) -> None:
        self.world.running[self.living(worker)].hold.set()
        self.move()

    @rule(worker=WORKERS, works=strategies.booleans())
    def refuse_disk(self, worker: str, works: bool) -> None:
        worker = self.living(worker)
        self.world.disks[worker].refusals = 1
        self.move(self._worked(worker) if works else None)

    @rule(worker=WORKERS)
    def expire_session(self, worker: str) -> None:
        self.world.kafka.expire_session(GROUP, worker)
        self.move()

    @rule()
    def time_out(self) -> None:
        """Transactions that are open stay so for longer than they may."""

        async def time_out() -> None:
            await self.world.advance(TIMEOUT)
            self.world.kafka.advance(TIMEOUT)

        self.move(time_out())

    @rule(part=strategies.sampled_from([GROUP, "out", *CHANGELOGS.values()]), number=NUMBERS)
    def hold_markers(self, part: str, number: int) -> None:
        self.world.hold_markers(part if part == GROUP else Partition(part, number))
        self.move()

    @rule()
    def release_markers(self) -> None:
        self.world.release_markers()
        self.move()

    # --- stories: moves that seldom meet by chance

    @rule(
        worker=WORKERS,
        call=strategies.sampled_from([Call.SEND_OFFSETS, Call.COMMIT, Call.ABORT]),
        meets=strategies.sampled_from([(Call.FLUSH, True), (Call.SEND_OFFSETS, True), (Call.COMMIT, False)]),
    )
    def a_copy_meets_the_next_transaction(self, worker: str, call: Call, meets: tuple[Call, bool]) -> None:
        """Rule 11: a request of one transaction arrives while a later one is open."""
        worker = self.living(worker)
        process = self.world.running[worker]

        async def story() -> None:
            await self._worked(worker)
            process.host.forget_faults()
            if call is Call.ABORT:
                process.host.fail(Call.SEND_OFFSETS, Fault(error=CommitRefused("illegal generation")))
            process.host.fail(call, Fault(is_late=True))
            await self._worked(worker)
            held, answered = meets
            process.hold.clear()
            process.host.fail(held, Fault(hold=process.hold, is_done=answered))
            await self._worked(worker)
            self.world.stray_arrives()
            self.world.check()
            process.hold.set()
            await self.world.poll(worker, 2)

        self._hold(lambda: self.move(story()))

    @rule(other_first=strategies.booleans())
    def outlive_a_session(self, other_first: bool) -> None:
        """Rule 2: a worker commits what it did before its partitions went to another one, which has begun there."""
        if self.world.markers_are_held:
            return

        async def story() -> None:
            old, new = await self._two_workers()
            if old not in self.world.running or new not in self.world.running:
                return
            for number in PARTITIONS:
                self.world.feed(number, "well", "ann")
            await self.world.poll(old, 2)
            self.world.tick(old, 0)
            self.world.kafka.expire_session(GROUP, old)
            await self.world.poll(new, 8)
            if other_first:
                self.world.commit(new)
                await self.world.poll(new, 2)
            self.world.commit(old)
            await self.world.poll(old, 2)

        self.move(story())

    @rule(table=strategies.sampled_from(sorted(CHANGELOGS)))
    def move_behind_a_late_marker(self, table: str) -> None:
        """DESIGN §5: a commit's offsets are settled, its changelog's marker is not, and its partition goes to another worker."""
        if self.world.markers_are_held:
            return

        async def story() -> None:
            old, new = await self._two_workers()
            mine = [where.number for where, owner in self.world.kafka.owners(GROUP).items() if owner == old]
            if old not in self.world.running or new not in self.world.running or not mine:
                return
            self.world.hold_markers(Partition(CHANGELOGS[table], mine[0]))
            self.world.tick(old, mine[0])
            await self._worked(old)
            if old in self.world.running:
                await self.world.crash(old)
            self.world.kafka.expire_session(GROUP, old)
            await self.world.poll(new, 8)
            self.world.tick(new, mine[0])
            await self._worked(new)
            self.world.release_markers()

        self.move(story())

    @rule(worker=WORKERS, doings=strategies.lists(DOINGS, min_size=1, max_size=3))
    def abort_over_a_record_in_hand(self, worker: str, doings: list[str]) -> None:
        """Rule 20: what was fetched before a rewind is behind it twice."""
        worker = self.living(worker)
        process = self.world.running[worker]

        async def story() -> None:
            process.door.clear()
            for number in PARTITIONS:
                for do in ("well", "slow", *doings):
                    self.world.feed(number, do, "ann")
            await self.world.poll(worker, 2)
            process.host.forget_faults()
            process.host.fail(Call.SEND_OFFSETS, Fault(error=CommitRefused("illegal generation")))
            self.world.commit(worker)
            await self.world.poll(worker, 3)
            process.door.set()

        self.move(story())

    async def _two_workers(self) -> tuple[str, str]:
        """Have both run and share the partitions, as far as what is held lets them; return them, the one that has more first."""
        await self.world.bury()
        for worker in ("w1", "w2"):
            if worker not in self.world.running:
                await self.world.start(worker)
        await self.world.settled()
        held = list(self.world.kafka.owners(GROUP).values())
        return ("w1", "w2") if held.count("w1") >= held.count("w2") else ("w2", "w1")

    async def _worked(self, worker: str) -> None:
        """A record of each partition comes, is read, and committed."""
        if worker in self.world.running:
            for number in PARTITIONS:
                self.world.feed(number, "well", "ann")
            await self.world.poll(worker, 2)
            self.world.commit(worker)
            await self.world.poll(worker, 2)

    # --- what holds

    @invariant()
    def all_that_is_committed_agrees(self) -> None:
        self._hold(self.world.check)
        self._hold(self.world.check_alive)

    def teardown(self) -> None:
        try:
            if not self.has_failed:
                self._hold(lambda: self.run(self.world.finish()))
        finally:
            type(self).tally += self.world.tally()
            self.run(self.world.close())
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()

    def _hold(self, check: Any) -> None:
        try:
            check()
        except Violation as violation:
            self.has_failed = True
            type(self).violations.append(str(violation))
            raise


def run(machine: type[EngineMachine], examples: int, *, seeded: int = SEED, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Run `examples` interleavings of up to STEPS moves. Raises what they found, shrunk (unless `phases` leave that out)."""
    machine.violations, machine.moves, machine.tally = [], 0, Counter()
    run_state_machine_as_test(
        seed(seeded)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
