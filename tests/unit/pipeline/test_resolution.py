"""Rows of the status topic come back as they were written, and what is none of ours is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamapp.pipeline.resolution import Job, JobState, Lock, Resolution, Row, Status, Take, TakeState, decode, encode

NOW = datetime(2026, 11, 27, 8, 20, 2, tzinfo=UTC)
ID = "orders/5/901@order_processor"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        (ID, Resolution(status=Status.REOPENED, at=NOW, by="w-2", job="7f3a", replays=2)),
        ("orders/5/901", Take(state=TakeState.ASKED, at=NOW, by="ops")),
        (
            "7f3a",
            Job(dlq="orders-dlq", state=JobState.RUNNING, operator="ops", scope="--all", target="source", started=NOW, at=NOW),
        ),
        ("orders-dlq", Lock(job="7f3a", owner="ops", beat=NOW)),
    ],
)
def test_a_row_comes_back_under_its_name(name: str, row: Row) -> None:
    found = decode(*encode(name, row))
    assert found == (name, row)


def test_a_tombstone_takes_a_row_away() -> None:
    assert decode(ID.encode(), None) == (ID, None)


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, b"{}"), (b"\xff", b"{}"), (b"no id", b"{}"), (ID.encode(), b"{"), (ID.encode(), b'{"status":"lost","at":"x"}')],
)
def test_what_is_none_of_ours_is_left_alone(key: bytes | None, value: bytes) -> None:
    assert decode(key, value) is None
