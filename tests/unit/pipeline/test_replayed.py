"""A replayed record is answered in the unit of its own work: `resolved` beside its outputs, or `reopened` beside its next dead letter."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from streamapp.errors import CommitRefused, Permanent
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter import epoch_of, read_dead_letter
from streamapp.pipeline.resolution import Resolution
from streamapp.worker.dead_letters import current_epoch
from tests.support.pipeline import agent, batches, copy, each, emit, here, running, table
from tests.support.replays import STATUS, replayed, rows, told, units

ID = "in/0/7@agent"


async def fail(value: bytes) -> None:
    raise Permanent


async def test_a_replayed_record_that_succeeds_is_resolved_in_the_unit_of_its_output() -> None:
    async with running(agent(each(copy))) as bench:
        bench.broker.feed("in", 0, b"x", headers=replayed(ID, count=2))
        await bench.caught_up()
        assert told(bench) == [(ID, "resolved", "processed", 2)]
        [(outputs, [entry])] = units(bench)
        assert outputs == [("out", b"x")]
        assert isinstance(entry.row, Resolution)
        assert (entry.row.by, entry.row.job) == ("w1", None)
        assert entry.row.at.tzinfo is not None
        assert abs(entry.row.at.timestamp() - datetime.now().astimezone().timestamp()) < 60


async def test_one_that_fails_for_good_is_buried_under_its_id_and_reopened_in_the_same_unit() -> None:
    async with running(agent(each(fail))) as bench:
        bench.broker.feed("in", 0, b"x", headers=replayed(ID, count=3))
        await bench.caught_up()
        assert told(bench) == [(ID, "reopened", None, 3)]
        [(outputs, _)] = units(bench)
        assert outputs == [("dlq", b"x")]
        [record] = [record for record in bench.broker.transactions[-1].records if record[0] == "dlq"]
        letter = read_dead_letter(record[5])
        assert letter is not None
        assert (letter.id, letter.replay_count, str(letter.source)) == (ID, 3, "in/0/7")


async def test_the_answer_names_the_job_that_replayed() -> None:
    for body, status in ((copy, "resolved"), (fail, "reopened")):
        async with running(agent(each(body))) as bench:
            bench.broker.feed("in", 0, b"x", headers=replayed(ID, job="7f3a"))
            await bench.caught_up()
            [row] = [entry.row for entry in rows(bench) if isinstance(entry.row, Resolution)]
            assert (str(row.status), row.job) == (status, "7f3a")


async def test_an_attempt_that_failed_says_nothing_the_one_that_succeeds_does() -> None:
    calls = 0

    async def wobble(value: bytes) -> None:
        nonlocal calls
        calls += 1
        emit(value)
        if calls == 1:
            raise ConnectionError

    async with running(agent(each(wobble))) as bench:
        bench.broker.feed("in", 0, b"x", headers=replayed(ID))
        await bench.caught_up()
        assert calls == 2
        assert told(bench) == [(ID, "resolved", "processed", 1)]


async def test_a_unit_that_is_dropped_takes_the_row_with_it() -> None:
    async with running(agent(each(copy)), isolate_after=0) as bench:  # else the fault may hit the unit that counts the start
        bench.broker.fail("send_offsets", CommitRefused())
        bench.broker.feed("in", 0, b"x", headers=replayed(ID))
        await bench.caught_up()
        aborted = [each for each in bench.broker.transactions if not each.committed]
        assert [record[0] for unit in aborted for record in unit.records] == ["out", STATUS]
        assert told(bench) == [(ID, "resolved", "processed", 1)]
        assert bench.broker.values("out") == [b"x"]


async def test_what_dedupe_drops_was_already_processed() -> None:
    async with running(agent(each(copy), dedupe="marks"), tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"x")
        bench.broker.feed("in", 0, b"x", headers=replayed(ID))
        await bench.caught_up()
        assert bench.broker.values("out") == [b"x"]
        assert told(bench) == [(ID, "resolved", "already-processed", 1)]


async def test_a_handler_may_say_what_came_of_it() -> None:
    async def known(value: bytes) -> None:
        here().outcome = "already-processed"

    async with running(agent(each(known))) as bench:
        bench.broker.feed("in", 0, b"x", headers=replayed(ID))
        bench.broker.feed("in", 0, b"y")
        await bench.caught_up()
        assert told(bench) == [(ID, "resolved", "already-processed", 1)]


async def test_of_a_batch_each_replayed_record_is_answered_for_itself() -> None:
    async def send(values: list[bytes]) -> None:
        for value in values:
            emit(value)

    several = agent(batches(5, send, within=None), dedupe="marks")
    async with running(several, tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"a", headers=replayed("in/0/1@agent"))
        bench.broker.feed("in", 0, b"b")
        bench.broker.feed("in", 0, b"b", headers=replayed("in/0/2@agent"))
        bench.broker.feed("in", 0, b"!", headers=replayed("in/0/3@agent"))
        bench.broker.feed("in", 0, b"c", headers=replayed("in/0/4@agent"))
        bench.broker.feed("in", 0, b"d", b"e")
        await bench.caught_up()
        assert bench.broker.values("out") == [b"a", b"b", b"c", b"d", b"e"]
        assert sorted(told(bench)) == [
            ("in/0/1@agent", "resolved", "processed", 1),
            ("in/0/2@agent", "resolved", "already-processed", 1),
            ("in/0/3@agent", "reopened", None, 1),
            ("in/0/4@agent", "resolved", "processed", 1),
        ]


async def test_of_two_agents_only_the_one_that_had_failed_answers() -> None:
    one = agent(each(copy), name="one")
    two = agent(each(fail), name="two")
    async with running(one, two) as bench:
        bench.broker.feed("in", 0, b"x", headers=replayed("in/0/7@one"))
        await bench.caught_up()
        assert told(bench) == [("in/0/7@one", "resolved", "processed", 1)]
        [letter] = [read_dead_letter(record[5]) for record in bench.broker.transactions[-1].records if record[0] == "dlq"]
        assert letter is not None
        assert letter.id == "in/0/0@two", "the other's failure is news"


async def test_records_that_are_no_replay_of_ours_are_not_answered() -> None:
    letters = replace(agent(each(copy), name="triage", topics=("letters",)), dlq=None, on_error="stop")
    async with running(agent(each(copy)), letters) as bench:
        bench.broker.feed("in", 0, b"a", headers=[("user", b"own")])
        bench.broker.feed("in", 0, b"b", headers=replayed("in/0/7@somebody-else"))
        bench.broker.feed("in", 0, b"c", headers=replayed("no id"))
        bench.broker.feed("in", 0, b"d", headers=[("streamapp.dlq.replay-of", None)])
        bench.broker.feed("letters", 0, b"e", headers=replayed("in/0/7@triage"))
        await bench.caught_up()
        assert sorted(value or b"" for value in bench.broker.values("out")) == [b"a", b"b", b"c", b"d", b"e"]
        assert rows(bench) == []


async def test_a_replay_that_is_to_be_processed_again_passes_dedupe_once_per_epoch_where_its_key_has_it() -> None:
    def once(value: object) -> bytes:
        assert isinstance(value, bytes)
        epoch = current_epoch()
        return value if epoch is None else b"%s again %s" % (value, epoch.encode())

    spec = agent(each(copy), dedupe="marks")
    assert spec.dedupe is not None
    spec = replace(spec, dedupe=replace(spec.dedupe, key=once))
    async with running(spec, tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"x", b"x")
        for epoch in ("1", "1", None, "2"):
            bench.broker.feed("in", 0, b"x", headers=replayed(ID, epoch=epoch))
        await bench.caught_up()
        assert bench.broker.values("out") == [b"x", b"x", b"x"]
        assert [outcome for _, _, outcome, _ in told(bench)] == [
            "processed",
            "already-processed",
            "already-processed",
            "processed",
        ]


async def test_a_dedupe_key_is_made_with_the_records_own_value_in_hand() -> None:
    seen: list[tuple[object, object]] = []
    cursors = []

    async def run(cursor: Cursor) -> None:
        cursors.append(cursor)
        while True:
            await anext(cursor)

    def key(value: object) -> object:
        seen.append((value, cursors[-1].value))
        return value

    spec = agent(run, dedupe="marks")
    assert spec.dedupe is not None
    spec = replace(spec, dedupe=replace(spec.dedupe, key=key))
    async with running(spec, tables=[table("marks", horizon=3600.0)]) as bench:
        bench.broker.feed("in", 0, b"a", b"b")
        await bench.caught_up()
        assert seen == [(b"a", b"a"), (b"b", b"b")]


async def test_the_users_headers_travel_on_and_those_of_the_replay_do_not_though_a_handler_sees_its_epoch() -> None:
    epochs = []

    async def send_on(value: bytes) -> None:
        epochs.append(epoch_of(here().record.headers()))
        here().send_on("out", value, None)

    async with running(agent(each(send_on))) as bench:
        bench.broker.feed("in", 0, b"x", headers=replayed(ID, epoch="7f3a"))
        bench.broker.feed("in", 0, b"y")
        await bench.caught_up()
        assert epochs == ["7f3a", None]
        sent = [record[5] for unit in bench.broker.transactions for record in unit.records if record[0] == "out"]
        assert sent == [[("user", b"own")], []]
