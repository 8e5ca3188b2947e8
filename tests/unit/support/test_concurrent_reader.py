"""What a concurrent reader saw and is no more, or is something else, turns the verdict red: an aborted record that was visible."""

from __future__ import annotations

import pytest

from tests.support.concurrent_reader import ConcurrentReader
from tests.support.kafka_records import Rec
from tests.support.ledger import PRICED
from tests.support.verdict import Kind

LANE = [Rec(PRICED, 0, at, b"ann", b"%d" % at, (), 0) for at in range(4)]


def having_seen(lane: list[Rec]) -> ConcurrentReader:
    reader = ConcurrentReader("nowhere:1")
    reader.seen[PRICED][0] = lane
    return reader


def test_a_prefix_of_what_is_there_is_right() -> None:
    assert having_seen(LANE[:2]).compare({PRICED: {0: LANE}}) == []


@pytest.mark.parametrize(
    "seen",
    [
        [*LANE, LANE[3]._replace(offset=4)],
        [LANE[0], LANE[1]._replace(value=b"aborted")],
        [LANE[1], LANE[0]],
        [LANE[0], LANE[2]],
    ],
    ids=["one that is gone", "one that was another", "two exchanged", "one that was not there yet"],
)
def test_anything_else_is_seen(seen: list[Rec]) -> None:
    assert [violation.kind for violation in having_seen(seen).compare({PRICED: {0: LANE}})] == [Kind.NOT_A_PREFIX]
