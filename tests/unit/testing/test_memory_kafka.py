"""What the memory Kafka can be made to do and a broker cannot be asked for: deaths, lost answers, late requests, markers held back."""

from __future__ import annotations

import threading

import pytest

from streamapp.clock import Deadline
from streamapp.errors import DeadlinePassed, OutcomeUnknown
from streamapp.ports import ChangelogBounds
from streamapp.records import Partition
from streamapp.testing.memory_kafka import (
    Call,
    Code,
    Fault,
    MemoryChangelogReader,
    MemoryHost,
    MemoryKafka,
    MemoryOffsets,
    MemoryProducer,
    MemorySource,
    ProcessDied,
    Refused,
)
from tests.support.kafkas import Heard, record, settle, soon

OUT = Partition("out", 0)


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka({"out": 1, "in": 2})


def producer(host: MemoryHost) -> MemoryProducer:
    made = MemoryProducer(host, "app-w1", transaction_timeout=30.0)
    made.init_transactions(soon())
    return made


def work(made: MemoryProducer, value: bytes) -> None:
    made.begin()
    made.produce(record("out", value))
    made.flush(soon())


def seen(kafka: MemoryKafka) -> list[bytes | None]:
    return [each.value() for each in kafka.records("out", 0)]


def test_a_dead_process_leaves_its_transaction_open_and_reaches_nobody_any_more(kafka: MemoryKafka) -> None:
    host = MemoryHost(kafka, "w1")
    made = producer(host)
    work(made, b"a")
    host.kill()
    with pytest.raises(ProcessDied):
        made.commit(soon())
    assert (kafka.open_transactions(), seen(kafka)) == (["app-w1"], [])
    assert kafka.advance(30.0) == ["app-w1"]
    assert kafka.open_transactions() == []


def test_a_process_dies_before_or_after_what_the_broker_does(kafka: MemoryKafka) -> None:
    for value, is_done in ((b"lost", False), (b"kept", True)):
        host = MemoryHost(kafka, "w1")
        made = producer(host)
        work(made, value)
        host.fail(Call.COMMIT, Fault(dies=True, is_done=is_done))
        with pytest.raises(ProcessDied):
            made.commit(soon())
        assert not host.is_alive
    assert seen(kafka) == [b"kept"]


def test_a_lost_answer_tells_nothing_of_what_was_done(kafka: MemoryKafka) -> None:
    host = MemoryHost(kafka, "w1")
    for value, is_done in ((b"kept", True), (b"lost", False)):
        made = producer(host)
        work(made, value)
        host.fail(Call.COMMIT, Fault(error=OutcomeUnknown("no answer"), is_done=is_done))
        with pytest.raises(OutcomeUnknown):
            made.commit(soon())
    producer(host)
    assert seen(kafka) == [b"kept"]


def test_a_call_that_is_held_goes_on_when_it_is_let_go_and_ends_with_its_process(kafka: MemoryKafka) -> None:
    host, hold = MemoryHost(kafka, "w1"), threading.Event()
    made = producer(host)
    for value in (b"a", b"b"):
        work(made, value)
        hold.clear()
        host.fail(Call.COMMIT, Fault(hold=hold))
        ended: list[BaseException | None] = []

        def commit(ended: list[BaseException | None] = ended) -> None:
            try:
                made.commit(soon())
            except ProcessDied as died:
                ended.append(died)
            else:
                ended.append(None)

        thread = threading.Thread(target=commit)
        thread.start()
        settle(lambda: host.holding == 1)
        if value == b"a":
            hold.set()
        else:
            host.kill()
        thread.join(10)
        assert [type(each) for each in ended] == [type(None) if value == b"a" else ProcessDied]
    assert seen(kafka) == [b"a"]


def test_a_late_request_ends_the_next_transaction_of_its_epoch_halfway_and_is_refused_by_a_new_one(kafka: MemoryKafka) -> None:
    host = MemoryHost(kafka, "w1")
    made = producer(host)
    work(made, b"a")
    host.fail(Call.COMMIT, Fault(is_late=True), Fault(is_late=True))
    made.commit(soon())
    assert made.suspect
    work(made, b"half")
    host.strays.pop()()
    assert seen(kafka) == [b"a", b"half"], "though nobody committed it"
    made.produce(record("out", b"b"))
    made.commit(soon())
    work(producer(host), b"c")
    with pytest.raises(Refused) as refused:
        host.strays.pop()()
    assert refused.value.code is Code.INVALID_PRODUCER_EPOCH
    assert seen(kafka) == [b"a", b"half", b"b"]


def test_offsets_can_be_settled_before_a_logs_marker_is_there(kafka: MemoryKafka) -> None:
    host, heard = MemoryHost(kafka, "w1"), Heard()
    source = MemorySource(host, "app", ["in"], heard, instance="w1")
    source.start()
    settle(lambda: heard.holding == {0, 1}, heard)
    made = producer(host)
    work(made, b"a")
    made.send_offsets({Partition("in", 0): (1, "")}, source.group_metadata().result(10), soon())
    offsets, reader = MemoryOffsets(host, "app"), MemoryChangelogReader(host)
    with kafka.markers_held(OUT):
        made.commit(soon())
        assert offsets.committed([Partition("in", 0)], soon())[Partition("in", 0)].offset == 1
        assert (seen(kafka), offsets.last_stable(OUT, soon())) == ([], 0)
        assert reader.bounds(OUT, 1.0) == ChangelogBounds(0, 1)
        made.begin()
        made.produce(record("out", b"b"))
        with pytest.raises(DeadlinePassed):
            made.flush(soon(0.05))  # the coordinator takes no new transaction before the last one is marked everywhere
    made.commit(soon())
    assert seen(kafka) == [b"a", b"b"]
    source.stop(Deadline.after(5.0))


def test_a_static_member_that_died_between_the_two_joins_of_a_rebalance_leaves_nothing_unowned(kafka: MemoryKafka) -> None:
    first, second, again = Heard(), Heard(), Heard()
    host = MemoryHost(kafka, "w1")
    MemorySource(host, "app", ["in"], first, instance="w1").start()
    settle(lambda: first.holding == {0, 1}, first)
    first.holds = True
    other = MemorySource(MemoryHost(kafka, "w2"), "app", ["in"], second, instance="w2")
    other.start()
    settle(lambda: first.held, first)
    host.kill()
    back = MemorySource(MemoryHost(kafka, "w1"), "app", ["in"], again, instance="w1")
    back.start()
    settle(lambda: again.holding | second.holding == {0, 1} and not again.holding & second.holding, again)
    for source in (back, other):
        source.stop(Deadline.after(5.0))
