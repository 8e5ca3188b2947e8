"""A group is as bad as its worst partitions, which are named; one or two of many are a hot key, all are capacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from streamapp.monitor.lag.evaluate import evaluate_group
from streamapp.monitor.lag.verdict import GroupVerdict, Interval, Status, Verdict
from streamapp.records import Partition
from tests.support.lag_series import CONFIG, DAY, NOW, judged, ramp, sample

OK = judged([sample(NOW, 100, 100)])
BEHIND = judged(ramp(1800, lambda t: 90_000 + 20 * t, pace=100 / 120))
CATCHING = judged(ramp(300, lambda t: 6000 - 20 * t))


def group(*verdicts: Verdict, workers: int | None = 2) -> GroupVerdict:
    placed = [replace(each, partition=Partition("orders", number)) for number, each in enumerate(verdicts)]
    return evaluate_group(placed, CONFIG, workers, NOW)


def of_twelve(behind: Sequence[int]) -> GroupVerdict:
    return group(*(BEHIND if number in behind else OK for number in range(12)))


def test_the_worst_status_is_the_groups_and_its_partitions_are_named() -> None:
    found = of_twelve([4, 7, 9])
    assert (found.status, found.partitions, [each.number for each in found.affected]) == (Status.FALLING_BEHIND, 12, [4, 7, 9])
    assert found.sentence == "3 of 12 partitions falling behind (4, 7, 9); oldest unread 12m30s; loss in 5d22h"


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.OK])
def test_each_status_is_worse_than_those_behind_it(status: Status) -> None:
    order = list(Status)
    better = [replace(BEHIND, status=each) for each in order[order.index(status) + 1 :]]
    assert group(*better, replace(BEHIND, status=status)).status is status


def test_one_or_two_of_many_are_a_hot_key() -> None:
    assert of_twelve([4]).skewed and of_twelve([4, 7]).skewed
    assert "look for a hot key before adding workers" in of_twelve([4]).sentence
    assert not of_twelve([4, 7, 9]).skewed
    assert not group(BEHIND, BEHIND, OK, OK).skewed
    assert not group(replace(BEHIND, status=Status.STALLED), *[OK] * 11).skewed


def test_all_of_them_are_capacity() -> None:
    assert group(*[BEHIND] * 4).sentence.endswith("all of them: capacity")
    assert "capacity" not in group(*[BEHIND] * 3, OK).sentence


def test_a_group_is_drained_when_its_slowest_partition_is() -> None:
    slow = replace(CATCHING, drain=Interval(600, 500, 700))
    assert group(CATCHING, slow, OK).drain == Interval(600, 500, 700)
    assert "drained in 10m (8m20s to 11m40s)" in group(CATCHING, slow, OK).sentence
    assert group(CATCHING, slow, BEHIND).drain is None


def test_workers_are_counted_by_what_one_of_them_can_do() -> None:
    able = replace(BEHIND, capacity=110.0, owner="w-0")
    # 2 x (120 + 100) over 220 of the one worker that has both.
    assert group(able, able, workers=1).workers_needed == 2
    # Two workers, each of 110.
    assert group(able, replace(able, owner="w-1")).workers_needed == 2
    assert "2 workers needed, 1 run" in group(able, able, workers=1).sentence
    assert (
        "2 workers needed;" in group(able, able, OK, workers=None).sentence + ";" or group(able, able, OK).workers_needed is None
    )


def test_what_a_partition_was_not_seen_to_do_counts_as_what_it_does() -> None:
    able = replace(BEHIND, capacity=110.0, owner="w-0")
    idle = replace(OK, owner="w-0", produced_rate=5.0, consumed_rate=5.0)
    assert group(able, idle).workers_needed == 2  # (225 + 100/s of lag) / 115 would be 3 without the cap
    assert group(able, idle).workers_capped is False


def test_unknown_rates_or_capacities_are_no_figure() -> None:
    able = replace(BEHIND, capacity=110.0, owner="w-0")
    assert group(BEHIND, BEHIND).workers_needed is None
    assert group(able, replace(able, produced_rate=None)).workers_needed is None
    assert group(able, replace(able, lag=None)).workers_needed is None


def test_more_than_there_are_partitions_cannot_help() -> None:
    able = replace(BEHIND, capacity=10.0, owner="w-0")
    found = group(able, able)
    assert (found.workers_needed, found.workers_capped) == (2, True)
    assert "adding workers cannot help: 2 partitions are as many as can work" in found.sentence


def test_the_first_loss_is_told_and_an_unknown_one_is_no_never() -> None:
    assert group(BEHIND, replace(BEHIND, loss=DAY)).loss == DAY
    assert group(OK, replace(OK, loss=None)).loss is None
    assert group(BEHIND, replace(OK, loss=None)).loss == pytest.approx(513_900)


def test_several_topics_are_named_with_their_partitions() -> None:
    other = replace(BEHIND, partition=Partition("refunds", 0))
    found = evaluate_group([replace(OK, partition=Partition("orders", 0)), other], CONFIG, 1, NOW)
    assert found.sentence.startswith("1 of 2 partitions falling behind (refunds/0)")


def test_a_long_list_is_cut() -> None:
    assert "(0, 1, 2, 3, 4, 5, 6, 7 and 4 more)" in of_twelve(range(12)).sentence


def test_nothing_unread_and_nothing_known_are_told_apart() -> None:
    assert group(OK, OK).sentence == "2 partitions, nothing unread"
    level = judged(ramp(1800, lambda t: 5000, age=60))
    assert group(OK, level).sentence == "2 partitions level; oldest unread 1m"
    assert (group().status, group().sentence) == (Status.UNKNOWN, "no partition is known")
