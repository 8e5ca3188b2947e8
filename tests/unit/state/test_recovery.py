"""The restore's decisions and the thread's contract, on a changelog made of lists."""

from __future__ import annotations

import errno
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, ChangelogTooNew, InvariantBroken, StateUnusable, StoreCorrupted
from streamapp.ports import ChangelogBatch, ChangelogBounds
from streamapp.records import Partition
from streamapp.state import recovery
from streamapp.state.memory import MemoryStore
from streamapp.state.recovery import Restorer
from streamapp.state.restore import Restore, RestoreOutcome, RestoreProgress, RestoreState, RestoreTask
from streamapp.state.stores import Opened

P0, P1 = Partition("shop-totals-changelog", 0), Partition("shop-totals-changelog", 1)
NOON = 1_700_000_000.0
DAY = 86_400.0


class TurnedClock:
    """Wall time stands where a test puts it; monotonic time runs, so that waits end."""

    def __init__(self) -> None:
        self.now = NOON

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return self.now


@dataclass
class Log:
    """One changelog partition: records are (key, value), or None for a marker or an aborted record."""

    records: list[tuple[bytes, bytes | None] | None] = field(default_factory=list)
    start: int = 0
    stable: int | None = None
    """The last stable offset, where an open transaction holds it below the end."""

    @property
    def visible(self) -> int:
        return len(self.records) if self.stable is None else self.stable


class ListReader:
    """A ChangelogReader on lists. The test changes them while it reads."""

    def __init__(self, logs: Mapping[Partition, Log], *, batch: int = 3) -> None:
        self.logs = logs
        self.batch = batch
        self.positions: dict[Partition, int] = {}
        self.at_end: set[Partition] = set()
        self.opened: list[tuple[Partition, int]] = []
        self.failures: list[BrokerUnreachable] = []
        self.closed = False
        self.newer: dict[Partition, int] = {}
        """The format that a partition's records name."""
        self.starved: set[Partition] = set()
        """Partitions of which nothing comes."""
        self.slow = 0.0
        """Seconds that each read takes."""
        self.gate = threading.Event()
        self.gate.set()
        self.read_once = threading.Event()

    def bounds(self, partition: Partition, timeout: float) -> ChangelogBounds:
        if self.failures:
            raise self.failures.pop()
        return ChangelogBounds(self.logs[partition].start, len(self.logs[partition].records))

    def open(self, partition: Partition, offset: int) -> None:
        self.opened.append((partition, offset))
        self.positions[partition] = offset
        self.at_end.discard(partition)

    def shut(self, partition: Partition) -> None:
        self.positions.pop(partition, None)

    def read(self, timeout: float) -> dict[Partition, ChangelogBatch]:
        self.gate.wait(timeout)
        if not self.gate.is_set():
            return {}
        if self.slow:
            threading.Event().wait(self.slow)
        batches = {partition: self._read(partition) for partition in list(self.positions)}
        self.read_once.set()
        found = {partition: batch for partition, batch in batches.items() if batch is not None}
        if not found:
            threading.Event().wait(0.001)
        return found

    def _read(self, partition: Partition) -> ChangelogBatch | None:
        if partition in self.starved:
            return None
        log, position = self.logs[partition], self.positions[partition]
        if position < log.start or position > len(log.records):
            return ChangelogBatch({}, 0, -1, at_end=False, truncated=True)
        page = log.records[position : min(position + self.batch, log.visible)]
        self.positions[partition] = position + len(page)
        at_end = self.positions[partition] == log.visible
        if not page and partition in self.at_end:
            return None
        self.at_end = self.at_end | {partition} if at_end else self.at_end - {partition}
        real = [record for record in page if record is not None]
        return ChangelogBatch(
            dict(real), len(real), self.positions[partition], at_end=at_end, truncated=False, format=self.newer.get(partition, 1)
        )

    def trouble(self) -> str | None:
        return None

    def close(self) -> None:
        self.closed = True


