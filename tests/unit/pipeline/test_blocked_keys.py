"""With `on_error="block_key"` a dead letter blocks its key: later records of it wait in a table until the letter is settled.

They are held in the unit that carries their offset, and processed in order as if they were read then; other keys go on meanwhile.
"""

from __future__ import annotations

from streamapp.records import Partition
from tests.support.blocking import HELD, Poison, blocking, held, letters, outputs, replay, settle, table_of
from tests.support.pipeline import agent, batches, each, emit, here, running, table


async def test_later_records_of_the_key_wait_and_others_go_on() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", key=b"a")
        bench.broker.feed("in", 0, b"b1", key=b"b")
        bench.broker.feed("in", 0, b"a3", key=b"a")
        await bench.caught_up()
        assert outputs(bench.broker) == [b"b1"]
        (letter,) = letters(bench.broker)
        assert (letter.id, letter.order) == ("in/0/0@agent", "held")
        blocked = held(bench.changelog(HELD))[b"a"]
        assert (blocked.head, blocked.offsets, blocked.settled) == (letter.id, [1, 3], False)
        assert bench.changelog(HELD) == bench.store(HELD)


async def test_a_discarded_head_lets_them_go_in_order_and_frees_the_key() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        await bench.caught_up()
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: bench.changelog(HELD) == {})
        assert outputs(bench.broker) == [b"a2", b"a3"]
        bench.broker.feed("in", 0, b"a4", key=b"a")
        await bench.caught_up()
        assert outputs(bench.broker) == [b"a2", b"a3", b"a4"]


async def test_a_record_that_waited_leaves_the_offset_where_it_is() -> None:
    poison = Poison({b"a1"}, stalls_at=b"b4")
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        await bench.caught_up()
        bench.engine.admission.close_gate("test")
        bench.broker.feed("in", 0, b"b3", b"b4", key=b"b")
        await bench.until(lambda: bench.engine.group.crowded(Partition("in", 0)) == 2)
        settle(bench, "in/0/0@agent")
        bench.engine.admission.open_gate("test")
        await bench.until(lambda: outputs(bench.broker) == [b"b3", b"a2"])
        assert bench.broker.committed("in", 0) == 4
        await bench.engine.stop(finish=False)


async def test_a_head_without_followers_frees_its_key_at_once() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", key=b"a")
        await bench.caught_up()
        assert bench.changelog(HELD) != {}
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: bench.changelog(HELD) == {})


async def test_a_replayed_head_that_succeeds_frees_the_key_by_itself() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        await bench.caught_up()
        poison.values.clear()
        replay(bench.broker, "in/0/0@agent", b"a1", b"a")
        bench.broker.feed("in", 0, b"a4", key=b"a")
        await bench.until(lambda: bench.changelog(HELD) == {})
        assert outputs(bench.broker) == [b"a1", b"a2", b"a3", b"a4"]


async def test_a_replayed_head_without_followers_frees_the_key_in_its_own_unit() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", key=b"a")
        await bench.caught_up()
        poison.values.clear()
        replay(bench.broker, "in/0/0@agent", b"a1", b"a")
        await bench.caught_up()
        assert bench.changelog(HELD) == {}
        assert outputs(bench.broker) == [b"a1"]


async def test_a_replayed_head_that_fails_again_keeps_its_id_and_the_others_wait_on() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", key=b"a")
        await bench.caught_up()
        replay(bench.broker, "in/0/0@agent", b"a1", b"a")
        await bench.caught_up()
        assert [(letter.id, letter.order) for letter in letters(bench.broker)] == [("in/0/0@agent", "held")] * 2
        assert held(bench.changelog(HELD))[b"a"].offsets == [1]
        assert outputs(bench.broker) == []


async def test_a_replay_of_another_letter_waits_like_any_record() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", key=b"a")
        replay(bench.broker, "in/0/77@agent", b"a0", b"a")
        await bench.caught_up()
        assert held(bench.changelog(HELD))[b"a"].offsets == [1]


