"""The checker of the group tests turns red for a lost, doubled, invented and reordered order, a wrong count and a wrong table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.support.group_job import Line, Order, Sums
from tests.support.group_rig import EventLog, Group
from tests.support.kafka_records import Rec

ORDERS = [(0, "ann"), (1, "bob"), (2, "ann"), (2, "ann"), (3, "ann")]
LINES = [(0, "ann", 1), (1, "bob", 1), (2, "ann", 2), (3, "ann", 3)]
TABLE = [("ann", 3), ("bob", 1)]


class Told(Group):
    """A group whose topics hold what the test says."""

    lines_told: Sequence[tuple[int, str, int]] = LINES
    table_told: Sequence[tuple[str, int]] = TABLE

    def read(self, topic: str, *, committed_only: bool = True) -> dict[int, list[Rec]]:
        rows: list[tuple[bytes | None, bytes]]
        if topic == "in":
            rows = [(None, msgspec.json.encode(Order(i=i, c=c))) for i, c in ORDERS]
        elif topic == "out":
            rows = [(None, msgspec.json.encode(Line(i=i, c=c, n=n))) for i, c, n in self.lines_told]
        else:
            rows = [(customer.encode(), b"%d" % count) for customer, count in self.table_told]
        return {0: [Rec(topic, 0, at, key, value, (), 0) for at, (key, value) in enumerate(rows)]}

    def no_open_transaction(self, topics: Sequence[str]) -> None:
        """Look at nothing: there is no broker."""


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told("127.0.0.1:1", tmp_path, EventLog())


async def check(group: Told, *, buried: Sequence[int] = ()) -> None:
    await group.check(Sums(app=group.app, sources=("in",), out="out"), buried=buried)


async def test_a_right_history_is_right(told: Told) -> None:
    await check(told)


async def test_a_buried_order_is_not_missed_and_one_that_is_there_all_the_same_is_strange(told: Told) -> None:
    told.lines_told, told.table_told = [line for line in LINES if line[0] != 1], [("ann", 3)]
    await check(told, buried=[1])
    told.lines_told, told.table_told = LINES, TABLE
    with pytest.raises(AssertionError, match="strange"):
        await check(told, buried=[1])


@pytest.mark.parametrize(
    ("lines", "table", "word"),
    [
        (LINES[:-1], TABLE, "missing"),
        ([*LINES, (3, "ann", 4)], TABLE, "doubled"),
        ([*LINES, (9, "ann", 4)], TABLE, "strange"),
        ([*LINES[:-1], (3, "ann", 4)], TABLE, "running counts of ann"),
        ([(2, "ann", 1), (1, "bob", 1), (0, "ann", 2), (3, "ann", 3)], TABLE, "order of ann"),
        (LINES, [("ann", 4), ("bob", 1)], "the table's changelog"),
        (LINES, [("ann", 3)], "the table's changelog"),
    ],
    ids=["lost", "doubled", "invented", "miscounted", "reordered", "a wrong table", "a table with a hole"],
)
async def test_a_wrong_history_is_wrong(
    told: Told, lines: Sequence[tuple[int, str, int]], table: Sequence[tuple[str, int]], word: str
) -> None:
    told.lines_told, told.table_told = lines, table
    with pytest.raises(AssertionError, match=word):
        await check(told)