class Bench:
    """A restorer over lists, its stores, and what it told."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.logs = {P0: Log(), P1: Log()}
        self.reader = ListReader(self.logs)
        self.made = 0
        self.stores = {P0: MemoryStore(clock=self.clock), P1: MemoryStore(clock=self.clock)}
        self.outcomes: queue.Queue[RestoreOutcome] = queue.Queue()
        self.restorer = Restorer(self.make_reader, clock=self.clock)

    def make_reader(self) -> ListReader:
        self.made += 1
        return self.reader

    def task(self, partition: Partition = P0, opens: Callable[[], Opened] | None = None) -> RestoreTask:
        store = self.stores[partition]
        return RestoreTask(changelog=partition, open=opens or (lambda: Opened(store, None)), delete_retention=DAY)

    def restore(self, partition: Partition = P0, opens: Callable[[], Opened] | None = None) -> RestoreTask:
        task = self.task(partition, opens)
        self.restorer.restore(task, self.outcomes.put)
        return task

    def outcome(self) -> RestoreOutcome:
        return self.outcomes.get(timeout=10)

    def until(self, what: Callable[[RestoreProgress], bool]) -> RestoreProgress:
        deadline = Deadline.after(10)
        while not deadline.passed:
            for progress in self.restorer.progress():
                if what(progress):
                    return progress
            threading.Event().wait(0.002)
        raise AssertionError(f"never came: {self.restorer.progress()}")

    def content(self, partition: Partition = P0) -> dict[bytes, bytes]:
        return dict(self.stores[partition].items())


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.restorer.start()
    yield bench
    bench.reader.gate.set()
    bench.restorer.stop()
    assert "restore" not in [thread.name for thread in threading.enumerate()]


def puts(count: int) -> list[tuple[bytes, bytes | None] | None]:
    return [(b"%03d" % number, b"v") for number in range(count)]


def test_an_empty_changelog_is_restored_at_once(bench: Bench) -> None:
    bench.restore()
    outcome = bench.outcome()
    assert (outcome.restored, outcome.wiped, outcome.changelog_offset, outcome.failure) == (0, None, 0, None)
    assert bench.reader.opened == []
    assert bench.stores[P0].current_at == NOON


def test_all_is_read_with_tombstones_and_markers(bench: Bench) -> None:
    bench.logs[P0].records = [*puts(10), (b"003", None), None, (b"004", b"new"), None]
    bench.restore()
    outcome = bench.outcome()
    assert (outcome.restored, outcome.changelog_offset) == (12, 14)
    assert bench.content() == {**{b"%03d" % n: b"v" for n in range(10) if n != 3}, b"004": b"new"}
    assert bench.stores[P0].changelog_offset == 14


def test_only_the_tail_is_read(bench: Bench) -> None:
    bench.logs[P0].records = puts(100)
    bench.stores[P0].apply(dict(record for record in puts(90) if record), 90)
    bench.restore()
    assert bench.outcome().restored == 10
    assert bench.reader.opened == [(P0, 90)]
    assert len(bench.content()) == 100


def test_an_open_transaction_is_waited_for_and_named(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REPORT_EVERY", 0.0)
    log = bench.logs[P0]
    log.records, log.stable = puts(10), 6
    with caplog.at_level(logging.WARNING):
        bench.restore()
        progress = bench.until(lambda progress: progress.state is RestoreState.WAITING)
        deadline = Deadline.after(10)
        while not caplog.records and not deadline.passed:
            threading.Event().wait(0.01)
    assert (progress.position, progress.target) == (6, 10)
    assert "waiting for an open transaction at offset 6 of 10, " in (progress.trouble or "")
    assert caplog.records[0].__dict__["event"] == "restore_waiting"
    assert "waiting for an open transaction at offset 6 of 10" in caplog.text
    assert bench.outcomes.empty()
    log.stable = None
    assert bench.outcome().changelog_offset == 10
    assert len(bench.content()) == 10


def test_the_end_is_the_high_watermark_of_the_beginning(bench: Bench) -> None:
    log = bench.logs[P0]
    log.records, log.stable = puts(10), 6
    bench.restore()
    bench.until(lambda progress: progress.state is RestoreState.WAITING)
    log.records = puts(50)
    log.stable = 10
    assert bench.outcome().changelog_offset == 10


@pytest.mark.parametrize(
    ("start", "offset", "reason"),
    [(50, 40, "before the changelog's start 50"), (0, 101, "beyond the changelog's end 100")],
)
def test_an_offset_outside_the_log_wipes(bench: Bench, start: int, offset: int, reason: str) -> None:
    log = bench.logs[P0]
    log.records, log.start = puts(100), start
    bench.stores[P0].apply({b"stale": b"1"}, offset)
    bench.restore()
    outcome = bench.outcome()
    assert reason in (outcome.wiped or "")
    assert outcome.restored == 100 - start
    assert b"stale" not in bench.content()


def test_an_offset_at_the_logs_start_is_no_truncation(bench: Bench) -> None:
    log = bench.logs[P0]
    log.records, log.start = puts(100), 40
    bench.stores[P0].apply({b"kept": b"1"}, 40)
    bench.restore()
    assert (bench.outcome().wiped, b"kept" in bench.content()) == (None, True)


@pytest.mark.parametrize(("age", "wiped"), [(DAY - 1, False), (DAY + 1, True), (-30, False), (-3_600, True)])
def test_a_store_older_than_the_tombstones_is_wiped(bench: Bench, age: float, wiped: bool) -> None:
    bench.logs[P0].records = puts(100)
    bench.stores[P0].apply({b"stale": b"1"}, 90, current_at=NOON - age)
    bench.restore()
    outcome = bench.outcome()
    assert (outcome.wiped is not None, outcome.restored) == (wiped, 100 if wiped else 10)
    assert bench.stores[P0].current_at == NOON


@pytest.mark.parametrize("tail", [0, 1])
def test_an_old_store_without_a_tail_is_kept(bench: Bench, tail: int) -> None:
    bench.logs[P0].records = [*puts(100), *[None] * tail]
    bench.stores[P0].apply({b"kept": b"1"}, 100, current_at=NOON - 9 * DAY)
    bench.restore()
    assert bench.outcome().wiped is None
    assert bench.stores[P0].current_at == NOON


def test_a_restore_cut_short_is_as_old_as_what_it_began_with(bench: Bench) -> None:
    log = bench.logs[P0]
    log.records, log.stable = puts(100), 50
    bench.stores[P0].apply({}, 10, current_at=NOON - DAY / 2)
    task = bench.restore()
    bench.until(lambda progress: progress.state is RestoreState.WAITING)
    assert bench.restorer.cancel(task)
    assert (bench.stores[P0].changelog_offset, bench.stores[P0].current_at) == (50, NOON - DAY / 2)
    log.stable = None
    bench.restore()
    assert bench.outcome().restored == 50
    assert bench.stores[P0].current_at == NOON


def test_a_restore_that_outlasts_the_tombstones_begins_again(bench: Bench) -> None:
    log = bench.logs[P0]
    log.records, log.stable = puts(100), 50
    bench.stores[P0].apply({b"stale": b"1"}, 10, current_at=NOON - DAY / 2)
    bench.restore()
    bench.until(lambda progress: progress.state is RestoreState.WAITING)
    bench.clock.now = NOON + DAY
    log.stable = None
    outcome = bench.outcome()
    assert "restore ended" in (outcome.wiped or "")
    assert (b"stale" in bench.content(), bench.stores[P0].current_at) == (False, NOON + DAY)


def test_a_log_truncated_while_it_is_read_is_restored_from_its_start(bench: Bench) -> None:
    log = bench.logs[P0]
    log.records, log.stable = puts(100), 50
    bench.restore()
    bench.until(lambda progress: progress.state is RestoreState.WAITING)
    log.start, log.stable = 60, None
    outcome = bench.outcome()
    assert "before the changelog's start 60" in (outcome.wiped or "")
    assert len(bench.content()) == 40


def test_two_at_once_and_one_cancelled(bench: Bench) -> None:
    for log in bench.logs.values():
        log.records, log.stable = puts(100), 50
    first, _ = bench.restore(P0), bench.restore(P1)
    bench.until(lambda progress: progress.changelog == P0 and progress.state is RestoreState.WAITING)
    bench.until(lambda progress: progress.changelog == P1 and progress.state is RestoreState.WAITING)
    assert bench.restorer.cancel(first)
    assert not bench.restorer.cancel(first)
    for log in bench.logs.values():
        log.stable = None
    assert bench.outcome().task.changelog == P1
    assert (len(bench.content(P0)), len(bench.content(P1))) == (50, 100)
    assert bench.outcomes.empty()


def test_nothing_is_written_after_a_cancel_returns(bench: Bench) -> None:
    bench.reader.batch = 1
    for _ in range(20):
        bench.logs[P0].records = puts(2_000)
        bench.reader.read_once.clear()
        task = bench.restore()
        bench.reader.read_once.wait(10)
        bench.restorer.cancel(task)
        before = bench.stores[P0].changelog_offset
        bench.reader.read_once.clear()
        threading.Event().wait(0.003)
        assert bench.stores[P0].changelog_offset == before
        bench.stores[P0].wipe()


def test_one_changelog_is_restored_once_at_a_time(bench: Bench) -> None:
    bench.logs[P0].records, bench.logs[P0].stable = puts(10), 5
    task = bench.restore()
    with pytest.raises(InvariantBroken):
        bench.restore()
    bench.restorer.cancel(task)
    bench.logs[P0].stable = None
    bench.restore()
    assert bench.outcome().changelog_offset == 10


def test_a_broker_that_does_not_answer_is_asked_again_and_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BACKOFF", 0.005)
    bench.logs[P0].records = puts(10)
    bench.reader.failures = [BrokerUnreachable("nobody home") for _ in range(recovery.FAILURES + 1)]
    bench.restore()
    progress = bench.until(lambda progress: progress.trouble is not None)
    assert (progress.trouble, progress.state) == ("nobody home", RestoreState.ASKING)
    assert (bench.outcome().restored, bench.made) == (10, 2)  # a new reader took over


def test_a_lost_reader_is_replaced_and_the_restore_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BACKOFF", 0.005)
    bench.logs[P0].records, bench.logs[P0].stable = puts(10), 6
    bench.restore()
    bench.until(lambda progress: progress.state is RestoreState.WAITING)
    broken = bench.reader

    def fail(timeout: float) -> dict[Partition, ChangelogBatch]:
        bench.logs[P0].stable = None
        raise BrokerUnreachable("fatal")

    bench.reader = ListReader(bench.logs)
    monkeypatch.setattr(broken, "read", fail)
    assert bench.outcome().changelog_offset == 10
    assert broken.closed
    assert bench.reader.opened == [(P0, 6)]


def test_a_store_that_does_not_open_fails_its_restore_only(bench: Bench) -> None:
    bench.logs[P1].records = puts(3)

    def opens() -> Opened:
        raise OSError(errno.ENOSPC, "No space left on device")

    bench.restore(P0, opens)
    bench.restore(P1)
    outcomes = {outcome.task.changelog: outcome for outcome in (bench.outcome(), bench.outcome())}
    failure = outcomes[P0].failure
    assert isinstance(failure, OSError)
    assert (failure.errno, outcomes[P0].store, outcomes[P1].failure) == (errno.ENOSPC, None, None)


def test_a_wipe_by_the_opener_is_told(bench: Bench) -> None:
    bench.logs[P0].records = puts(3)
    bench.restore(P0, lambda: Opened(bench.stores[P0], "checksum"))
    assert bench.outcome().wiped == "checksum"


class Failing(MemoryStore):
    """A store whose applies fail as often as told."""

    def __init__(self, failure: Exception, times: int) -> None:
        super().__init__()
        self.failure, self.times = failure, times

    def apply(
        self, writes: Mapping[bytes, bytes | None], changelog_offset: int | None, *, current_at: float | None = None
    ) -> None:
        if len(writes) > 1 and self.times:
            self.times -= 1
            raise self.failure
        super().apply(writes, changelog_offset, current_at=current_at)


def test_what_a_newer_version_wrote_is_not_read_and_the_store_is_left_as_it_was(bench: Bench) -> None:
    bench.logs[P0].records = puts(10)
    bench.reader.newer[P0] = 2
    bench.stores[P0].apply({b"kept": b"1"}, 4)
    bench.restore()
    outcome = bench.outcome()
    assert isinstance(outcome.failure, ChangelogTooNew)
    assert f"{P0} was written in format 2 by a newer streamapp, this one reads up to format 1" in str(outcome.failure)
    assert (bench.content(), bench.stores[P0].changelog_offset, outcome.wiped) == ({b"kept": b"1"}, 4, None)


def test_time_left_counts_offsets_of_which_a_compacted_log_has_more_than_records(bench: Bench) -> None:
    bench.logs[P0].records = [*puts(1), *[None] * 999]
    task = RestoreTask(changelog=P0, open=lambda: Opened(bench.stores[P0], None), delete_retention=DAY)
    restore = Restore(task, bench.outcomes.put, bench.clock)
    restore.begin(bench.reader)
    began = restore.since + 1.0
    restore.sample(began)
    restore.take(ChangelogBatch({b"000": b"v"}, records=10, position=100, at_end=False, truncated=False))
    restore.sample(began + 1.0)
    restore.take(ChangelogBatch({b"000": b"v"}, records=10, position=200, at_end=False, truncated=False))
    restore.sample(began + 2.0)
    progress = restore.progress(began + 2.0)
    assert (progress.position, progress.target, progress.restored) == (200, 1_000, 20)
    assert progress.rate == pytest.approx(7.5)
    assert progress.seconds_left == pytest.approx(800 / 75)


def test_a_restore_under_way_is_told_with_its_rate_and_the_time_left(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REPORT_EVERY", 1.0)
    bench.logs[P0].records = puts(100_000)
    bench.reader.batch, bench.reader.slow = 2, 0.001
    with caplog.at_level(logging.INFO):
        task = bench.restore()
        deadline = Deadline.after(20)
        while not (told := [each for each in caplog.records if each.__dict__["event"] == "restore_progress"]):
            assert not deadline.passed, "never told"
            threading.Event().wait(0.01)
        bench.restorer.cancel(task)
    fields = told[0].__dict__["fields"]
    assert fields["rate"] > 0 and fields["left"] > 0
    assert fields["seconds_left"] == pytest.approx(fields["left"] / fields["rate"], rel=0.2)
    assert " offsets to go, " in told[0].message and " s left" in told[0].message


def test_a_changelog_that_waits_for_its_turn_is_not_called_unanswered(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REPORT_EVERY", 0.5)
    monkeypatch.setattr(recovery, "TURN", 2.0)
    bench.logs[P0].records, bench.logs[P1].records = puts(1_000_000), puts(10)
    bench.reader.batch, bench.reader.slow, bench.reader.starved = 2, 0.001, {P1}
    with caplog.at_level(logging.INFO):
        tasks = [bench.restore(P0), bench.restore(P1)]
        deadline = Deadline.after(30)
        while not any(each.__dict__["event"] == "broker_unreachable" for each in caplog.records):
            assert not deadline.passed, "never told"
            threading.Event().wait(0.01)
        for task in tasks:
            bench.restorer.cancel(task)
    warned = [each.__dict__["event"] for each in caplog.records].index("broker_unreachable")
    before, warning = caplog.records[warned - 1], caplog.records[warned]
    assert "Restoring 1 table partitions (1 more in turn): " in before.getMessage()
    assert before.__dict__["fields"]["partitions"] == 2
    assert f"{P1}: no record, while others come, for " in warning.getMessage()
    assert warning.__dict__["fields"]["duration_seconds"] >= recovery.TURN


def test_a_full_disk_fails_the_restore(bench: Bench) -> None:
    bench.logs[P0].records = puts(10)
    bench.stores[P0] = Failing(OSError(errno.ENOSPC, "No space left on device"), 1)
    bench.restore()
    outcome = bench.outcome()
    assert isinstance(outcome.failure, OSError)
    assert (outcome.store, outcome.changelog_offset) == (bench.stores[P0], None)


def test_a_store_found_corrupt_in_mid_restore_is_wiped_and_begun_again(bench: Bench) -> None:
    bench.logs[P0].records = puts(10)
    bench.stores[P0] = Failing(StoreCorrupted("checksum of block 7"), 1)
    bench.restore()
    outcome = bench.outcome()
    assert (outcome.wiped, outcome.failure, len(bench.content())) == ("checksum of block 7", None, 10)


def test_a_store_that_is_corrupt_each_time_fails_in_the_end(bench: Bench) -> None:
    bench.logs[P0].records = puts(10)
    bench.stores[P0] = Failing(StoreCorrupted("checksum of block 7"), 99)
    bench.restore()
    assert isinstance(bench.outcome().failure, StateUnusable)


def test_a_listener_that_raises_costs_nobody_else(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def raises(outcome: RestoreOutcome) -> None:
        raise ValueError("in a listener")

    bench.logs[P1].records = puts(10)
    bench.restorer.restore(bench.task(P0), raises)
    bench.restore(P1)
    assert bench.outcome().restored == 10
    assert "in a listener" in caplog.text


def test_idle_connections_are_closed_and_memory_is_given_back_behind_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr(recovery, "IDLE", 0.01)
    monkeypatch.setattr(recovery, "give_back", lambda: given.append(bench.reader.closed))
    bench.restore()
    bench.outcome()
    deadline = Deadline.after(10)
    while not given and not deadline.passed:
        threading.Event().wait(0.002)
    assert given == [True]
    bench.restore(P1)
    assert (bench.outcome().failure, bench.made) == (None, 2)


def test_stop_comes_before_start_and_twice() -> None:
    restorer = Bench().restorer
    restorer.stop()
    restorer.stop()
    with pytest.raises(InvariantBroken):
        restorer.start()


def test_stop_cuts_what_is_under_way(bench: Bench) -> None:
    bench.logs[P0].records, bench.logs[P0].stable = puts(10), 6
    bench.restore()
    bench.until(lambda progress: progress.state is RestoreState.WAITING)
    bench.restorer.stop()
    bench.restorer.stop()
    assert bench.reader.closed
    assert bench.outcomes.empty()
    assert bench.restorer.progress() == []
    bench.restore()  # too late: never done, and no error


def test_a_restore_that_has_only_just_been_asked_for_is_not_called_unanswered(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    restore = Restore(bench.task(), bench.outcomes.put, bench.clock)
    with caplog.at_level(logging.WARNING):
        bench.restorer._report_standing(restore, bench.clock.monotonic() + 0.5)
        assert caplog.text == ""
        bench.restorer._report_standing(restore, bench.clock.monotonic() + recovery.REPORT_EVERY)
        restore.ask_again("nobody home", after=1.0)
        bench.restorer._report_standing(restore, bench.clock.monotonic() + 0.9)
        bench.restorer._report_standing(restore, bench.clock.monotonic() + 1.0)
    assert [record.getMessage().rpartition("(")[2] for record in caplog.records] == ["no reason known)", "nobody home)"]


def test_memory_is_given_back_behind_large_restores_and_not_while_one_is_under_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(recovery, "LARGE", 10)
    monkeypatch.setattr(recovery, "give_back", lambda: given.append(len(bench.restorer.progress())))
    bench.logs[P0].records = puts(12)
    bench.logs[P1].records, bench.logs[P1].stable = puts(3), 2
    bench.restore(P0)
    bench.restore(P1)
    assert bench.outcome().restored == 12
    bench.until(lambda progress: progress.changelog == P1 and progress.state is RestoreState.WAITING)
    assert given == []
    bench.logs[P1].stable = None
    assert bench.outcome().restored == 3
    for more in (5, 6):  # the second brings it above the limit again
        bench.logs[P0].records += puts(more)
        bench.restore(P0)
        assert bench.outcome().restored == more
    bench.restorer.stop()
    assert given == [0, 0]
