"""What a start means is told by the row of the one before; a group's workers are counted by their ids, and a spare is told once how many there are."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from streamapp.kafka.surroundings import Member
from streamapp.records import Partition
from streamapp.worker.meta import WorkerRow
from streamapp.worker.sampling import Spare, worker_ids
from streamapp.worker.starts import past_of


def test_a_first_start_has_no_past() -> None:
    past, after = past_of(None, "w-1", "1.4", 10.0)
    assert (past.previous_version, past.starts) == (None, (10.0,))
    assert after == WorkerRow(version="1.4", starts=(10.0,))


def test_a_start_in_another_version_is_a_deploy_and_the_next_one_in_it_is_none() -> None:
    past, after = past_of(WorkerRow(version="1.4", starts=(1.0,)), "w-1", "1.5", 10.0)
    assert (past.previous_version, past.starts) == ("1.4", (1.0, 10.0))
    past, _ = past_of(after, "w-1", "1.5", 20.0)
    assert (past.previous_version, past.starts) == (None, (1.0, 10.0, 20.0))


def members(*client_ids: str) -> list[Member]:
    return [Member(client_id=each, host="/127.0.0.1", partitions=1) for each in client_ids]


def test_a_worker_with_two_source_sets_is_one_worker() -> None:
    found = worker_ids(members("shop-w-1-orders", "shop-w-1-new-orders", "shop-w-2-orders"), "shop", ["orders", "new-orders"])
    assert found == {"w-1", "w-2"}


def test_a_member_that_is_none_of_ours_makes_the_number_unknown() -> None:
    assert worker_ids(members("shop-w-1-orders", "rdkafka"), "shop", ["orders"]) is None
    assert worker_ids([], "shop", ["orders"]) == set()


class Watched:
    def __init__(self, *owned: Partition) -> None:
        self.owned = set(owned)

    def assignment(self) -> set[Partition]:
        return self.owned


class Topics:
    """A Topology."""

    def __init__(self) -> None:
        self.partitions = {"orders": 8, "returns": 4}


def test_a_ninth_worker_on_eight_partitions_says_so_once_and_again_when_the_numbers_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watched = Watched()
    spare = Spare(cast("Any", watched), cast("Any", Topics()))
    with caplog.at_level(logging.INFO):
        for workers in (9, 9, None, 9, 10):
            spare.told(workers)
        spare.told(8)
        watched.owned = {Partition("orders", 0)}
        spare.told(9)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(".")[0] for line in lines] == [
        "9 workers, 8 partitions: 1 idle",
        "10 workers, 8 partitions: 2 idle",
    ]
    assert "Run 8, or create a wider topic (changes key placement)" in lines[0]
