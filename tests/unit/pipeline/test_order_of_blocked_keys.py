"""Whatever fails, each key's records are processed in order and once: those behind a dead letter wait for what becomes of it.

The engine on fakes; what is drawn: which records fail and when they are mended, faults of commits, disk and group, crashes, and what an
operator does with dead letters. In the end all is mended, and every letter was replayed or discarded.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, settings, strategies

from streamapp.errors import CommitRefused, DeliveryFailed, OutcomeUnknown
from streamapp.pipeline.dead_letter import parse_id
from streamapp.pipeline.held import HoldLimits
from streamapp.records import Partition
from tests.support.blocking import HELD, Poison, blocking, held, letters, outputs, replay, table_of
from tests.support.fakes import FakeBroker, FakeRestore, Fault
from tests.support.pipeline import SETTINGS, Bench

EXAMPLES = 50
NUMBERS = (0, 1)
FAULTS: dict[str, tuple[str, Callable[[], Fault]]] = {
    "a commit that did happen, nobody knows": ("commit", lambda: Fault(OutcomeUnknown("lost"), done=True)),
    "a commit that did not happen, nobody knows": ("commit", lambda: Fault(OutcomeUnknown("lost"))),
    "offsets that are refused": ("send_offsets", lambda: Fault(CommitRefused("illegal generation"))),
    "records that are not delivered": ("flush", lambda: Fault(DeliveryFailed("timed out"))),
    "a disk that refuses": ("apply", lambda: Fault(OSError("full"))),
}

places = strategies.sampled_from(NUMBERS)
feeds = strategies.tuples(
    strategies.just("feed"),
    places,
    strategies.lists(strategies.tuples(strategies.sampled_from("ab"), strategies.booleans()), min_size=1, max_size=6),
)
moves = strategies.one_of(
    feeds,
    feeds,
    strategies.tuples(strategies.just("fault"), strategies.sampled_from(sorted(FAULTS))),
    strategies.tuples(strategies.sampled_from(["revoke", "lose"]), places),
    strategies.tuples(strategies.just("crash"), strategies.booleans()),
    strategies.tuples(strategies.sampled_from(["replay", "discard"]), strategies.booleans()),
    strategies.tuples(strategies.just("catch up")),
)


@dataclass
class World:
    """The workers, one after the other, and what the operator did."""

    broker: FakeBroker = field(default_factory=FakeBroker)
    poison: Poison = field(default_factory=Poison)
    resolved: set[str] = field(default_factory=set)
    discarded: set[bytes] = field(default_factory=set)
    sent_again: dict[str, Partition] = field(default_factory=dict)
    """Dead letters that were replayed -> where, and `upto` says behind which offset of it."""
    upto: dict[str, int] = field(default_factory=dict)
    replays: Counter[str] = field(default_factory=Counter)
    fed: dict[bytes, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    async def start(self, disk: FakeRestore | None = None) -> None:
        spec = blocking(self.poison, hold=HoldLimits())
        self.bench = Bench([spec], [table_of(spec)], self.broker, {"in": len(NUMBERS)}, None, SETTINGS, 5)
        self.bench.resolved = self.resolved
        if disk is not None:
            self.bench.restore.stores = disk.stores
        await self.bench.engine.start()
        await self.bench.until(lambda: len(self.bench.source.assigned) == len(NUMBERS))

    async def move(self, what: str, *how: object) -> None:
        bench = self.bench
        match what, how:
            case "feed", (int(number), list(records)):
                for letter, fails in records:
                    key = f"{letter}{number}".encode()
                    value = key + b":%d" % len(self.fed[key])
                    self.fed[key].append(value)
                    if fails:
                        self.poison.values.add(value)
                    self.broker.feed("in", number, value, key=key)
            case "fault", (str(name),):
                call, fault = FAULTS[name]
                self.broker.fail(call, fault())
            case "revoke", (int(number),):
                await asyncio.wrap_future(bench.source.revoke(Partition("in", number)))
                await asyncio.wrap_future(bench.source.assign(Partition("in", number)))
            case "lose", (int(number),):
                await asyncio.wrap_future(bench.source.lose(Partition("in", number)))
                await asyncio.wrap_future(bench.source.assign(Partition("in", number)))
            case "crash", (bool(keeps_disk),):
                await self.end()
                await self.start(bench.restore if keeps_disk else None)
            case (("replay" | "discard"), (bool(is_mended),)):
                await bench.caught_up()  # whoever does that has seen the letter
                self.operate(what, is_mended=is_mended)
            case "catch up", ():
                await bench.caught_up()
        await asyncio.sleep(0)

    async def end(self) -> None:
        await self.bench.engine.stop(finish=False)
        self.bench.restore.close()

    def blocking_letters(self) -> dict[str, bytes]:
        """Return the committed heads that wait for the operator, with their values."""
        found = {}
        for number in NUMBERS:
            for blocked in held(self.bench.changelog(HELD, number)).values():
                place = parse_id(blocked.head)
                assert place is not None
                if blocked.settled or blocked.head in self.resolved or self.is_on_its_way(blocked.head):
                    continue
                record = self.broker.logs[Partition("in", number)][place[0].offset]
                assert record is not None
                found[blocked.head] = record.value() or b""
        return found

    def is_on_its_way(self, head: str) -> bool:
        where = self.sent_again.get(head)
        return where is not None and (self.broker.committed(*where) or 0) <= self.upto[head]

    def operate(self, what: str, *, is_mended: bool) -> None:
        with self.broker.lock:
            heads = self.blocking_letters()
            for head, value in sorted(heads.items())[:1]:
                if what == "discard":
                    self.discarded.add(value)
                    self.resolved.add(head)
                    self.bench.engine.settled([head])
                    continue
                if is_mended:
                    self.poison.values.discard(value)
                place = parse_id(head)
                assert place is not None
                self.replays[head] += 1
                assert self.replays[head] < 20, f"{head} was replayed in vain"
                where = Partition("in", place[0].partition)
                self.sent_again[head], self.upto[head] = where, self.broker.end(where)
                replay(self.broker, head, value, value.partition(b":")[0], where.number)

    async def finish(self) -> None:
        """Mend everything and replay what blocks, until nothing does."""
        self.broker.faults.clear()
        self.poison.values.clear()
        await self.bench.until(lambda: self.bench.engine.ready, seconds=20)

        def is_free() -> bool:
            self.operate("replay", is_mended=True)
            return not any(self.bench.changelog(HELD, number) for number in NUMBERS)

        await self.bench.caught_up(seconds=20)
        await self.bench.until(is_free, seconds=20)
        await self.bench.caught_up(seconds=20)

    def check(self) -> None:
        for key, values in self.fed.items():
            found = outputs(self.broker, lambda value, key=key: value.startswith(key + b":"))  # type: ignore[misc]  # a default binds it
            wanted = [value for value in values if value not in self.discarded]
            assert found == wanted, f"{key.decode()}: {found} instead of {wanted}"
        assert {letter.order for letter in letters(self.broker)} <= {"held"}
        assert self.broker.violations == []


async def story(told: list[tuple[object, ...]]) -> None:
    world = World()
    await world.start()
    try:
        for move in told:
            await world.move(*move)  # type: ignore[arg-type]  # the first is the name
        await world.finish()
        world.check()
    finally:
        await world.end()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate,),  # threads take part, so a shrunk story may not fail again
    suppress_health_check=list(HealthCheck),
)
@given(strategies.lists(moves, min_size=8, max_size=24))
def test_each_keys_records_come_in_order_and_once(told: list[tuple[object, ...]]) -> None:
    asyncio.run(story(told))
