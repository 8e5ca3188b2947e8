"""A member that has given partitions back remembers it, over its own death too, until the rebalance has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streamapp.kafka.open_rebalance import OpenRebalance

GAVE_BACK, ASSIGNED, END = OpenRebalance.gave_back, OpenRebalance.assigned, OpenRebalance.end


@pytest.mark.parametrize(
    ("steps", "is_left_open"),
    [
        ([], False),
        ([ASSIGNED], False),
        ([GAVE_BACK], True),
        ([GAVE_BACK, ASSIGNED], True),
        ([GAVE_BACK, ASSIGNED, ASSIGNED], False),
        ([GAVE_BACK, ASSIGNED, GAVE_BACK, ASSIGNED], True),
        ([GAVE_BACK, END], False),
        ([GAVE_BACK, ASSIGNED, ASSIGNED, ASSIGNED, GAVE_BACK], True),
    ],
)
def test_it_is_open_from_giving_back_until_the_second_share(
    tmp_path: Path, steps: list[Callable[[OpenRebalance], None]], is_left_open: bool
) -> None:
    mark = OpenRebalance(tmp_path / "worker" / "mark")
    for step in steps:
        step(mark)
    assert mark.is_left_open is is_left_open
    assert OpenRebalance(tmp_path / "worker" / "mark").is_left_open is is_left_open, "after a death"


def test_a_disk_that_refuses_costs_the_memory_of_a_death_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mark = OpenRebalance(tmp_path / "file" / "mark")
    mark.gave_back()
    assert mark.is_left_open
    mark.end()
    assert not mark.is_left_open
