"""A replay job sends each letter once, with its row, through deaths, lost answers and rivals; and it ends as it should.

On the Kafka in memory: the same job on a broker is in tests/integration/dead_letter/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from streamapp import faults
from streamapp.dlq.candidate import Candidate
from streamapp.dlq.copies import Target
from streamapp.dlq.guards import GuardRefused, Owner
from streamapp.dlq.job import Ended, Pace
from streamapp.dlq.sender import Superseded
from streamapp.errors import CommitRefused, DeliveryFailed, OutcomeUnknown, ProducerFenced
from streamapp.faults import FaultPoint
from streamapp.pipeline.resolution import JobState, Resolution, Status
from streamapp.records import Outgoing, Partition
from streamapp.testing.memory_kafka import Call, Fault, ProcessDied, Refused
from tests.support.replay_jobs import DLQ, Replays, letter

LETTERS = [letter(offset, b"k%d" % offset, partition=offset % 2) for offset in range(250)]
IDS = sorted(each.id for each in LETTERS)


def statuses(replays: Replays, letters: Sequence[Candidate] = LETTERS) -> set[Status]:
    return {each.status for each in replays.again(letters)}


def test_all_are_sent_once_and_resolved() -> None:
    replays = Replays()
    result = replays.run(LETTERS)
    assert (result.ended, result.sent, result.resolved) == (Ended.DONE, 250, 250)
    assert sorted(replays.copies()) == IDS
    job = replays.rows.job("7f3a")
    assert job is not None and (job.state, job.sent, job.resolved) == (JobState.FINISHED, 250, 250)
    assert replays.rows.lock(DLQ) is None


def test_the_order_of_a_partition_is_that_of_the_letters() -> None:
    replays = Replays()
    replays.run(LETTERS)
    assert replays.copies(partition=0) == [each.id for each in LETTERS if each.source.number == 0]


def test_a_copy_and_its_row_are_seen_together() -> None:
    replays = Replays(verdict=lambda _: None)
    job = replays.job(LETTERS)
    seen: list[tuple[int, int]] = []
    job._log._reader.meanwhile = lambda: seen.append(  # type: ignore[attr-defined]  # the rig's
        (len(replays.copies()), sum(each.status is Status.REPLAYING for each in replays.again(LETTERS)))
    )
    assert job.run().ended is Ended.UNANSWERED
    assert {100, 200, 250} <= {copies for copies, _ in seen}
    assert all(copies == rows for copies, rows in seen)


@pytest.mark.parametrize("call", [Call.COMMIT, Call.FLUSH])
@pytest.mark.parametrize("is_done", [False, True])
def test_a_job_that_dies_is_gone_on_with_and_sends_none_twice(call: Call, is_done: bool) -> None:
    replays = Replays()
    # The lock's transaction, then the first batch's; in the second it dies.
    replays.host().fail(call, Fault(), Fault(), Fault(dies=True, is_done=is_done))
    with pytest.raises(ProcessDied):
        replays.run(LETTERS)
    replays.clock.now += 60
    letters = replays.again(LETTERS)
    left = [each for each in letters if each.status is Status.OPEN]
    earlier = [each for each in letters if each.status is Status.REPLAYING]
    assert len(left) == (50 if call is Call.COMMIT and is_done else 150)
    replays.hosts.clear()
    result = replays.run(left, earlier=earlier)
    assert result.ended is Ended.DONE
    assert sorted(replays.copies()) == IDS
    assert statuses(replays) == {Status.RESOLVED}


@pytest.mark.parametrize("is_done", [False, True])
def test_a_commit_without_an_answer_is_looked_up_and_not_guessed(is_done: bool) -> None:
    replays = Replays()
    replays.host().fail(Call.COMMIT, Fault(), Fault(error=OutcomeUnknown(), is_done=is_done))
    assert replays.run(LETTERS).sent == 250
    assert sorted(replays.copies()) == IDS


@pytest.mark.parametrize("error", [CommitRefused(), ProducerFenced(), DeliveryFailed()])
def test_a_transaction_that_fails_is_sent_again_by_a_new_producer(error: Exception) -> None:
    replays = Replays()
    replays.host().fail(Call.FLUSH, Fault(), Fault(error=error))
    assert replays.run(LETTERS).sent == 250
    assert sorted(replays.copies()) == IDS


def test_a_late_request_meets_a_new_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    replays = Replays()
    replays.host().fail(Call.COMMIT, Fault(), Fault(is_late=True))
    refused: list[Refused] = []

    def arrives(point: FaultPoint) -> None:
        if point is FaultPoint.REPLAY_BEFORE_COMMIT and replays.host().strays and len(replays.copies()) == 100:
            try:
                replays.host().strays.pop()()
            except Refused as told:
                refused.append(told)

    monkeypatch.setattr(faults, "hook", arrives)
    assert replays.run(LETTERS).sent == 250
    assert len(refused) == 1  # it would have ended the next transaction before its time
    assert sorted(replays.copies()) == IDS


# --- one job per topic


def test_a_live_jobs_lock_refuses_before_it_is_fenced() -> None:
    replays = Replays()
    replays.lock("eva@elsewhere/9", age=59)
    replays.host().fail(Call.INIT, Fault())  # so that it is seen
    with pytest.raises(GuardRefused, match="eva@elsewhere/9"):
        replays.run(LETTERS)
    assert replays.copies() == []
    assert Call.INIT not in replays.host().struck  # it would have fenced the other


def test_a_job_that_slept_past_its_lock_is_fenced_and_stops() -> None:
    replays = Replays()
    sleeper = replays.job(LETTERS, pace=Pace(rate=100))
    rows = sleeper._log._reader
    second: list[int] = []

    def while_it_sleeps() -> None:
        if not second and len(replays.copies()) == 100:
            replays.clock.now += 61
            second.append(1)
            letters = replays.again(LETTERS)
            left = [each for each in letters if each.status is Status.OPEN]
            second.append(replays.run(left, "beef", operator="eva").sent)

    rows.meanwhile = while_it_sleeps  # type: ignore[attr-defined]  # the rig's
    with pytest.raises(Superseded):
        sleeper.run()
    assert second == [1, 150]
    assert sorted(replays.copies()) == IDS
    beef = replays.rows.job("beef")
    assert beef is not None and beef.state is JobState.FINISHED


def test_of_two_that_begin_at_once_one_goes_on() -> None:
    replays = Replays()
    first, second = replays.job(LETTERS), replays.job(LETTERS, "beef", operator="eva")
    taken = first._sender.open

    def then_the_other() -> None:
        taken()
        first._sender.open = taken  # type: ignore[method-assign]
        assert second.run().sent == 250

    first._sender.open = then_the_other  # type: ignore[method-assign]
    with pytest.raises(Superseded):
        first.run()
    assert sorted(replays.copies()) == IDS


def test_the_lock_beats_while_a_job_waits() -> None:
    replays = Replays(verdict=lambda _: None)
    job = replays.job(LETTERS[:1])
    ages: list[float] = []

    def look() -> None:
        lock = replays.rows.lock(DLQ)
        assert lock is not None and Owner.read(lock.owner) == Owner("ops", "opss-machine", 1)
        ages.append(replays.clock.wall() - lock.beat.timestamp())

    job._log._reader.meanwhile = look  # type: ignore[attr-defined]  # the rig's
    job.run()
    assert 9 < max(ages) < 11


# --- pace and end


def test_the_pace_is_kept() -> None:
    replays = Replays()
    began = replays.clock.now
    replays.run(LETTERS, pace=Pace(rate=50, wait=False))
    assert replays.clock.now - began == pytest.approx(4.0, abs=0.3)


def test_as_many_as_were_allowed_fail_again_and_the_rest_stays() -> None:
    replays = Replays(verdict=lambda _: Status.REOPENED)
    result = replays.run(LETTERS, pace=Pace(rate=1, stop_after=5))
    assert (result.ended, len(result.reopened)) == (Ended.REOPENED, 5)
    assert result.sent == len(replays.copies()) <= 7
    job = replays.rows.job("7f3a")
    assert job is not None and (job.state, job.reason) == (JobState.STOPPED, "reopened")


def test_sixty_seconds_without_an_answer_end_it_and_name_the_partitions() -> None:
    replays = Replays(verdict=lambda which: None if which.startswith("orders/1/") else Status.RESOLVED)
    began = replays.clock.now
    result = replays.run(LETTERS[:4])
    assert (result.ended, result.resolved) == (Ended.UNANSWERED, 2)
    assert result.unanswered == [LETTERS[1].id, LETTERS[3].id]
    assert result.silent == [Partition("orders", 1)]
    assert 60 <= replays.clock.now - began < 62


def test_without_waiting_the_rows_say_that_it_is_under_way() -> None:
    replays = Replays(verdict=lambda _: None)
    assert replays.run(LETTERS, pace=Pace(rate=None, wait=False)).ended is Ended.DONE
    assert statuses(replays) == {Status.REPLAYING}


def test_an_answer_to_an_earlier_copy_is_none_to_this_one() -> None:
    replays = Replays(verdict=lambda _: None)
    job = replays.job([letter(0)])
    send = job._sender.send

    def behind_an_answer(records: Sequence[Outgoing], *, arrived: Callable[[], bool]) -> None:
        if len(records) > 2 and not replays.copies():  # read only behind our own row
            replays.write(letter(0).id, Resolution(status=Status.REOPENED, at=datetime(2026, 1, 1, tzinfo=UTC), by="w-1"))
        send(records, arrived=arrived)

    job._sender.send = behind_an_answer  # type: ignore[method-assign]
    result = job.run()
    assert (result.ended, result.reopened) == (Ended.UNANSWERED, [])


def test_an_answer_that_came_before_a_resumed_job_began_is_one() -> None:
    replays = Replays(verdict=lambda _: None)
    replays.run(LETTERS[:2], pace=Pace(rate=None, wait=False))
    earlier = replays.again(LETTERS[:2])
    for each, status in zip(earlier, (Status.RESOLVED, Status.REOPENED), strict=True):
        replays.write(each.id, Resolution(status=status, at=datetime(2026, 1, 1, tzinfo=UTC), by="w-1"))
    result = replays.run([], earlier=earlier)
    assert (result.ended, result.resolved, result.reopened) == (Ended.DONE, 1, [earlier[1].id])


def test_the_time_without_an_answer_counts_from_the_first_copy_that_has_none() -> None:
    asked: set[str] = set()

    def at_the_second_look(which: str) -> Status | None:
        is_first = which not in asked
        asked.add(which)
        return None if is_first else Status.RESOLVED

    result = Replays(verdict=at_the_second_look).run(LETTERS[:3], pace=Pace(rate=1 / 200))
    assert (result.ended, result.resolved) == (Ended.DONE, 3)


def test_copies_to_another_topic_are_resolved_at_once() -> None:
    replays = Replays()
    result = replays.run(LETTERS, target=Target("elsewhere", 1))
    assert (result.sent, result.resolved) == (250, 250)
    assert sorted(replays.copies("elsewhere")) == IDS and replays.copies() == []
    row = replays.rows.resolution(IDS[0])
    assert row is not None and (row.status, row.outcome) == (Status.RESOLVED, "copied")


def test_parked_and_superseded_ones_get_their_rows_and_no_copy() -> None:
    replays = Replays()
    result = replays.run([LETTERS[0]], parked=[letter(901, replays=3)], superseded=[letter(902)])
    assert (result.sent, result.parked, result.superseded) == (1, 1, 1)
    assert replays.copies() == [LETTERS[0].id]
    rows = [replays.rows.resolution(letter(offset).id) for offset in (901, 902)]
    assert [(row.status, row.outcome, row.replays) for row in rows if row] == [
        (Status.PARKED, None, 3),
        (Status.DISCARDED, "superseded", 0),
    ]


def test_what_somebody_settled_meanwhile_is_not_sent() -> None:
    replays = Replays()
    replays.write(LETTERS[3].id, Resolution(status=Status.DISCARDED, at=datetime(2026, 1, 1, tzinfo=UTC), by="eva"))
    result = replays.run(LETTERS)
    assert result.overtaken == [LETTERS[3].id]
    assert sorted([*replays.copies(), LETTERS[3].id]) == IDS


def test_a_copy_that_its_topic_refuses_is_named_and_the_others_are_sent() -> None:
    replays = Replays()
    replays.kafka.create_topic("small", 1, {"max.message.bytes": "2000"})
    letters = [*LETTERS[:5], letter(900, value=b"x" * 3000), *LETTERS[5:9]]
    result = replays.run(letters, target=Target("small", 1))
    assert list(result.refused) == [letter(900).id]
    assert len(replays.copies("small")) == result.sent == 9
    assert replays.rows.resolution(letter(900).id) is None


def test_interrupted_it_says_so_in_its_row_and_gives_the_lock_back() -> None:
    replays = Replays(verdict=lambda _: None)
    job = replays.job(LETTERS)

    def ctrl_c() -> None:
        if len(replays.copies()) >= 200:
            raise KeyboardInterrupt

    job._log._reader.meanwhile = ctrl_c  # type: ignore[attr-defined]  # the rig's
    assert job.run().ended is Ended.INTERRUPTED
    row = replays.rows.job("7f3a")
    assert row is not None and (row.state, row.reason) == (JobState.STOPPED, "interrupted")
    assert replays.rows.lock(DLQ) is None
    assert replays.kafka.open_transactions() == []
