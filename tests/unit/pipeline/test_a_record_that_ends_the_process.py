"""A record that ends its process is found in at most five lives, buried without another call, and nobody else is blamed.

A death is a MemoryError here: the worker stops at once and unclean, as a supervisor sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from streamapp.clock import Deadline
from streamapp.errors import CommitRefused, OutcomeUnknown
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter import read_dead_letter
from streamapp.pipeline.spec import AgentSpec, TableSpec
from streamapp.pipeline.suspects import Count, read
from streamapp.ports import InHand
from streamapp.records import Partition
from streamapp.state.in_hand import InHandFile
from tests.support.fakes import FakeBroker, Fault
from tests.support.pipeline import SETTINGS, Bench, agent, batches, copy, each, emit, running, table

AT_MOST = 5
"""Deaths of one record."""


async def deadly(value: bytes) -> None:
    if value.startswith(b"deadly"):
        raise MemoryError
    emit(value)


async def live(
    broker: FakeBroker,
    *agents: AgentSpec,
    partitions: int = 1,
    tables: Sequence[TableSpec] = (),
    in_hand: InHand | None = None,
    **settings: object,
) -> bool:
    """Run a worker until it has done all, or died; return whether it died."""
    bench = Bench(
        agents,
        tables,
        broker,
        dict.fromkeys({topic for spec in agents for topic in spec.topics}, partitions),
        None,
        replace(SETTINGS, max_poll_interval=4.0, **settings),  # type: ignore[arg-type]  # a short grace for what is in hand
        50,
        in_hand=in_hand,
    )
    await bench.engine.start()
    waiting = asyncio.ensure_future(all_done(bench))
    try:
        ends: set[asyncio.Future[BaseException] | asyncio.Task[None]] = {waiting, bench.engine.failure}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        died = bench.engine.failure.done()
        if not died:
            await waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await bench.engine.stop()
        bench.restore.close()
    assert broker.violations == []
    return died


async def all_done(bench: Bench) -> None:
    await bench.until(lambda: bench.engine.ready)
    await bench.caught_up(seconds=20.0)


async def deaths(broker: FakeBroker, *agents: AgentSpec, partitions: int = 1, at_most: int = 12, **settings: object) -> int:
    """Start the worker anew until it has done all; return how often it died."""
    died = 0
    while await live(broker, *agents, partitions=partitions, **settings):  # type: ignore[arg-type]
        died += 1
        assert died <= at_most, [broker.offsets.get(Partition("in", number)) for number in range(partitions)]
    return died


def letters(broker: FakeBroker, topic: str = "dlq") -> list[tuple[str, str, str, int, bytes | None]]:
    """Return agent, stage, reason, attempts and value of each dead letter."""
    told = []
    with broker.lock:
        sent = [record for done in broker.transactions if done.committed for record in done.records if record[0] == topic]
    for record in sent:
        letter = read_dead_letter(record[5])
        assert letter is not None
        told.append((letter.agent, letter.stage, letter.reason, letter.attempts, record[1]))
    return told


def count_of(broker: FakeBroker, number: int = 0) -> Count:
    return read(broker.offsets[Partition("in", number)][1])[0]


def suspect(broker: FakeBroker, number: int = 0, *, tries: int = 0, offset: int | None = None) -> None:
    """Have the next life find a suspect there."""
    broker.offsets[Partition("in", number)] = (0, f"streamapp:starts=3,tries={tries}" + ("" if offset is None else f"@{offset}"))


async def test_it_is_buried_undecoded_after_five_deaths_and_all_else_is_done_once() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"before", b"deadly", b"after")
    for number in (1, 2):
        broker.feed("in", number, *(b"%d-%d" % (number, n) for n in range(20)))
    assert await deaths(broker, agent(each(deadly)), partitions=3, commit_every=1) <= AT_MOST
    assert letters(broker) == [("agent", "process", "killed-worker", 2, b"deadly")]
    assert broker.values("out", 0) == [b"before", b"after"]
    for number in (1, 2):
        assert broker.values("out", number) == [b"%d-%d" % (number, n) for n in range(20)]
    assert [count_of(broker, number) for number in range(3)] == [Count()] * 3


async def test_the_first_record_of_a_group_that_never_committed_anything_is_found_too() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"deadly", b"after")
    assert await deaths(broker, agent(each(deadly))) <= AT_MOST
    assert letters(broker) == [("agent", "process", "killed-worker", 2, b"deadly")]
    assert broker.values("out") == [b"after"]


async def test_two_such_records_are_found_beside_each_other_and_one_behind_the_other() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"deadly 0", b"a", b"deadly 1")
    broker.feed("in", 1, b"b", b"deadly 2", b"c")
    assert await deaths(broker, agent(each(deadly)), partitions=2, at_most=3 * AT_MOST) <= 3 * AT_MOST
    assert sorted(letter[-1] or b"" for letter in letters(broker)) == [b"deadly 0", b"deadly 1", b"deadly 2"]
    assert sorted(value or b"" for value in broker.values("out")) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("kind", ["concurrent", "batches", "at least once", "with a table"])
async def test_it_is_found_whatever_the_agent_is_like(kind: str) -> None:
    async def each_of(values: list[bytes]) -> None:
        for value in values:
            await deadly(value)

    broker = FakeBroker()
    broker.feed("in", 0, *(b"%d" % n for n in range(5)), b"deadly", *(b"%d" % n for n in range(5, 10)))
    match kind:
        case "concurrent":
            spec = agent(each(deadly), concurrency=3)
        case "batches":
            spec = agent(batches(4, each_of, None))
            broker.feed("in", 0, b"10", b"11")  # the last batch is full, with the culprit gone
        case _:
            spec = agent(each(deadly))
    tables = [table()] if kind == "with a table" else []
    died = await deaths(broker, spec, tables=tables, exactly_once=kind != "at least once")
    assert died <= AT_MOST
    assert letters(broker) == [("agent", "process", "killed-worker", 2, b"deadly")]
    done = broker.values("out")
    assert list(dict.fromkeys(done)) == [b"%d" % n for n in range(12 if kind == "batches" else 10)]
    if kind != "at least once":
        assert len(done) == len(set(done))


async def test_each_agent_of_its_topic_buries_it_as_nobody_knows_which_one_had_it() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"a", b"deadly", b"b")
    first, second = agent(each(copy), name="first"), agent(each(deadly), name="second")
    assert await deaths(broker, first, second) <= AT_MOST
    assert [letter[:4] for letter in letters(broker)] == [
        ("first", "process", "killed-worker", 2),
        ("second", "process", "killed-worker", 2),
    ]
    assert sorted(value or b"" for value in broker.values("out")) == [b"a", b"a", b"b", b"b"]


@pytest.mark.parametrize("how", ["no topic", "stop"])
async def test_an_agent_that_buries_nothing_stands_at_it_and_says_so(how: str, caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"deadly", b"after")
    broker.feed("in", 1, b"other")
    suspect(broker, tries=2, offset=0)
    spec = agent(each(deadly), dlq=None) if how == "no topic" else replace(agent(each(deadly)), on_error="stop")
    async with running(spec, broker=broker, partitions={"in": 2}) as bench:
        await bench.until(
            lambda: any(reason.startswith("stopped at 0") for reason in bench.engine.group.lanes[Partition("in", 0)].pauses)
        )
        await bench.until(lambda: broker.values("out") == [b"other"])
    assert broker.committed("in", 0) == 0
    assert letters(broker) == []
    assert any(record.__dict__.get("event") == "lane_stopped" and "KilledWorker" in record.message for record in caplog.records)


# --- nobody else


async def test_lives_without_progress_alone_blame_nobody(caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker()
    for number in range(2):
        broker.feed("in", number, *(b"%d-%d" % (number, n) for n in range(70)))
        suspect(broker, number)
    assert not await live(broker, agent(each(copy)), partitions=2)
    assert letters(broker) == []
    for number in range(2):
        assert broker.values("out", number) == [b"%d-%d" % (number, n) for n in range(70)]
    assert sum(record.__dict__.get("event") == "partition_suspect" for record in caplog.records) == 2


async def test_a_suspects_records_come_one_to_a_transaction_and_with_none_of_anybody_elses() -> None:
    others: list[bytes] = []

    async def slow(value: bytes) -> None:
        if value.startswith(b"1-"):
            others.append(value)
        else:
            before = len(others)
            broker.feed("in", 1, b"1-a", b"1-b")
            for _ in range(50):  # its work, in which others could do theirs
                await asyncio.sleep(0.002)
                if len(others) > before + 1:
                    break
        emit(value)

    broker = FakeBroker()
    broker.feed("in", 0, *(b"0-%d" % n for n in range(8)))
    suspect(broker)
    assert not await live(broker, agent(each(slow), concurrency=2), partitions=2)
    sent = [[record[1] or b"" for record in done.records] for done in broker.transactions if done.committed and done.records]
    assert [values for values in sent if any(value.startswith(b"0-") for value in values)] == [[b"0-%d" % n] for n in range(8)]
    assert sorted(broker.values("out", 1), key=str) == [b"1-a"] * 8 + [b"1-b"] * 8


async def test_only_the_record_that_is_tried_is_marked_and_before_it_is_handed_over() -> None:
    marked: list[tuple[bytes, Count, Count]] = []

    async def look(value: bytes) -> None:
        marked.append((value, count_of(broker, 0), count_of(broker, 1)))
        emit(value)

    broker = FakeBroker()
    for number in (0, 1):
        broker.feed("in", number, b"%d-0" % number, b"%d-1" % number)
        suspect(broker, number)
    assert not await live(broker, agent(each(look)), partitions=2)
    assert marked == [
        (b"0-0", Count(4, 1, 0), Count(3)),
        (b"0-1", Count(0, 1, 1), Count(3)),
        (b"1-0", Count(), Count(4, 1, 0)),
        (b"1-1", Count(), Count(0, 1, 1)),
    ]


async def test_a_record_that_took_the_place_of_the_one_that_was_tried_is_not_blamed() -> None:
    broker = FakeBroker()
    broker.marker("in", 0)  # where it was, until it was compacted away
    broker.feed("in", 0, b"innocent")
    suspect(broker, tries=2, offset=0)
    assert not await live(broker, agent(each(copy)))
    assert (letters(broker), broker.values("out")) == ([], [b"innocent"])


async def test_a_tried_record_that_fails_as_any_other_is_retried_and_no_death_is_counted() -> None:
    tried: list[bytes] = []

    async def stumble(value: bytes) -> None:
        tried.append(value)
        if tried.count(value) == 1:
            raise ValueError("once")
        emit(value)

    broker = FakeBroker()
    broker.feed("in", 0, b"a", b"b")
    suspect(broker, tries=1, offset=0)
    assert not await live(broker, agent(each(stumble)))
    assert (tried, letters(broker), broker.values("out")) == ([b"a", b"a", b"b", b"b"], [], [b"a", b"b"])


async def test_units_that_are_dropped_while_a_record_is_tried_add_nothing() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"a", b"b")
    suspect(broker, tries=0)
    broker.fail(
        "commit", Fault(), OutcomeUnknown("lost"), Fault(OutcomeUnknown("lost"), done=True), OutcomeUnknown("lost"), Fault()
    )
    broker.fail("send_offsets", Fault(), CommitRefused("no"), Fault(), CommitRefused("no"))
    marked: list[Count] = []

    async def look(value: bytes) -> None:
        marked.append(count_of(broker))
        emit(value)

    assert not await live(broker, agent(each(look)))
    assert (letters(broker), broker.values("out")) == ([], [b"a", b"b"])
    assert {count.tries for count in marked} == {1}


@pytest.mark.parametrize(
    "commits",
    [
        [Fault(MemoryError(), done=True)],
        [Fault(MemoryError())],
        [Fault(), Fault(MemoryError())],
        [Fault(), Fault(MemoryError(), done=True)],
    ],
    ids=["a try counted", "a try not counted", "a record not committed", "a record committed"],
)
async def test_a_process_that_ends_in_a_commit_blames_no_record(commits: list[Fault], tmp_path: Path) -> None:
    """It may have counted a try that was never made, or have delivered what the record sent."""
    broker = FakeBroker()
    broker.feed("in", 0, b"a", b"b", b"c")
    suspect(broker)
    for _ in range(6):
        broker.fail("commit", *commits)
        await live(broker, agent(each(copy)), in_hand=InHandFile(tmp_path / "in-hand"))
    broker.faults.clear()
    assert not await live(broker, agent(each(copy)), in_hand=InHandFile(tmp_path / "in-hand"))
    assert (letters(broker), broker.values("out")) == ([], [b"a", b"b", b"c"])


async def test_what_is_remembered_of_lives_hides_no_record_that_ends_them(tmp_path: Path) -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"before", b"deadly", b"after")
    died = 0
    while await live(broker, agent(each(deadly)), commit_every=1, in_hand=InHandFile(tmp_path / "in-hand")):
        died += 1
        assert died <= AT_MOST
    assert letters(broker) == [("agent", "process", "killed-worker", 2, b"deadly")]
    assert broker.values("out") == [b"before", b"after"]


# --- counting


async def test_one_transaction_counts_the_starts_of_all_partitions_before_their_first_record() -> None:
    counted: set[int] = set()

    async def look(value: bytes) -> None:
        counted.update(count_of(broker, number).starts for number in range(8) if broker.committed("in", number) == 0)
        emit(value)

    broker = FakeBroker()
    for number in range(8):
        broker.feed("in", number, b"x", b"y")
        broker.offsets[Partition("in", number)] = (0, "")
    assert not await live(broker, agent(each(look)), partitions=8, commit_interval=5.0, commit_every=16)
    offset_only = [done for done in broker.transactions if done.committed and not done.records]
    assert [sorted(done.offsets.items()) for done in offset_only] == [[(Partition("in", number), 0) for number in range(8)]]
    assert counted == {1}


async def test_where_nothing_is_left_to_handle_nothing_is_counted() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"done")
    broker.offsets[Partition("in", 0)] = (1, "theirs")
    async with running(agent(each(copy)), broker=broker):
        pass
    assert broker.transactions == []


async def test_a_start_is_not_counted_while_tables_are_restored() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"x")
    broker.offsets[Partition("in", 0)] = (0, "")
    async with running(agent(each(copy)), tables=[table()], broker=broker, restores_held=True, settled=False) as bench:
        await bench.until(lambda: bench.restore.begun)
        await bench.engine._settled(bench.engine._transactions.commit_now(), Deadline.after(5.0))
        assert count_of(broker) == Count()
        bench.restore.hold.set()
        await bench.caught_up()


@pytest.mark.parametrize("end", ["stop", "revoke"])
async def test_a_clean_end_without_progress_is_not_counted(end: str) -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"x")
    broker.offsets[Partition("in", 0)] = (0, "streamapp:starts=1,tries=1@0;theirs")
    began = asyncio.Event()

    async def wait(cursor: Cursor) -> None:
        await anext(cursor)
        began.set()
        await asyncio.Event().wait()

    retry = replace(agent(each(copy)).retry, attempt_timeout=0.3)
    async with running(agent(wait, retry=retry), broker=broker) as bench:
        await began.wait()
        assert count_of(broker) == Count(2, 2, 0)
        if end == "revoke":
            await asyncio.wrap_future(bench.source.revoke(Partition("in", 0)))
    offset, metadata = broker.offsets[Partition("in", 0)]
    held = {"stop": Count(), "revoke": Count(0, 1, 0)}
    assert (offset, read(metadata)) == (0, (held[end], "theirs"))


async def test_a_process_that_loses_its_session_again_and_again_suspects_and_blames_nothing() -> None:
    """Each time the partition is assigned anew, without progress; but nobody died."""
    broker = FakeBroker()
    broker.feed("in", 0, b"slow")
    broker.offsets[Partition("in", 0)] = (0, "")
    found: list[tuple[Count, bool]] = []

    async def wait(cursor: Cursor) -> None:
        await anext(cursor)
        lane = bench.engine.group.lanes[Partition("in", 0)]
        found.append((count_of(broker), lane.life is not None and lane.life.is_suspect))
        await asyncio.Event().wait()

    retry = replace(agent(each(copy)).retry, attempt_timeout=0.3)
    async with running(agent(wait, retry=retry), broker=broker) as bench:
        for turn in range(6):
            await bench.until(partial(lambda turn: len(found) > turn, turn))
            await asyncio.wrap_future(bench.source.lose(Partition("in", 0)))
            await asyncio.wrap_future(bench.source.assign(Partition("in", 0)))
        await bench.until(lambda: len(found) > 6)
    assert found == [(Count(1), False)] * 7


async def test_a_worker_that_failed_does_not_forget_the_count_as_it_leaves() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"deadly")
    broker.offsets[Partition("in", 0)] = (0, "")
    assert await live(broker, agent(each(deadly)))
    assert count_of(broker) == Count(1)


async def test_switched_off_nothing_is_counted_and_nobody_suspected() -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"deadly")
    suspect(broker, tries=2, offset=0)
    assert await live(broker, agent(each(deadly)), isolate_after=0)
    assert (count_of(broker), letters(broker)) == (Count(3, 2, 0), [])


async def test_a_suspicion_ends_and_records_come_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.pipeline.suspects.CLEAN_RECORDS", 60)
    broker = FakeBroker()
    broker.feed("in", 0, *(b"%d" % n for n in range(200)))
    suspect(broker)
    assert not await live(broker, agent(each(copy)))
    assert broker.values("out") == [b"%d" % n for n in range(200)]
    sizes = [len(done.records) for done in broker.transactions if done.committed and done.records]
    assert sizes[:60] == [1] * 60
    assert max(sizes[60:]) > 1
