"""A record's idempotency key is where it first stood: the same in every retry, and in every replay of its dead letter."""

from __future__ import annotations

from typing import Any, cast

import pytest

from streamapp import StreamApp
from streamapp.pipeline.spec import SourceSpec
from streamapp.records import Headers
from streamapp.worker.events import Event
from tests.unit.worker.shop import FakeCursor, record_of

SOURCE = SourceSpec(topic="sales", decode=int, decode_key=bytes.decode)


def key_of(app: StreamApp, offset: int, headers: Headers) -> str:
    record: Any = record_of(offset, headers=headers)
    return Event.of(app, SOURCE, record, 1, cast("Any", FakeCursor()), None).idempotency_key


def test_a_record_is_named_by_topic_partition_and_offset(app: StreamApp) -> None:
    assert key_of(app, 7, [("source", b"web")]) == "sales-2-7"


def test_a_replayed_dead_letter_has_the_key_of_its_first_failure(app: StreamApp) -> None:
    assert key_of(app, 90, [("streamapp.dlq.replay-of", b"sales/5/12@agent"), ("source", b"web")]) == "sales-5-12"


@pytest.mark.parametrize("value", [None, b"", b"sales/5", b"\xff"])
def test_a_header_that_names_no_place_changes_nothing(app: StreamApp, value: bytes | None) -> None:
    assert key_of(app, 7, [("streamapp.dlq.replay-of", value)]) == "sales-2-7"
