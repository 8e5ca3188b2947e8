"""A start writes down with how many partitions each source is seen first, and since when it has more; nothing where all is known."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.doctor.facts import Topic, Unread
from streamapp.doctor.startup import rows_to_write
from streamapp.worker.meta import TopicRow
from tests.support.doctor_facts import APP, DLQ, NOW, ORDERS, healthy, topics

META = {f"{APP}-meta": Topic(f"{APP}-meta", 1, 1)}
KNOWN = {ORDERS: TopicRow(partitions=4, seen=5.0), DLQ: TopicRow(partitions=4, seen=5.0)}


def rows(seen: Any, **counts: int) -> dict[str, TopicRow]:
    return rows_to_write(healthy(topics={**topics(counts), **META}, topics_seen=seen))


def test_sources_that_are_new_are_written_down_as_they_are() -> None:
    assert rows({DLQ: KNOWN[DLQ]}) == {ORDERS: TopicRow(partitions=4, seen=NOW)}


def test_sources_that_are_known_or_missing_are_left_alone() -> None:
    assert rows(KNOWN) == {}
    assert rows({}, **{ORDERS: 0, DLQ: 0}) == {}


def test_one_that_grew_keeps_its_first_count_and_says_since_when() -> None:
    grown = TopicRow(partitions=4, seen=5.0, grown_to=12, grown_at=NOW)
    assert rows(KNOWN, orders=12) == {ORDERS: grown}
    assert rows({**KNOWN, ORDERS: grown}, orders=12) == {}
    again = rows({**KNOWN, ORDERS: grown}, orders=24)[ORDERS]
    assert (again.partitions, again.grown_to) == (4, 24)


@pytest.mark.parametrize("unread", ["topics", "topics_seen"])
def test_where_it_could_not_be_read_nothing_is_written(unread: str) -> None:
    given: dict[str, Any] = {"topics": {**topics(), **META}, "topics_seen": {}, unread: Unread("no right")}
    assert rows_to_write(healthy(**given)) == {}


def test_without_the_topic_for_it_nothing_is_written() -> None:
    assert rows_to_write(healthy(topics_seen={})) == {}
