"""Rings keep what a trend needs and no more: half an hour of samples, a day of coarser ones, and the newest always, whatever the interval."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamapp.monitor import keeping
from streamapp.monitor.lag.inputs import Change, Happening, Sample
from streamapp.monitor.rings import POINTS, Memory, Reach, Ring
from streamapp.records import Partition

WHERE = Partition("orders", 3)


def sample(at: float, committed: int | None = 10, **figures: float | None) -> Sample:
    whole: dict[str, object] = {
        "position": 12,
        "high_watermark": 2**52,
        "end": 14,
        "log_start": None,
        "oldest_unread": 99.25,
        "merged": 0,
        "unmerged": None,
        "busy": 0.5,
        **figures,
    }
    return Sample(at=at, committed=committed, **whole)  # type: ignore[arg-type]  # by name


def test_a_sample_comes_back_as_it_was_with_the_unknown_unknown_and_offsets_whole() -> None:
    ring = Ring(1800)
    given = [sample(1.0), sample(11.0, None, busy=None, oldest_unread=None)]
    for each in given:
        ring.add(each)
    assert list(ring) == given
    assert all(type(each.high_watermark) is int for each in ring)


def test_what_lies_further_back_than_the_reach_is_forgotten() -> None:
    ring = Ring(1800)
    for number in range(1000):
        ring.add(sample(10.0 * number))
    moments = [each.at for each in ring]
    assert (moments[0], moments[-1], len(ring)) == (8190.0, 9990.0, 181)


def test_a_short_interval_takes_no_more_room_and_the_newest_is_always_there() -> None:
    ring = Ring(1800)
    for number in range(10_000):
        ring.add(sample(0.5 * number, number))
        assert len(ring) <= POINTS + 2
    moments = [each.at for each in ring]
    assert moments[-1] == pytest.approx(4999.5)
    assert moments[0] == pytest.approx(moments[-1] - 1800, abs=10)
    assert len(ring) > POINTS / 2, "and it is no thinner than it has to be"
    assert [each.committed for each in ring] == sorted(each.committed or 0 for each in ring)


def test_a_partition_takes_some_ten_kilobytes() -> None:
    memory = Memory(Reach())
    for number in range(9_000):
        memory.add(sample(10.0 * number))
    assert len(memory.short.raw()) + len(memory.long.raw()) < 40_000
    assert len(memory.long) == pytest.approx(288, abs=2)


def test_a_committed_offset_that_falls_is_a_reset_the_trend_begins_anew_and_the_day_goes_on() -> None:
    memory = Memory(Reach())
    for at, committed in ((0.0, 100), (300.0, 200), (600.0, 50), (900.0, 60)):
        memory.add(sample(at, committed))
    assert [each.committed for each in memory.short] == [50, 60]
    assert [each.committed for each in memory.long] == [100, 200, 50, 60]
    assert [(each.at, each.change, each.detail) for each in memory.happenings] == [(600.0, Change.RESET, "200 -> 50")]


def test_what_is_remembered_outlives_the_process(tmp_path: Path) -> None:
    memory = Memory(Reach())
    memory.add(sample(100.0))
    memory.add(sample(110.0, 20))
    memory.happened(Happening(105.0, Change.DEPLOYED, "w-1", "1.5", "1.4 -> 1.5"))
    keeping.save(tmp_path, "shop", {WHERE: memory})
    found = keeping.load(tmp_path, "shop", Reach(), now=200.0)
    assert set(found) == {WHERE}
    assert list(found[WHERE].short) == list(memory.short)
    assert list(found[WHERE].long) == list(memory.long)
    assert list(found[WHERE].happenings) == list(memory.happenings)
    assert found[WHERE].newest == sample(110.0, 20)
    assert [path.name for path in tmp_path.iterdir()] == [keeping.FILE], "nothing half written stays behind"


@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\x93\x01\xa4shop\x90x", b"\x93\x01\xa4shop\x91\x95\xa1t\x00\xc4\x03abc\xc4\x00\x90"]
)
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / keeping.FILE).write_bytes(content)
    assert keeping.load(tmp_path, "shop", Reach(), now=200.0) == {}
    assert keeping.load(tmp_path / "nowhere", "shop", Reach(), now=200.0) == {}


def test_another_app_s_samples_and_those_of_the_future_are_left_alone(tmp_path: Path) -> None:
    memory = Memory(Reach())
    memory.add(sample(100.0))
    keeping.save(tmp_path, "shop", {WHERE: memory})
    assert keeping.load(tmp_path, "other", Reach(), now=200.0) == {}
    assert keeping.load(tmp_path, "shop", Reach(), now=50.0) == {}