async def test_one_that_waited_and_fails_is_the_new_head_and_the_rest_waits_on() -> None:
    poison = Poison({b"a1", b"a3"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", b"a4", key=b"a")
        await bench.caught_up()
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: len(letters(bench.broker)) == 2)
        assert outputs(bench.broker) == [b"a2"]
        second = letters(bench.broker)[1]
        assert (second.id, second.order) == ("in/0/2@agent", "held")
        await bench.until(lambda: held(bench.changelog(HELD))[b"a"].offsets == [3])
        assert held(bench.changelog(HELD))[b"a"].head == second.id
        settle(bench, second.id)
        await bench.until(lambda: bench.changelog(HELD) == {})
        assert outputs(bench.broker) == [b"a2", b"a4"]


async def test_a_record_without_a_key_is_skipped() -> None:
    poison = Poison({b"x"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"x", b"y")
        await bench.caught_up()
        assert outputs(bench.broker) == [b"y"]
        assert [letter.order for letter in letters(bench.broker)] == ["skipped"]
        assert bench.changelog(HELD) == {}


async def test_an_undecodable_record_blocks_its_key_too() -> None:
    poison = Poison()
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"!", b"a2", key=b"a")
        await bench.caught_up()
        assert held(bench.changelog(HELD))[b"a"].offsets == [1]
        assert poison.seen == []


async def test_what_waited_is_seen_and_sent_on_as_it_was_read() -> None:
    poison = Poison({b"a1"})
    told: list[tuple[object, ...]] = []

    async def body(value: bytes) -> None:
        await poison(value)
        record = here().record
        told.append((str(record.topic()), record.partition(), record.offset(), record.key(), record.value(), record.timestamp()))

    spec = blocking(body)
    headers: list[tuple[str, bytes | None]] = [("h", b"\xff"), ("h", None), ("", b"")]
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", key=b"a")
        bench.broker.feed("in", 0, b"\xfe\x00", key=b"a", timestamp=1234, headers=headers)
        await bench.caught_up()
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: bench.changelog(HELD) == {})
        assert told == [("in", 0, 1, b"a", b"\xfe\x00", (1, 1234))]
        sent = [record for transaction in bench.broker.transactions for record in transaction.records if record[0] == "out"]
        assert sent == [("out", b"\xfe\x00", b"a", 0, 1234, headers)]


async def test_another_worker_reads_what_is_blocked_and_asks_what_became_of_the_heads() -> None:
    poison = Poison({b"a1", b"b1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", key=b"a")
        bench.broker.feed("in", 0, b"b1", b"b2", key=b"b")
        await bench.caught_up()
        broker = bench.broker
    async with running(spec, tables=[table_of(spec)], broker=broker, settled=False) as bench:
        bench.resolved.add("in/0/0@agent")
        broker.feed("in", 0, b"a3", key=b"a")
        broker.feed("in", 0, b"b3", key=b"b")
        await bench.until(lambda: outputs(broker) == [b"a2", b"a3"])
        await bench.until(lambda: list(held(bench.changelog(HELD))) == [b"b"])
        assert held(bench.changelog(HELD))[b"b"].offsets == [3, 5]


async def test_a_drain_that_was_cut_short_goes_on_with_another_worker_without_asking() -> None:
    poison = Poison({b"a1"}, stalls_at=b"a20")
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", *(b"a%d" % number for number in range(2, 60)), key=b"a")
        await bench.caught_up()
        broker = bench.broker
        poison.values.clear()
        replay(broker, "in/0/0@agent", b"a1", b"a")
        await bench.until(lambda: outputs(broker)[-1:] == [b"a19"])
        await bench.engine.stop(finish=False)
        poison.stalls_at = None
    async with running(spec, tables=[table_of(spec)], broker=broker) as bench:
        await bench.until(lambda: bench.changelog(HELD) == {})
        assert outputs(broker) == [b"a%d" % number for number in range(1, 60)]


async def test_a_disk_that_cannot_be_read_costs_nothing_that_waits() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", b"a3", key=b"a")
        await bench.caught_up()
        (partition,) = bench.engine.table_partitions(HELD)
        await bench.until(lambda: bench.store(HELD) == bench.changelog(HELD) and not partition.committing)
        bench.broker.fail("get", OSError("unreadable"))
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: bench.changelog(HELD) == {})
        assert bench.engine.counters()["aborts"] == 1
        assert outputs(bench.broker) == [b"a2", b"a3"]


async def test_a_drain_takes_turns_with_live_records() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison)
    waiting = [b"a%d" % number for number in range(2, 100)]
    live = [b"b%d" % number for number in range(100)]
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", *waiting, key=b"a")
        await bench.caught_up()
        del poison.seen[:]
        bench.engine.admission.close_gate("test")
        bench.broker.feed("in", 0, *live, key=b"b")
        await bench.until(lambda: bench.engine.group.crowded(Partition("in", 0)) >= 100)
        settle(bench, "in/0/0@agent")
        bench.engine.admission.open_gate("test")
        await bench.until(lambda: bench.changelog(HELD) == {})
        await bench.caught_up()
        assert outputs(bench.broker, lambda value: value.startswith(b"a")) == waiting
        assert outputs(bench.broker, lambda value: value.startswith(b"b")) == live
        for upto in range(2, 99):
            assert abs(sum(value.startswith(b"a") for value in poison.seen[: 2 * upto]) - upto) <= 2


