"""The copy of a dead letter is its record: key, value, the user's headers and the time unchanged, with what names the replay."""

from __future__ import annotations

from streamapp.dlq.candidate import Candidate
from streamapp.dlq.change import Changed
from streamapp.dlq.copies import Target, copy_of
from tests.support.replay_jobs import NOW, letter


def headers_of(which: Candidate, content: Changed | None = None, epoch: str | None = None) -> dict[str, bytes | None]:
    sent = content or Changed.nothing(which)
    return dict(copy_of(which, sent, target=Target(), job="7f3a", replays=2, at=NOW, editor="ops", epoch=epoch)[5])


def test_the_copy_goes_where_the_record_was_with_its_bytes_and_its_time() -> None:
    which = letter(7, b"\xff", partition=1, value=None, headers=[("x", b"1"), ("x", None)])
    topic, value, key, partition, timestamp, headers = copy_of(
        which, Changed.nothing(which), target=Target(), job="7f3a", replays=1, at=NOW, editor="ops", epoch=None
    )
    assert (topic, partition, key, value, timestamp) == ("orders", 1, b"\xff", None, which.facts.timestamp)
    assert headers == [
        ("x", b"1"),
        ("x", None),
        ("streamapp.dlq.replay-of", b"orders/1/7@order_processor"),
        ("streamapp.dlq.replay-count", b"1"),
        ("streamapp.dlq.replayed-at", b"2026-11-18T11:06:40.000Z"),
        ("streamapp.dlq.job", b"7f3a"),
    ]


def test_a_record_without_a_time_gets_one_when_it_is_sent() -> None:
    which = letter(7, timestamp=-1, timestamp_type="none")
    assert (
        copy_of(which, Changed.nothing(which), target=Target(), job="7f3a", replays=1, at=NOW, editor="ops", epoch=None)[4] == 0
    )


def test_another_topic_gets_the_partition_that_it_has() -> None:
    which = letter(7, partition=5)
    topic, *_ = copied = copy_of(
        which, Changed.nothing(which), target=Target("elsewhere", 2), job="7f3a", replays=1, at=NOW, editor="ops", epoch=None
    )
    assert (topic, copied[3]) == ("elsewhere", 1)


def test_who_changed_it_and_its_epoch_stay_with_it() -> None:
    earlier = letter(7, edited_by="eva", epoch="0001")
    told = headers_of(earlier)
    assert (told["streamapp.dlq.edited-by"], told["streamapp.dlq.epoch"]) == (b"eva", b"0001")
    told = headers_of(earlier, Changed(None, b"{}", [], is_changed=True), epoch="0002")
    assert (told["streamapp.dlq.edited-by"], told["streamapp.dlq.epoch"]) == (b"ops", b"0002")
    assert not {"streamapp.dlq.edited-by", "streamapp.dlq.epoch", "streamapp.dlq.trace-id"} & set(headers_of(letter(7)))


def test_it_says_in_which_trace_the_record_failed() -> None:
    assert headers_of(letter(7, trace_id="af7651916cd43dd8448eb211c80319c7"))["streamapp.dlq.trace-id"] == (
        b"af7651916cd43dd8448eb211c80319c7"
    )
