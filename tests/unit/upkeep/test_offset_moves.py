"""Where an offset goes when it is reset, what that repeats and loses, and that tables do not go back with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamapp.errors import SettingInvalid
from streamapp.pipeline.spec import TableSpec
from streamapp.records import Partition
from streamapp.upkeep.offsets import Goal, Place, duration, exported, imported, moment, moved, words

ORDERS = Partition("orders", 3)
PLACE = Place(partition=ORDERS, committed=500, start=100, stable=900, high=950)
"""50 records behind the last stable offset are not decided yet."""


@pytest.mark.parametrize(
    ("goal", "value", "target", "repeats", "loses"),
    [
        (Goal.EARLIEST, None, 100, 400, 0),
        (Goal.LATEST, None, 900, 0, 400),
        (Goal.OFFSET, 450, 450, 50, 0),
        (Goal.OFFSET, 940, 940, 0, 440),
        (Goal.SHIFT, -10, 490, 10, 0),
        (Goal.SHIFT, 10, 510, 0, 10),
        (Goal.DATETIME, 700, 700, 0, 200),
        (Goal.DURATION, None, 900, 0, 400),
        (Goal.FILE, 0, 100, 400, 0),
    ],
)
def test_an_offset_moves_as_asked_within_its_log(goal: Goal, value: int | None, target: int, repeats: int, loses: int) -> None:
    move = moved(PLACE, goal, value)
    assert (move.target, move.repeats, move.loses) == (target, repeats, loses)


@pytest.mark.parametrize(
    ("value", "note"), [(99, "99 is not there: the log begins at 100"), (951, "951 is not there: the log ends at 950")]
)
def test_an_offset_outside_the_log_is_brought_inside_and_says_so(value: int, note: str) -> None:
    assert moved(PLACE, Goal.OFFSET, value).note == note


@pytest.mark.parametrize(("begins_at", "repeats", "loses"), [("earliest", 0, 300), ("latest", 500, 0)])
def test_without_an_offset_it_counts_from_where_the_group_would_begin(begins_at: str, repeats: int, loses: int) -> None:
    move = moved(replace(PLACE, committed=None, begins_at=begins_at), Goal.OFFSET, 400)
    assert (move.repeats, move.loses) == (repeats, loses)


def test_records_that_retention_has_taken_are_not_counted_as_repeated() -> None:
    assert moved(replace(PLACE, committed=20), Goal.EARLIEST, None).repeats == 0


def test_tables_do_not_rewind_and_a_dedupe_table_drops_what_it_has_seen() -> None:
    tables = [
        TableSpec(name="totals", topics=("orders",), changelog="c1"),
        TableSpec(name="seen", topics=("orders",), changelog="c2", horizon=7 * 86_400.0),
        TableSpec(name="other", topics=("returns",), changelog="c3"),
    ]
    told = words([moved(PLACE, Goal.EARLIEST, None)], tables)
    assert told[0] == "at most 400 records are processed again, at most 0 never"
    assert told[1].startswith("tables do not rewind with it: seen, totals keep what they hold")
    assert told[2] == "seen drops records that it has seen, up to 7 d old: those are not processed again"
    assert len(words([moved(PLACE, Goal.OFFSET, 500)], tables)) == 1, "what does not move needs no warning"


@pytest.mark.parametrize(("text", "seconds"), [("PT1H", 3600), ("P1DT12H", 129_600), ("P2W", 1_209_600), ("PT90.5S", 90.5)])
def test_a_duration_is_read_as_iso_8601_has_it(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["1h", "P", "PT", "PT0S", "-PT1H", "PT1H2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingInvalid, match="must be an ISO 8601 duration"):
        duration(text)


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("2026-11-23T08:00:00") == moment("2026-11-23T09:00:00+01:00") == moment("2026-11-23T08:00:00Z")
    with pytest.raises(SettingInvalid, match="--to-datetime yesterday: must be a time"):
        moment("yesterday")


def test_what_is_exported_is_read_back() -> None:
    offsets = {Partition("orders", 1): 7, Partition("orders", 0): 3}
    assert exported(offsets) == ["orders,0,3", "orders,1,7"]
    assert imported(exported(offsets), "f") == offsets
    assert imported(['"orders",0,3', ""], "f") == {Partition("orders", 0): 3}
    for lines, told in ((["orders,0"], "f, line 1: must be"), ([], "f: has no offsets"), (["orders,0,-1"], "line 1")):
        with pytest.raises(SettingInvalid, match=told):
            imported(lines, "f")
