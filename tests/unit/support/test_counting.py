"""The checker of the engine's tests turns red for a lost, doubled, reordered and torn record, and for nothing else."""

from __future__ import annotations

import json

import pytest

from tests.support.counting import counts, judge, orders
from tests.support.kafka_records import Lanes, Rec


def lane(topic: str, values: list[dict[str, object]]) -> Lanes:
    return {0: [Rec(topic, 0, at, None, json.dumps(value).encode(), (), 0) for at, value in enumerate(values)]}


def out(pairs: list[tuple[int, str, int]]) -> Lanes:
    return lane("out", [{"i": i, "k": k, "n": n} for i, k, n in pairs])


SOURCE = lane("src", orders(4, keys=2))
RIGHT = [(0, "0", 1), (1, "1", 1), (2, "0", 2), (3, "1", 2)]


def test_a_right_history_is_right() -> None:
    assert judge(SOURCE, out(RIGHT)) == []
    assert counts(SOURCE) == {"0": 2, "1": 2}


def test_a_repeated_record_counts_unless_it_is_to_be_dropped() -> None:
    source = lane("src", [*orders(4, keys=2), *orders(1)])
    assert judge(source, out([*RIGHT, (0, "0", 3)])) == []
    assert judge(source, out(RIGHT), dedupe=True) == []
    assert judge(source, out(RIGHT)) != []


def test_a_dead_letter_is_not_missed() -> None:
    assert judge(SOURCE, out([(1, "1", 1), (2, "0", 1), (3, "1", 2)]), without=[0]) == []


@pytest.mark.parametrize(
    ("pairs", "word"),
    [
        (RIGHT[:3], "lost"),
        ([*RIGHT, RIGHT[3]], "doubled"),
        ([*RIGHT, (9, "1", 3)], "invented"),
        ([RIGHT[2], RIGHT[1], RIGHT[0], RIGHT[3]], "output 0"),
        ([*RIGHT[:3], (3, "1", 3)], "output 1"),
    ],
)
def test_a_wrong_history_is_wrong(pairs: list[tuple[int, str, int]], word: str) -> None:
    assert any(word in line for line in judge(SOURCE, out(pairs)))