async def test_a_batch_with_a_failing_record_holds_what_follows_of_its_key() -> None:
    batch_sizes: list[int] = []

    async def body(values: list[bytes]) -> None:
        batch_sizes.append(len(values))
        for value in values:
            if value == b"a1":
                raise ValueError
            emit(value)

    for first in (b"a1", b"!"):
        spec = agent(batches(10, body), on_error="block_key")
        async with running(spec, tables=[table_of(spec)]) as bench:
            bench.source.frozen = True
            bench.broker.feed("in", 0, b"b1", key=b"b")
            bench.broker.feed("in", 0, first, b"a2", key=b"a")
            bench.broker.feed("in", 0, b"b2", key=b"b")
            bench.source.frozen = False
            await bench.caught_up()
            assert outputs(bench.broker) == [b"b1", b"b2"]
            assert held(bench.changelog(HELD))[b"a"].offsets == [2]
            bench.source.frozen = True
            bench.broker.feed("in", 0, b"b3", key=b"b")
            bench.broker.feed("in", 0, b"a3", key=b"a")
            bench.source.frozen = False
            await bench.caught_up()
            settle(bench, "in/0/1@agent")
            await bench.until(lambda: bench.changelog(HELD) == {})
            assert outputs(bench.broker) == [b"b1", b"b2", b"b3", b"a2", b"a3"]
            del batch_sizes[:]
            bench.source.frozen = True
            bench.broker.feed("in", 0, b"a4", b"a5", key=b"a")
            bench.source.frozen = False
            await bench.caught_up()
            assert batch_sizes == [2]


async def test_two_agents_of_a_topic_hold_each_for_itself() -> None:
    poisons = [Poison({b"a1"}), Poison({b"b1"})]
    specs = [blocking(poison, name=name) for poison, name in zip(poisons, ("first", "second"), strict=True)]
    async with running(*specs, tables=[table_of(spec) for spec in specs]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", key=b"a")
        bench.broker.feed("in", 0, b"b1", b"b2", key=b"b")
        bench.broker.feed("in", 0, b"a3", key=b"a")
        await bench.caught_up()
        assert [set(held(bench.changelog(f"{spec.name}-dlq-held"))) for spec in specs] == [{b"a"}, {b"b"}]
        assert poisons[0].seen == [b"a1", b"b1", b"b2"]
        assert poisons[1].seen == [b"a1", b"a2", b"b1", b"a3"]
        settle(bench, "in/0/0@first", "in/0/2@second")
        bench.broker.feed("in", 0, b"a4", key=b"a")
        bench.broker.feed("in", 0, b"b3", key=b"b")
        await bench.until(lambda: not any(bench.changelog(f"{spec.name}-dlq-held") for spec in specs))
        await bench.caught_up()
        for poison in poisons:
            for key in (b"a", b"b"):
                mine = [value for value in poison.seen if value.startswith(key)]
                assert mine == sorted(mine)
        assert sorted(poisons[0].seen) == sorted(poisons[1].seen) == [b"a1", b"a2", b"a3", b"a4", b"b1", b"b2", b"b3"]


async def test_behind_another_agent_a_drain_takes_turns_and_a_retry_keeps_the_line() -> None:
    poison = Poison({b"a1"})
    failed: list[bytes] = []

    async def count(value: bytes) -> None:
        totals = bench.engine.table("totals")
        totals.put(b"n", b"%d" % (int(totals.get(b"n") or b"0") + 1))
        if value == b"a9" and value not in failed:
            failed.append(value)
            raise ConnectionError
        await poison(value)

    specs = [agent(each(copy_to_nobody), name="first"), blocking(count, name="second")]
    waiting = [b"a%d" % number for number in range(2, 50)]
    live = [b"b%d" % number for number in range(50)]
    async with running(*specs, tables=[table(), table_of(specs[1])]) as bench:
        bench.broker.feed("in", 0, b"a1", *waiting, key=b"a")
        await bench.caught_up()
        del poison.seen[:]
        bench.engine.admission.close_gate("test")
        bench.broker.feed("in", 0, *live, key=b"b")
        await bench.until(lambda: bench.engine.group.crowded(Partition("in", 0)) >= 50)
        bench.engine.admission.open_gate("test")
        bench.engine._wake_all()  # the first agent takes a record, and then the second has one that waited before it
        settle(bench, "in/0/0@second")
        await bench.until(lambda: bench.changelog("second-dlq-held") == {})
        await bench.caught_up()
        assert sorted(poison.seen) == sorted([*waiting, *live])
        for upto in range(2, 48):
            assert abs(sum(value.startswith(b"a") for value in poison.seen[: 2 * upto]) - upto) <= 3
        assert bench.changelog() == {b"n": b"98"}, "an update was lost"


async def copy_to_nobody(value: bytes) -> None:
    """Take the value, and no more."""


async def test_agents_of_two_topics_that_share_a_line_hold_by_topic() -> None:
    poison = Poison({b"a1"})
    spec = blocking(poison, topics=("in", "other"))
    async with running(spec, tables=[table_of(spec)]) as bench:
        bench.broker.feed("in", 0, b"a1", b"a2", key=b"a")
        bench.broker.feed("other", 0, b"a7", key=b"a")
        await bench.caught_up()
        assert outputs(bench.broker) == [b"a7"]
        settle(bench, "in/0/0@agent")
        await bench.until(lambda: bench.changelog(HELD) == {})
        assert outputs(bench.broker) == [b"a7", b"a2"]
