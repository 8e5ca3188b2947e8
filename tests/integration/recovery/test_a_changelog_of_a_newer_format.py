"""A changelog that a newer version wrote is refused by name, and never misread: its table partition stands, and keeps what it had."""

from __future__ import annotations

from confluent_kafka import Producer

from streamapp.errors import ChangelogTooNew
from streamapp.kafka.changelog import FORMAT_HEADER, FORMAT_KEY
from tests.support.changelog_bench import Changelog
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig


def write_as_newer(changelog: Changelog, named: bytes) -> None:
    producer = changelog.producer()
    producer.produce(changelog.topic, key=FORMAT_KEY, value=b"", partition=0, headers=[(FORMAT_HEADER, named)])
    producer.produce(changelog.topic, key=b"bob", value=b"in a way of its own", partition=0)
    producer.commit_transaction(30)
    changelog.settle()


def test_the_restore_ends_before_it_and_says_which_format_it_is(changelog: Changelog) -> None:
    changelog.commit({b"ann": b"1"})
    changelog.restore()
    write_as_newer(changelog, b"2")
    outcome = changelog.restore()
    assert isinstance(outcome.failure, ChangelogTooNew)
    assert f"{changelog.topic}/0 was written in format 2 by a newer streamapp" in str(outcome.failure)
    assert changelog.content() == {b"ann": b"1"}


def test_a_format_said_in_another_way_is_newer_too(changelog: Changelog) -> None:
    write_as_newer(changelog, b"2.1")
    assert isinstance(changelog.restore().failure, ChangelogTooNew)


def test_a_row_that_has_such_a_key_is_a_row(changelog: Changelog) -> None:
    changelog.commit({FORMAT_KEY: b"2", b"ann": b"1"})
    outcome = changelog.restore()
    assert (outcome.failure, changelog.content()) == (None, {FORMAT_KEY: b"2", b"ann": b"1"})


def test_a_format_record_of_a_format_that_is_known_is_no_row(changelog: Changelog) -> None:
    write_as_newer(changelog, b"1")
    outcome = changelog.restore()
    assert (outcome.failure, set(changelog.content())) == (None, {b"bob"})


async def test_a_worker_names_it_and_goes_on_with_its_other_partitions(rig: EngineRig) -> None:
    rig.make(partitions=2)
    rig.feed(orders(20))
    worker = await rig.start()
    await rig.caught_up()
    await worker.stop()
    newer = Producer({"bootstrap.servers": rig.bootstrap})
    newer.produce(rig.job.changelog, key=FORMAT_KEY, value=b"", partition=0, headers=[(FORMAT_HEADER, b"2")])
    assert newer.flush(20) == 0
    worker = await rig.start()
    await worker.until(lambda: bool(rig.records("lane_stalled")), "it stands")
    rig.feed(orders(20, first=20))
    await worker.until(lambda: worker.committed(1) == 20, "the other goes on")
    assert worker.committed(0) == 10
    said = rig.records("lane_stalled")[0].message
    assert said.startswith("counts/0 cannot be restored") and "written in format 2 by a newer streamapp" in said
    assert rig.events("store_wiped") == []
    assert worker._assembly is not None
    [told] = worker._assembly.restoring(worker.engine.assignment() - worker.engine.restored())  # what /readyz shows
    assert (told["table"], told["partition"]) == ("counts", 0)
    assert "written in format 2 by a newer streamapp" in told["trouble"]
